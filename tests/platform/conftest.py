"""The session's mesh from the side of a client of its services."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
from tests.running_mesh import RunningMesh

from slmesh.mesh.client import Mesh


@pytest.fixture
def mesh(running_mesh: RunningMesh) -> RunningMesh:
    """The session's mesh."""
    return running_mesh


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
