"""The client of the mesh: one set of methods, over a network or in this process.

Methods are asynchronous and take and return the messages of the contracts. Scripts and notebooks wrap
a mesh in :class:`slmesh.mesh.blocking.Blocking`; no method is written twice for them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from google.protobuf.message import Message

from slmesh.mesh.context import RequestContext
from slmesh.mesh.contract import rpcs
from slmesh.mesh.gate import Gate
from slmesh.mesh.settings import Settings, load_settings
from slmesh.mesh.tracing import Tracing
from slmesh.mesh.transport import GrpcTransport, Transport, channel_credentials

if TYPE_CHECKING:
    from slmesh.api.classify.v1 import classify_pb2
    from slmesh.api.extract.v1 import extract_pb2
    from slmesh.api.guard.v1 import guard_pb2
    from slmesh.api.rank.v1 import rank_pb2
    from slmesh.api.reason.v1 import reason_pb2
    from slmesh.api.route.v1 import route_pb2
    from slmesh.api.score.v1 import score_pb2

__all__ = ["Mesh"]

_Response = TypeVar("_Response", bound=Message)


class Mesh:
    """A mesh of model services.

    Every method takes the request message, and by keyword ``timeout_s``, the seconds it may take (the
    service's own default when None), and ``context`` to act for a tenant or to pass a trace on. Every
    method raises :class:`slmesh.mesh.errors.MeshError`.

    Args:
        transport: What carries the calls; use :meth:`connect`, or ``slmesh.Mesh.local``.
        context: The context of calls that bring none.
    """

    def __init__(self, transport: Transport, context: RequestContext | None = None) -> None:
        self.transport = transport
        self._context = context or RequestContext()

    @classmethod
    def connect(
        cls,
        address: str | None = None,
        *,
        tenant: str = "default",
        settings: Settings | None = None,
        tracing: Tracing | None = None,
        gate: Gate | None = None,
    ) -> Self:
        """Return a client of a running mesh; no connection is made before the first call.

        Args:
            address: ``host:port`` of a router, or of a Serve ingress for the services alone; the
                router of the settings when None.
            tenant: For whom the calls are.
            settings: Size limits and TLS; the environment's when None.
            tracing: Where client spans go.
            gate: Decides about every call before it is sent, for a client inside of the mesh; the
                service decides in any case.
        """
        settings = settings or load_settings()
        target = address or settings.router_target()
        transport = GrpcTransport(
            lambda service: target,
            credentials=channel_credentials(settings.tls_root),
            max_message_bytes=settings.max_message_bytes,
            tracing=tracing,
            gate=gate,
        )
        return cls(transport, RequestContext(tenant=tenant))

    async def __aenter__(self) -> Self:
        """Return the mesh itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the mesh."""
        await self.close()

    async def close(self) -> None:
        """Let connections, or the services of a local mesh, go."""
        await self.transport.close()

    async def classify(
        self,
        service: str,
        request: classify_pb2.ClassifyRequest,
        *,
        timeout_s: float | None = None,
        context: RequestContext | None = None,
    ) -> classify_pb2.ClassifyResponse:
        """Ask a classifier about one text."""
        return await self.call("Classify", service, request, timeout_s, context)

    async def batch_classify(
        self,
        service: str,
        request: classify_pb2.BatchClassifyRequest,
        *,
        timeout_s: float | None = None,
        context: RequestContext | None = None,
    ) -> classify_pb2.BatchClassifyResponse:
        """Ask a classifier about many texts."""
        return await self.call("BatchClassify", service, request, timeout_s, context)

    async def extract(
        self,
        service: str,
        request: extract_pb2.ExtractRequest,
        *,
        timeout_s: float | None = None,
        context: RequestContext | None = None,
    ) -> extract_pb2.ExtractResponse:
        """Ask an extractor about one text."""
        return await self.call("Extract", service, request, timeout_s, context)

    async def batch_extract(
        self,
        service: str,
        request: extract_pb2.BatchExtractRequest,
        *,
        timeout_s: float | None = None,
        context: RequestContext | None = None,
    ) -> extract_pb2.BatchExtractResponse:
        """Ask an extractor about many texts."""
        return await self.call("BatchExtract", service, request, timeout_s, context)

    async def rank(
        self,
        service: str,
        request: rank_pb2.RankRequest,
        *,
        timeout_s: float | None = None,
        context: RequestContext | None = None,
    ) -> rank_pb2.RankResponse:
        """Ask a ranker about one query."""
        return await self.call("Rank", service, request, timeout_s, context)

    async def batch_rank(
        self,
        service: str,
        request: rank_pb2.BatchRankRequest,
        *,
        timeout_s: float | None = None,
        context: RequestContext | None = None,
    ) -> rank_pb2.BatchRankResponse:
        """Ask a ranker about many queries."""
        return await self.call("BatchRank", service, request, timeout_s, context)

    async def screen(
        self,
        service: str,
        request: guard_pb2.ScreenRequest,
        *,
        timeout_s: float | None = None,
        context: RequestContext | None = None,
    ) -> guard_pb2.ScreenResponse:
        """Ask a guard about one input."""
        return await self.call("Screen", service, request, timeout_s, context)

    async def batch_screen(
        self,
        service: str,
        request: guard_pb2.BatchScreenRequest,
        *,
        timeout_s: float | None = None,
        context: RequestContext | None = None,
    ) -> guard_pb2.BatchScreenResponse:
        """Ask a guard about many inputs."""
        return await self.call("BatchScreen", service, request, timeout_s, context)

    async def score(
        self,
        service: str,
        request: score_pb2.ScoreRequest,
        *,
        timeout_s: float | None = None,
        context: RequestContext | None = None,
    ) -> score_pb2.ScoreResponse:
        """Ask a scorer about one text."""
        return await self.call("Score", service, request, timeout_s, context)

    async def batch_score(
        self,
        service: str,
        request: score_pb2.BatchScoreRequest,
        *,
        timeout_s: float | None = None,
        context: RequestContext | None = None,
    ) -> score_pb2.BatchScoreResponse:
        """Ask a scorer about many texts."""
        return await self.call("BatchScore", service, request, timeout_s, context)

    def reason(
        self,
        service: str,
        request: reason_pb2.ReasonRequest,
        *,
        timeout_s: float | None = None,
        context: RequestContext | None = None,
    ) -> AsyncIterator[reason_pb2.ReasonResponse]:
        """Ask a reasoner; yields events, and closing the iterator cancels the call."""
        rpc = rpcs()["Reason"]
        return self.transport.stream(rpc, request, self._for(service, timeout_s, context))  # type: ignore[return-value]

    async def route(
        self,
        request: route_pb2.RouteRequest,
        *,
        timeout_s: float | None = None,
        context: RequestContext | None = None,
    ) -> route_pb2.RouteResponse:
        """Run a flow over one text."""
        return await self.call("Route", "", request, timeout_s, context)

    async def batch_route(
        self,
        request: route_pb2.BatchRouteRequest,
        *,
        timeout_s: float | None = None,
        context: RequestContext | None = None,
    ) -> route_pb2.BatchRouteResponse:
        """Run flows over many texts."""
        return await self.call("BatchRoute", "", request, timeout_s, context)

    def route_stream(
        self,
        request: route_pb2.RouteRequest,
        *,
        timeout_s: float | None = None,
        context: RequestContext | None = None,
    ) -> AsyncIterator[route_pb2.RouteStreamResponse]:
        """Run a flow over one text; yields signals, then text, then the decision."""
        rpc = rpcs()["RouteStream"]
        wrapped = rpc.request_type(request=request)
        return self.transport.stream(rpc, wrapped, self._for("", timeout_s, context))  # type: ignore[return-value]

    async def explain(
        self,
        request: route_pb2.ExplainRequest,
        *,
        timeout_s: float | None = None,
        context: RequestContext | None = None,
    ) -> route_pb2.ExplainResponse:
        """Return a recorded decision."""
        return await self.call("Explain", "", request, timeout_s, context)

    async def call(
        self,
        method: str,
        service: str,
        request: Message,
        timeout_s: float | None = None,
        context: RequestContext | None = None,
    ) -> _Response:
        """Call a unary RPC by its bare name; for code that works for every contract.

        Raises:
            TypeError: The request is not a message of the RPC.
        """
        wanted = rpcs()[method].request_type
        if not isinstance(request, wanted):
            raise TypeError(f"{method} takes a {wanted.__name__}, got {type(request).__name__}")
        target = self._for(service, timeout_s, context)
        return await self.transport.unary(rpcs()[method], request, target)  # type: ignore[return-value]

    def _for(
        self, service: str, timeout_s: float | None, context: RequestContext | None
    ) -> RequestContext:
        return (context or self._context).to_service(service).within(timeout_s)
