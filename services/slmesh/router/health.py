"""Keeps the router's ``grpc.health.v1`` true for itself and for every service behind it.

The router is healthy while it serves, because it answers degraded without its services; a service is
healthy when its own health check says so. A service that comes back is found by the next round.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from grpc_health.v1 import health, health_pb2

from slmesh.mesh.background import end
from slmesh.mesh.context import RequestContext
from slmesh.mesh.contract import Rpc
from slmesh.mesh.errors import MeshError
from slmesh.mesh.metrics import Metrics
from slmesh.mesh.transport import GrpcTransport
from slmesh.mesh.wire import MODEL_KEY

__all__ = ["HealthProbe", "HealthTeller"]

_log = logging.getLogger(__name__)

_SERVICE = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
_CHECK = Rpc(
    name="Check",
    contract="health",
    service=_SERVICE,
    request_type=health_pb2.HealthCheckRequest,
    response_type=health_pb2.HealthCheckResponse,
    streaming=False,
    batch=False,
)
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class HealthTeller:
    """Tells the health of one part of this process; made in the event loop, told from any thread.

    Args:
        servicer: Where it is told.
        name: Under which name.
    """

    def __init__(self, servicer: health.aio.HealthServicer, name: str) -> None:
        self._servicer = servicer
        self._name = name
        self._loop = asyncio.get_running_loop()

    def tell(self, healthy: bool) -> None:
        """Tell whether the part is healthy."""
        status = _SERVING if healthy else _NOT_SERVING
        telling = self._servicer.set(self._name, status)
        try:
            asyncio.run_coroutine_threadsafe(telling, self._loop)
        except RuntimeError:  # the loop has ended, and nobody asks any more
            telling.close()


class HealthProbe:
    """Asks every service for its health, over and over.

    Args:
        transport: What carries the checks.
        servicer: Where the health of each service is told.
        services: Returns the names of the services there are now.
        own: The names the router itself answers for.
        metrics: Where readiness is counted.
        on_model: Is told each service and the model its health check names, at every check.
        interval_s: Seconds between two rounds.
        timeout_s: Seconds a check may take.
    """

    def __init__(
        self,
        transport: GrpcTransport,
        servicer: health.aio.HealthServicer,
        services: Callable[[], Iterable[str]],
        *,
        own: Iterable[str],
        metrics: Metrics,
        on_model: Callable[[str, str], object] = lambda service, model: None,
        interval_s: float = 1.0,
        timeout_s: float = 2.0,
    ) -> None:
        self._transport = transport
        self._servicer = servicer
        self._services = services
        self._own = tuple(own)
        self._metrics = metrics
        self._on_model = on_model
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._told: dict[str, bool] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Tell the router's own health and begin to ask."""
        for name in self._own:
            await self._servicer.set(name, _SERVING)
        for service in self._services():
            await self._servicer.set(service, _NOT_SERVING)
        self._task = asyncio.create_task(self._run())

    async def drain(self) -> None:
        """Tell that nothing is served any more; for good."""
        await self.close()
        await self._servicer.enter_graceful_shutdown()

    async def close(self) -> None:
        """Stop to ask."""
        task, self._task = self._task, None
        if task is not None:
            await end(task)

    async def _run(self) -> None:
        while True:
            await asyncio.gather(*(self._look_at(name) for name in self._services()))
            await asyncio.sleep(self._interval_s)

    async def _look_at(self, service: str) -> None:
        healthy = await self._is_healthy(service)
        if self._told.get(service) is healthy:
            return
        if service in self._told or not healthy:
            _log.warning(
                "service health changed",
                extra={"service": service, "state": "serving" if healthy else "not serving"},
            )
        self._told[service] = healthy
        self._metrics.ready.labels(service).set(int(healthy))
        await self._servicer.set(service, _SERVING if healthy else _NOT_SERVING)

    async def _is_healthy(self, service: str) -> bool:
        context = RequestContext(service=service).within(self._timeout_s)
        try:
            response, trailer = await self._transport.unary_with_trailer(
                _CHECK, health_pb2.HealthCheckRequest(), context
            )
        except MeshError:
            return False
        except Exception as error:
            # the loop must outlive whatever one check does
            _log.error("health check failed", exc_info=error, extra={"service": service})
            return False
        assert isinstance(response, health_pb2.HealthCheckResponse)
        self._on_model(service, str(trailer.get(MODEL_KEY, "")))
        return response.status == _SERVING
