"""The process that is Ray's driver: starts Ray and Serve, deploys the services, reports, ends.

``python -m slmesh.platform.cluster`` is started by the supervisor with Ray's flags in the environment.
It writes one JSON event a line to standard output and ends itself when Ray does: the supervisor
decides what comes next. It knows nothing of the router.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from slmesh.mesh.catalog import discover
from slmesh.mesh.manifest import Manifest
from slmesh.mesh.settings import Settings, load_settings
from slmesh.platform.cluster_options import ClusterOptions
from slmesh.platform.processes import command_of, end_processes, lives, session_members
from slmesh.platform.service_health import HealthChecks

__all__ = ["main"]

_STARTING_PERIOD_S = 0.25
_RUNNING_PERIOD_S = 1.0
_LONGEST_STOP_S = 7.0
_OBJECT_STORE_BYTES = 80 * 1024 * 1024  # Ray's least is 75 MiB, and nothing here uses it
RAY_ENDED = 3
"""Exit status when Ray ended by itself."""


class _Events:
    """Writes events where the supervisor reads them; what libraries print goes to the log."""

    def __init__(self) -> None:
        self._out: TextIO = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def send(self, kind: str, **values: Any) -> None:
        self._out.write(json.dumps({"event": kind, **values}) + "\n")
        self._out.flush()


def main() -> int:
    """Run one Ray cluster until SIGTERM, and return the exit status."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    events = _Events()
    options = ClusterOptions(**json.loads(sys.argv[1]))
    watch = threading.Thread(target=_end_in_time, args=(stop, options.supervisor), daemon=True)
    watch.start()
    settings = load_settings()
    every = discover(settings)
    manifests = [every[name] for name in options.services]
    try:
        _start_ray(manifests, options)
        # Ray's own handler would end this process without a clean stop
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        events.send("stage", stage="ray")
        if not stop.is_set():
            _start_serve(settings, options)
            events.send("stage", stage="serve")
        if not stop.is_set():
            _deploy(manifests)
            events.send("stage", stage="deployed")
        return _report(settings, manifests, events, stop)
    finally:
        _end()


def _end_in_time(stop: threading.Event, parent: int) -> None:
    """End this whole session when a stop takes too long; a dead supervisor is a stop too.

    A start that is under way cannot be interrupted, and Ray may wait for what will not come. There
    is no tether here: its SIGTERM would meet Ray's own handler, which leaves half of Ray behind.
    """
    while not stop.wait(0.5):
        if os.getppid() != parent:
            stop.set()
    time.sleep(_LONGEST_STOP_S)
    end_processes(os.getsid(0), grace_s=0.0)


def _start_ray(manifests: Sequence[Manifest], options: ClusterOptions) -> None:
    import ray

    # twice: an update runs the old and the new replica side by side
    cpus = 1 + 2 * sum(manifest.replicas * manifest.cpus for manifest in manifests)
    ray.init(
        address="local",
        num_cpus=max(2, int(cpus + 0.999)),
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=_OBJECT_STORE_BYTES,
        _temp_dir=str(Path(options.short_dir) / "tmp"),
        _node_ip_address="127.0.0.1",
    )


def _start_serve(settings: Settings, options: ClusterOptions) -> None:
    from ray import serve

    serve.start(
        proxy_location="HeadOnly",
        http_options={"host": settings.host, "port": options.http_port},
        grpc_options={
            "port": settings.ingress_port,
            "grpc_servicer_functions": ["slmesh.mesh.serve.add_contracts_to_server"],
            # no `request_timeout_s`: the boundary keeps deadlines, and Serve's costs tasks per call
        },
        # the boundary writes one event for each call; Serve's access log would double it
        logging_config={"encoding": "JSON", "enable_access_log": False},
    )


def _deploy(manifests: Sequence[Manifest]) -> None:
    from ray import serve

    from slmesh.platform.applications import build
    from slmesh.platform.serve_options import route_prefix

    targets = [
        serve.RunTarget(
            build({"service": manifest.name}),
            name=manifest.name,
            route_prefix=route_prefix(manifest.name),
        )
        for manifest in manifests
    ]
    if targets:
        serve.run_many(
            targets,
            wait_for_ingress_deployment_creation=False,
            wait_for_applications_running=False,
        )


def _report(
    settings: Settings, manifests: Sequence[Manifest], events: _Events, stop: threading.Event
) -> int:
    """Report every service whose state changed, until told to stop or Ray ends."""
    known: dict[str, dict[str, Any]] = {}
    checks = HealthChecks(f"{settings.host}:{settings.ingress_port}")
    needed = _ray_processes()
    try:
        while not stop.is_set():
            if not all(lives(pid) for pid in needed):
                return RAY_ENDED
            healthy = checks.run([manifest.name for manifest in manifests])
            for name, state in _service_states(manifests, healthy, known).items():
                if known.get(name) != state:
                    known[name] = state
                    events.send("service", service=name, **state)
            settled = all(state["state"] in ("healthy", "failed") for state in known.values())
            stop.wait(_RUNNING_PERIOD_S if settled else _STARTING_PERIOD_S)
    finally:
        checks.close()
    return 0


def _service_states(
    manifests: Sequence[Manifest],
    healthy: Mapping[str, bool],
    before: Mapping[str, Mapping[str, Any]],
) -> dict[str, dict[str, Any]]:
    from ray import serve

    applications = serve.status().applications
    states = {}
    for manifest in manifests:
        application = applications.get(manifest.name)
        status = application.status.value if application else "NOT_STARTED"
        running = 0
        message = ""
        if application:
            for deployment in application.deployments.values():
                running += sum(
                    count
                    for state, count in deployment.replica_states.items()
                    if state == "RUNNING"
                )
                message = deployment.message or message
        if status == "DEPLOY_FAILED":
            state = "failed"
        elif healthy[manifest.name]:
            state, message = "healthy", ""
        elif before.get(manifest.name, {}).get("state") in ("healthy", "recovering"):
            state = "recovering"
        else:
            state = "starting"
        states[manifest.name] = {"state": state, "running": running, "message": message[:2000]}
    return states


def _ray_processes() -> list[int]:
    """Return the two processes that Ray cannot be without."""
    names = ("/gcs_server", "/raylet")
    return [
        pid
        for pid in session_members(os.getsid(0))
        if command_of(pid).split(" ")[0].endswith(names)
    ]


def _end() -> None:
    """Stop Serve and Ray; the supervisor ends this process's session when it takes too long."""
    import ray
    from ray import serve

    if ray.is_initialized() and len(_ray_processes()) == 2:
        serve.shutdown()  # type: ignore[no-untyped-call]
        ray.shutdown()


if __name__ == "__main__":
    status = main()
    # Ray's own exit handlers have nothing left to do, and may wait for a Ray that is gone
    os._exit(status)
