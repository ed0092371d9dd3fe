"""Keeps a process within the memory its manifest gives it, so that a hog hits itself and nobody else.

Two limits, because neither is enough. The kernel refuses what is asked for in one piece and is too
much (``RLIMIT_DATA``, which counts private writable memory and no mapped files; a limit of the address
space would count what is only reserved). What grows piece by piece is seen by a thread that looks at
the resident memory, and ends the process with a word to its callers; the kernel's limit also holds
while native code keeps that thread from running. Needs ``/proc``: without it nothing is limited, and a
log event says so.
"""

from __future__ import annotations

import logging
import os
import resource
import threading
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["MEMORY_LIMIT", "LimitMemory", "limit_memory", "resident_mib"]

_log = logging.getLogger(__name__)

MEMORY_LIMIT = "MEMORY_LIMIT"
"""``ErrorInfo.reason`` of calls that end because their service has used up its memory."""

LimitMemory = Callable[[int, Callable[[], None]], None]
"""Limits this process to so many MiB; the function is called before the end."""

_MIB = 1024 * 1024
_PERIOD_S = 0.1
_LAST_WORDS_S = 0.2
"""How long callers are told before the process ends; a hog may take some more until then."""
_EXIT_STATUS = 137
"""What a shell reports of a process that was killed for its memory."""


def resident_mib() -> float:
    """Return the resident memory of this process, in MiB.

    Raises:
        OSError: There is no ``/proc``.
    """
    fields = Path("/proc/self/statm").read_bytes().split()
    return int(fields[1]) * resource.getpagesize() / _MIB


def limit_memory(limit_mib: int, on_reached: Callable[[], None]) -> None:
    """Limit this process from now on, for as long as it lives.

    Args:
        limit_mib: The most resident memory, in MiB, > 0.
        on_reached: Is called in a thread of its own; the process ends 0.2 s later.
    """
    try:
        resident_mib()
        reserved = _reserved_bytes()
    except OSError:
        _log.warning("memory cannot be limited: there is no /proc")
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    # above what is reserved already, most of it thread stacks that are never filled
    wanted = reserved + limit_mib * _MIB
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
    watch = threading.Thread(
        target=_watch, args=(limit_mib, on_reached), name="slmesh-memory", daemon=True
    )
    watch.start()


def _watch(limit_mib: int, on_reached: Callable[[], None]) -> None:
    while resident_mib() <= limit_mib:
        time.sleep(_PERIOD_S)
    try:
        on_reached()
        time.sleep(_LAST_WORDS_S)
    finally:
        os._exit(_EXIT_STATUS)


def _reserved_bytes() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0
