"""Ports that nothing listens on, given once each.

They lie below those that Linux gives to clients and that a mesh picks for Serve, and every process that
runs tests side by side has its own: a port stays free until the one who asked for it listens.
"""

from __future__ import annotations

import functools
import itertools
import os
import random
import socket
from collections.abc import Iterator

_LOWEST, _HIGHEST = 10_000, 20_000


def free_ports(count: int) -> list[int]:
    """Return ports that nobody uses, for TCP and UDP."""
    return list(itertools.islice(filter(_is_free, _own_ports()), count))


@functools.cache
def _own_ports() -> Iterator[int]:
    """Go round the ports of this process, from any one on: another session may run here too."""
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    place = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = range(_LOWEST + place % processes, _HIGHEST, processes)
    first = random.SystemRandom().randrange(len(ports))
    return itertools.cycle((*ports[first:], *ports[:first]))


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(type=kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True
