"""One real mesh on a real Ray for the session, with services that do as they are told."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.platform.mesh_services import write_services

from slmesh.mesh.client import Mesh
from slmesh.mesh.settings import Settings
from slmesh.platform.supervisor import Progress, Supervisor


def free_ports(count: int) -> list[int]:
    """Return ports that nothing listens on now."""
    with ExitStack() as opened:
        probes = [opened.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def settings_on_free_ports(state_dir: Path, services: Path) -> Settings:
    """Return settings of a mesh that gets in nobody's way."""
    router_port, ingress_port = free_ports(2)
    return Settings(
        state_dir=state_dir,
        service_path=(services,),
        router_port=router_port,
        ingress_port=ingress_port,
        router_address=f"127.0.0.1:{router_port}",
    )


@dataclass
class RunningMesh:
    """A mesh that runs.

    Attributes:
        settings: Its settings.
        supervisor: What keeps it.
        steps: Every step it told, in order.
        marks: Where the writer leaves a mark for each closed stream.
    """

    settings: Settings
    supervisor: Supervisor
    marks: Path
    steps: list[Progress] = field(default_factory=list)

    @property
    def ingress(self) -> str:
        """Where services answer directly."""
        return f"127.0.0.1:{self.settings.ingress_port}"


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    """Run the mesh; it is up when the first test that asks for it starts."""
    folder = tmp_path_factory.mktemp("mesh")
    (marks := folder / "marks").mkdir()
    names = write_services(folder / "services", marks)
    settings = settings_on_free_ports(folder / "state", folder / "services")
    steps: list[Progress] = []
    with Supervisor(settings, services=names, on_progress=steps.append) as supervisor:
        yield RunningMesh(settings, supervisor, marks, steps)


@pytest.fixture
async def client(mesh: RunningMesh) -> AsyncIterator[Mesh]:
    """A client of the services, through the ingress."""
    async with Mesh.connect(mesh.ingress, settings=mesh.settings) as connected:
        yield connected


@pytest.fixture
async def channel(mesh: RunningMesh) -> AsyncIterator[grpc.aio.Channel]:
    """A bare gRPC connection to the ingress."""
    async with grpc.aio.insecure_channel(mesh.ingress) as opened:
        yield opened


@pytest.fixture
def bytes_call(channel: grpc.aio.Channel) -> Callable[..., Any]:
    """Calls an RPC of a service by its path, with bytes, and returns the call."""

    def call(service: str, path: str, payload: bytes, **options: Any) -> Any:
        metadata = (("application", service), *options.pop("metadata", ()))
        return channel.unary_unary(path)(
            payload, metadata=metadata, timeout=options.pop("timeout", 10), **options
        )

    return call
