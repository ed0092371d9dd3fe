"""Starts the chains that a benchmark compares, each in processes of its own, and ends them."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from slmesh.bench.load import ECHO, Target
from slmesh.mesh.errors import Unavailable
from slmesh.mesh.settings import Settings, child_environment
from slmesh.platform.ports import free_ports
from slmesh.platform.processes import end_processes
from slmesh.platform.supervisor import Supervisor

__all__ = [
    "ECHO_FOLDER",
    "bare_chain",
    "child",
    "echo_settings",
    "end_child",
    "mesh",
    "must_be_healthy",
    "serve_chain",
]

ECHO_FOLDER = Path(__file__).resolve().parent
"""The service path that has the echo."""
_STARTING = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "RAY_ADDRESS": ""}


def echo_settings(settings: Settings, folder: Path, **values: Any) -> Settings:
    """Return settings for a mesh of the echo service alone, on ports of its own."""
    router_port, ingress_port = free_ports(2)
    own: dict[str, Any] = {"service_path": (ECHO_FOLDER,)}
    return settings.with_values(
        state_dir=folder,
        router_port=router_port,
        ingress_port=ingress_port,
        router_address=f"127.0.0.1:{router_port}",
        host="127.0.0.1",
        discovery="static",
        ingress_address="",
        tls_certificate=None,
        tls_key=None,
        **own | values,
    )


@contextlib.contextmanager
def mesh(
    settings: Settings,
    *,
    services: Sequence[str] = (ECHO,),
    with_haproxy: bool = True,
    with_router: bool = True,
    **values: Any,
) -> Iterator[tuple[str, str]]:
    """Run a mesh of some services; yield the addresses of its router and of its ingress."""
    with tempfile.TemporaryDirectory(prefix="slmesh-bench-") as folder:
        own = echo_settings(settings, Path(folder), **values)
        with Supervisor(
            own, services=services, with_haproxy=with_haproxy, with_router=with_router
        ) as running:
            must_be_healthy(running)
            yield own.router_address, f"{own.host}:{own.ingress_port}"


def must_be_healthy(running: Supervisor) -> None:
    """Refuse a mesh of which a service does not run.

    Raises:
        Unavailable: One does not.
    """
    for name, state in running.services.items():
        if state["state"] != "healthy":
            raise Unavailable(f"the service {name} does not run: {state['message']}")


@contextlib.contextmanager
def bare_chain(name: str) -> Iterator[Target]:
    """Run the two hops as bare servers."""
    module = "slmesh.bench.bare_chain"
    with child([module]) as service, child([module, service["address"]]) as router:
        yield Target(name, router["address"])


@contextlib.contextmanager
def serve_chain(name: str) -> Iterator[Target]:
    """Run the two hops as Serve deployments, in a Ray cluster of its own."""
    grpc_port, http_port = free_ports(2)
    with tempfile.TemporaryDirectory(prefix="slmesh-b-", ignore_cleanup_errors=True) as folder:
        command = ["slmesh.bench.serve_chain", folder, str(grpc_port), str(http_port)]
        with child(command) as told:
            yield Target(name, told["address"])


@contextlib.contextmanager
def child(command: list[str]) -> Iterator[Mapping[str, Any]]:
    """Run a module in a session of its own, and yield the JSON line it prints when it serves."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
            env=child_environment(Settings(), _STARTING),
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                log.seek(0)
                raise Unavailable(f"{command[0]} did not start: {log.read()[-2000:]}")
            yield json.loads(line)
        finally:
            end_child(process)
            process.stdout.close()  # type: ignore[union-attr]


def end_child(process: subprocess.Popen[Any]) -> None:
    """End a process that leads a session of its own, with all that it has started."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
    end_processes(process.pid, grace_s=1.0)
    process.wait()
