"""A real gRPC ingress over real service hosts, in the process of the test.

It does what Ray Serve's ingress does for a mesh: the metadata key ``application`` picks the service,
an unknown one is NOT_FOUND with a bare code, and ``grpc.health.v1`` is answered by the service.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

from slmesh.mesh.boundary import Instruments
from slmesh.mesh.context import APPLICATION_KEY
from slmesh.mesh.contract import Rpc, rpcs
from slmesh.mesh.errors import MeshError
from slmesh.mesh.gate import Gate
from slmesh.mesh.host import ServiceHost
from slmesh.mesh.manifest import Manifest
from slmesh.mesh.metrics import Metrics
from slmesh.mesh.settings import Settings
from slmesh.mesh.tracing import Tracing
from slmesh.mesh.wire import MODEL_KEY, grpc_code, trailing_metadata

CHECK_PATH = "/grpc.health.v1.Health/Check"


class Ingress(grpc.GenericRpcHandler):
    """Serves services on one port.

    Attributes:
        port: The port, once started; kept over a stop and a new start.
        hosts: The hosts by service; take one out to make its service unknown.
        seen: The metadata of every call of a service, in order of arrival.
    """

    def __init__(
        self,
        settings: Settings,
        manifests: list[Manifest],
        tracing: Tracing | None = None,
        gate: Gate | None = None,
    ) -> None:
        self.port = 0
        self.seen: list[dict[str, Any]] = []
        self.metrics = Metrics()
        instruments = Instruments(self.metrics, tracing)
        self.hosts = {
            manifest.name: ServiceHost(manifest, settings, self.metrics, instruments, gate)
            for manifest in manifests
        }
        self._paths = {rpc.path: rpc for rpc in rpcs().values()}
        self._loaded = False
        self._server: grpc.aio.Server | None = None

    @property
    def address(self) -> str:
        """Where it serves."""
        return f"127.0.0.1:{self.port}"

    def model(self, service: str) -> Any:
        """Return the object that answers for a service."""
        return self.hosts[service]._service

    def calls_of(self, service: str) -> list[dict[str, Any]]:
        """Return the metadata of the calls of one service."""
        return [call for call in self.seen if call.get(APPLICATION_KEY) == service]

    async def start(self) -> None:
        """Serve, on the port of the last time if there was one."""
        if not self._loaded:
            for host in self.hosts.values():
                await host.start()
            self._loaded = True
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers((self,))
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()

    async def stop(self) -> None:
        """Stop to serve; the services stay loaded."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    async def close(self) -> None:
        """Stop, and let the services go."""
        await self.stop()
        if self._loaded:
            for host in self.hosts.values():
                await host.close()

    def service(self, handler_call_details: Any) -> Any:
        """Return the handler of a path."""
        if handler_call_details.method == CHECK_PATH:
            return grpc.unary_unary_rpc_method_handler(self._check)
        rpc = self._paths.get(handler_call_details.method)
        if rpc is None:
            return None
        if rpc.streaming:
            return grpc.unary_stream_rpc_method_handler(self._stream(rpc))
        return grpc.unary_unary_rpc_method_handler(self._unary(rpc))

    def _unary(self, rpc: Rpc) -> Any:
        async def answer(payload: bytes, call: Any) -> bytes:
            host = await self._host(call)
            try:
                metadata = call.invocation_metadata()
                response = await host.boundary.unary(rpc, payload, metadata)
                return response.SerializeToString()
            except MeshError as error:
                _refuse(call, error)
                return b""

        return answer

    def _stream(self, rpc: Rpc) -> Any:
        async def answer(payload: bytes, call: Any) -> Any:
            host = await self._host(call)
            events = host.boundary.stream(rpc, payload, call.invocation_metadata())
            try:
                async with aclosing(events):
                    async for event in events:
                        yield event.SerializeToString()
            except MeshError as error:
                _refuse(call, error)

        return answer

    async def _check(self, payload: bytes, call: Any) -> bytes:
        host = await self._host(call, count=False)
        status = health_pb2.HealthCheckResponse.ServingStatus
        call.set_trailing_metadata(((MODEL_KEY, host.model),))
        answer = status.SERVING if host.ready else status.NOT_SERVING
        return health_pb2.HealthCheckResponse(status=answer).SerializeToString()

    async def _host(self, call: Any, *, count: bool = True) -> ServiceHost:
        metadata = dict(call.invocation_metadata())
        if count:
            self.seen.append(metadata)
        host = self.hosts.get(metadata.get(APPLICATION_KEY, ""))
        if host is None:
            await call.abort(grpc.StatusCode.NOT_FOUND, "application not found")
        return host


def _refuse(call: Any, error: MeshError) -> None:
    call.set_code(grpc_code(error))
    call.set_details(error.message)
    call.set_trailing_metadata(trailing_metadata(error))
