"""Where a command finds the mesh: a router over the network, or services in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import typer

from slmesh.api.route.v1 import route_pb2
from slmesh.library import Mesh
from slmesh.mesh.settings import Settings, load_settings

__all__ = ["AddressOption", "Connection", "LocalOption", "TenantOption"]

AddressOption = Annotated[
    str,
    typer.Option("--address", help="host:port of the router; SLMESH_ROUTER_ADDRESS when empty."),
]
LocalOption = Annotated[
    bool, typer.Option("--local", help="Load the services into this process instead.")
]
TenantOption = Annotated[str, typer.Option("--tenant", help="For whom the call is.")]

_T = TypeVar("_T")


@dataclass(frozen=True)
class Connection:
    """A way to the mesh, opened for each command anew; its settings are the environment's if None."""

    address: str = ""
    local: bool = False
    tenant: str = "default"
    settings: Settings | None = None

    def run(self, work: Callable[[Mesh, Settings], Coroutine[Any, Any, _T]]) -> _T:
        """Run asynchronous work with an open mesh."""

        async def with_mesh() -> _T:
            settings = self.settings or load_settings()
            mesh = (
                Mesh.local(settings=settings)
                if self.local
                else Mesh.connect(self.address or None, tenant=self.tenant, settings=settings)
            )
            async with mesh:
                return await work(mesh, settings)

        return asyncio.run(with_mesh())

    def explain(self, decision_id: str) -> route_pb2.ExplainResponse:
        """Return how the router explains a decision it has made."""
        request = route_pb2.ExplainRequest(decision_id=decision_id)

        async def work(mesh: Mesh, _: Settings) -> route_pb2.ExplainResponse:
            return await mesh.explain(request)

        return self.run(work)
