"""Ports of a local mesh: the two that are asked for, and a block for what Serve opens by itself.

Serve wants to be told most of its ports; a block that is free now keeps two meshes on one machine
apart. Another program may still take a port before Serve does; Serve then tries the next one where
it can, and says so where it cannot.
"""

from __future__ import annotations

import random
import socket
from dataclasses import dataclass

from slmesh.mesh.errors import FailedPrecondition

__all__ = ["ServePorts", "free_ports", "is_free", "pick_serve_ports", "require_free"]

_LOWEST, _HIGHEST = 20_000, 32_000  # below the ports that Linux gives to clients, from 32,768
_REPLICAS = 100
_BLOCK = 2 * _REPLICAS + 10


@dataclass(frozen=True)
class ServePorts:
    """The ports Serve is told to use.

    Attributes:
        http: Serve's HTTP port, which always opens.
        fallback_http: HTTP port of the proxy behind HAProxy.
        fallback_grpc: gRPC port of the proxy behind HAProxy.
        haproxy_metrics: HAProxy's metrics.
        haproxy_stats: HAProxy's statistics page.
        replica_http: First of 100 ports for the replicas' HTTP servers.
        replica_grpc: First of 100 ports for the replicas' gRPC servers.
    """

    http: int
    fallback_http: int
    fallback_grpc: int
    haproxy_metrics: int
    haproxy_stats: int
    replica_http: int
    replica_grpc: int

    @property
    def replica_ports(self) -> int:
        """How many ports each of the two ranges has."""
        return _REPLICAS


def is_free(host: str, port: int) -> bool:
    """Return whether a TCP port can be listened on."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def require_free(host: str, port: int, setting: str) -> None:
    """Check that a port can be listened on.

    Args:
        host: The address to listen on.
        port: The port.
        setting: The environment variable that sets the port, for the message.

    Raises:
        FailedPrecondition: Another process listens on it.
    """
    if not is_free(host, port):
        raise FailedPrecondition(
            f"port {port} on {host} is in use; stop what uses it, or set {setting} to a free port",
            reason="PORT_IN_USE",
            metadata={"port": str(port), "setting": setting},
        )


def free_ports(count: int) -> list[int]:
    """Return ports that nothing listens on, out of a range that no client's connection takes.

    A port that the system picks is one that Ray may have taken before it is listened on.
    """
    source = random.SystemRandom()
    found: list[int] = []
    while len(found) < count:
        port = source.randrange(10_000, _LOWEST)
        if port not in found and is_free("", port):
            found.append(port)
    return found


def pick_serve_ports(randomly: random.Random | None = None) -> ServePorts:
    """Return a block of ports that nothing listens on now.

    Args:
        randomly: Where the block's place comes from; meshes that start together must not all try
            the same one.

    Raises:
        FailedPrecondition: No free block was found.
    """
    source = randomly or random.SystemRandom()
    starts = list(range(_LOWEST, _HIGHEST - _BLOCK, _BLOCK))
    source.shuffle(starts)
    for start in starts:
        fixed = range(start + 2 * _REPLICAS, start + _BLOCK)
        likely = (*range(start, start + 5), *range(start + _REPLICAS, start + _REPLICAS + 5))
        if all(is_free("", port) for port in (*fixed, *likely)):
            http, fallback_http, fallback_grpc, metrics, stats = fixed[:5]
            return ServePorts(
                http, fallback_http, fallback_grpc, metrics, stats, start, start + _REPLICAS
            )
    raise FailedPrecondition(
        f"no {_BLOCK} free ports in a row from {_LOWEST} to {_HIGHEST}", reason="NO_FREE_PORTS"
    )
