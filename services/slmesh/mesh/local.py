"""Services in this process: the library mode, the edge mode, and the seam for fast tests.

A service is loaded when it is first called. Requests pass the same boundary as over a network, so the
answers and the errors are the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

from google.protobuf.message import Message

from slmesh.mesh.boundary import Boundary, Instruments
from slmesh.mesh.catalog import discover
from slmesh.mesh.context import RequestContext
from slmesh.mesh.contract import Rpc
from slmesh.mesh.errors import NotFound
from slmesh.mesh.gate import Gate
from slmesh.mesh.host import ServiceHost
from slmesh.mesh.manifest import Manifest
from slmesh.mesh.metrics import Metrics
from slmesh.mesh.naming import suggestion
from slmesh.mesh.settings import Settings
from slmesh.mesh.tracing import Tracing

__all__ = ["InProcessTransport"]


class InProcessTransport:
    """Carries RPCs to services in this process.

    Args:
        settings: The settings; its ``service_path`` says where services are.
        services: The services to offer; all that are found when None.
        tracing: Where spans go.
        gate: Decides about every call of a service; None allows all.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        services: Mapping[str, Manifest] | None = None,
        tracing: Tracing | None = None,
        gate: Gate | None = None,
    ) -> None:
        self._gate = gate
        self._settings = settings
        self._services = dict(discover(settings) if services is None else services)
        self.metrics = Metrics()
        self._instruments = None
        if settings.boundary_instruments:
            self._instruments = Instruments(self.metrics, tracing)
        self._hosts: dict[str, asyncio.Task[ServiceHost]] = {}
        self._edges: dict[str, Boundary] = {}
        self._closing: list[Callable[[], None]] = []

    def add_edge(self, boundary: Boundary, *rpc_names: str) -> None:
        """Answer some RPCs by a boundary of their own, as the router does for flows."""
        self._edges.update(dict.fromkeys(rpc_names, boundary))

    def add_closing(self, close: Callable[[], None]) -> None:
        """Call something, in a thread, when the mesh is closed."""
        self._closing.append(close)

    async def host(self, service: str) -> ServiceHost:
        """Return a service's host, loaded once however many ask.

        Raises:
            MeshError: There is no such service, or it cannot be loaded.
        """
        task = self._hosts.get(service)
        if task is None:
            if service not in self._services:
                raise NotFound(
                    f"no service '{service}'{suggestion(service, self._services)}",
                    reason="SERVICE_NOT_FOUND",
                    metadata={"service": service},
                )
            task = asyncio.get_running_loop().create_task(self._open(service))
            self._hosts[service] = task
        try:
            # shielded: a caller that gives up must not stop the load that others wait for
            return await asyncio.shield(task)
        except Exception:
            self._hosts.pop(service, None)  # so that the next call tries again
            raise

    async def unary(self, rpc: Rpc, request: Message, context: RequestContext) -> Message:
        """See :class:`slmesh.mesh.transport.Transport`."""
        context = self._checked(rpc, context)
        boundary = await self._boundary(rpc, context)
        return await boundary.unary(rpc, request, context.to_metadata())

    async def stream(
        self, rpc: Rpc, request: Message, context: RequestContext
    ) -> AsyncIterator[Message]:
        """See :class:`slmesh.mesh.transport.Transport`."""
        context = self._checked(rpc, context)
        boundary = await self._boundary(rpc, context)
        async for event in boundary.stream(rpc, request, context.to_metadata()):
            yield event

    async def close(self) -> None:
        """Close every service that was loaded."""
        tasks, self._hosts = self._hosts, {}
        hosts = await asyncio.gather(*tasks.values(), return_exceptions=True)
        await asyncio.gather(*(host.close() for host in hosts if isinstance(host, ServiceHost)))
        for close in self._closing:
            await asyncio.to_thread(close)
        self._closing.clear()

    async def _open(self, service: str) -> ServiceHost:
        host = ServiceHost(
            self._services[service], self._settings, self.metrics, self._instruments, self._gate
        )
        await host.start()
        return host

    def _checked(self, rpc: Rpc, context: RequestContext) -> RequestContext:
        if self._gate is None or rpc.name in self._edges or context.service not in self._services:
            return context
        return self._gate.depart(context)

    async def _boundary(self, rpc: Rpc, context: RequestContext) -> Boundary:
        edge = self._edges.get(rpc.name)
        return edge if edge is not None else (await self.host(context.service)).boundary
