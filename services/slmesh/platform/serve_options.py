"""What Ray Serve must know about the deployment of a service; all of it follows from the manifest."""

from __future__ import annotations

import math
from typing import Any

from slmesh.mesh.manifest import Manifest
from slmesh.mesh.threads import thread_environment

__all__ = ["route_prefix", "serve_options"]

_LONGEST_DRAIN_S = 20


def route_prefix(service: str) -> str:
    """Return the prefix without which Serve does not offer an application over gRPC."""
    return f"/{service}"


def serve_options(manifest: Manifest) -> dict[str, Any]:
    """Return what Serve must know about the deployment of a service.

    Serve's limits stand above the service's own queue, so that a full queue is answered by the
    boundary, with a reason and a delay, and not by Serve with a bare code.
    """
    actor: dict[str, Any] = {"num_cpus": manifest.cpus}
    if manifest.threads > 1:
        # the environment of all says 1, and a replica of its own environment starts a process later
        actor["runtime_env"] = {"env_vars": thread_environment(manifest.threads)}
    drain_s = max(_LONGEST_DRAIN_S, math.ceil(manifest.timeout_ms / 1000) + 5)
    return {
        "num_replicas": manifest.replicas,
        "max_ongoing_requests": manifest.max_queue_items + 2 * manifest.max_batch_size,
        "max_queued_requests": manifest.max_queue_items,
        "max_surge_percent": 100,  # else an update of a single replica is a gap of a model load
        "graceful_shutdown_wait_loop_s": 0.2,
        "graceful_shutdown_timeout_s": drain_s,
        "health_check_period_s": 5,
        # a replica that hangs for three checks in a row is replaced; the default waits 90 s
        "health_check_timeout_s": 5,
        "ray_actor_options": actor,
        # the boundary writes one event for each call; Serve would make another one, and does so
        # even with the access log off, unless the level is above it
        "logging_config": {"log_level": "WARNING", "enable_access_log": False},
    }
