"""Answers Route and Explain: finds the flow, runs it once per request id, records what came out.

Thin on purpose: ids are made here, and everything else is somebody else's work.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace

from slmesh.api.route.v1 import route_pb2
from slmesh.mesh.boundary import Boundary, Instruments, limits_of
from slmesh.mesh.context import RequestContext
from slmesh.mesh.errors import InvalidArgument, NotFound
from slmesh.mesh.gate import Admit
from slmesh.mesh.metrics import Metrics
from slmesh.mesh.settings import Settings
from slmesh.router.admission import Admission
from slmesh.router.coalescing import Coalescing
from slmesh.router.decisions import Decisions, Recorded
from slmesh.router.engine import Engine
from slmesh.router.events import Events
from slmesh.router.flow import Flow
from slmesh.router.flow_book import FlowBook
from slmesh.router.recorded_text import answered_again
from slmesh.router.request_checks import check_request, request_id_of

__all__ = ["ROUTER", "Routing", "route_boundary"]

ROUTER = "router"
"""The router's name in logs, metrics and spans."""

_log = logging.getLogger(__name__)

_SLACK_S = 1.0
_SHOWN = 64


def _new_id() -> str:
    return str(uuid.uuid4())


class Routing:
    """The handlers of the router's contract.

    Args:
        flows: The flows.
        engine: What runs them.
        decisions: Where decisions are recorded.
        admission: The bound on requests in work.
        metrics: Where decisions are counted.
        new_id: Makes ids.
    """

    def __init__(
        self,
        flows: FlowBook,
        engine: Engine,
        decisions: Decisions,
        *,
        admission: Admission,
        metrics: Metrics,
        new_id: Callable[[], str] = _new_id,
    ) -> None:
        self._flows = flows
        self._engine = engine
        self._decisions = decisions
        self._admission = admission
        self._metrics = metrics
        self._new_id = new_id
        self._running: Coalescing[Recorded] = Coalescing()

    async def route(
        self, request: route_pb2.RouteRequest, context: RequestContext
    ) -> route_pb2.RouteResponse:
        """Run a flow over one text, once for each request id of a tenant.

        Raises:
            MeshError: The request is wrong, or the flow declares that it fails.
        """
        return route_pb2.RouteResponse(decision=await self._decision(request, context))

    async def route_stream(
        self, request: route_pb2.RouteStreamRequest, context: RequestContext
    ) -> AsyncIterator[route_pb2.RouteStreamResponse]:
        """Run a flow like :meth:`route`, and tell what happens meanwhile.

        Closing the iterator cancels the run, unless a repeat of the request waits for it too.

        Raises:
            MeshError: See :meth:`route`.
        """
        told: asyncio.Queue[route_pb2.RouteStreamResponse | None] = asyncio.Queue()
        events = Events(told.put_nowait)
        run = asyncio.create_task(self._decision(request.request, context, events))
        run.add_done_callback(lambda _: told.put_nowait(None))
        try:
            while (event := await told.get()) is not None:
                yield event
            yield route_pb2.RouteStreamResponse(decision=await run)
        finally:
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)

    async def _decision(
        self,
        request: route_pb2.RouteRequest,
        context: RequestContext,
        events: Events | None = None,
    ) -> route_pb2.Decision:
        check_request(request)
        flow = self._flows.flow(request.flow)
        request_id = request_id_of(request)
        digest = _digest(request)
        with self._admission.one():
            if not request_id:
                recorded = await self._run(flow, request, context, self._new_id(), digest, events)
            else:
                recorded = await self._running.run(
                    (context.tenant, request_id),
                    lambda: self._run_once(flow, request, context, request_id, digest, events),
                )
        if recorded.request_digest != digest:
            raise InvalidArgument(
                f"request_id '{request_id}' was used for another request; a repeat must be the"
                " same in every field",
                reason="REQUEST_ID_REUSED",
                field="request_id",
            )
        return recorded.explanation.decision

    async def explain(
        self, request: route_pb2.ExplainRequest, context: RequestContext
    ) -> route_pb2.ExplainResponse:
        """Return a recorded decision of the caller's tenant.

        Raises:
            NotFound: The tenant has no such decision, or no longer.
        """
        recorded = await self._decisions.by_id(context.tenant, request.decision_id)
        if recorded is None:
            shown = request.decision_id[:_SHOWN]
            raise NotFound(
                f"no decision '{shown}' is recorded for this tenant, or it was too long ago",
                reason="DECISION_NOT_FOUND",
                metadata={"decisionId": shown},
            )
        return recorded.explanation

    async def _run_once(
        self,
        flow: Flow,
        request: route_pb2.RouteRequest,
        context: RequestContext,
        request_id: str,
        digest: str,
        events: Events | None,
    ) -> Recorded:
        recorded = await self._decisions.by_request(context.tenant, request_id)
        if recorded is None:
            return await self._run(flow, request, context, request_id, digest, events)
        if recorded.record is not None and recorded.request_digest == digest:
            return replace(recorded, explanation=answered_again(recorded.record, request))
        return recorded

    async def _run(
        self,
        flow: Flow,
        request: route_pb2.RouteRequest,
        context: RequestContext,
        request_id: str,
        digest: str,
        events: Events | None,
    ) -> Recorded:
        may_be_lost = flow.unrecorded == "allow"
        if not may_be_lost:
            self._decisions.check_room()  # before anything is spent
        explanation = await self._engine.run(
            flow,
            request,
            replace(context, subject=""),
            decision_id=self._new_id(),
            request_id=request_id,
            events=events,
        )
        recorded = Recorded(
            context.tenant,
            digest,
            explanation,
            request=request,
            subject=context.subject,
            may_be_lost=may_be_lost,
        )
        await self._decisions.record(recorded)
        self._count(explanation.decision, context.tenant)
        return recorded

    def _count(self, decision: route_pb2.Decision, tenant: str) -> None:
        path = route_pb2.Path.Name(decision.path).removeprefix("PATH_").lower()
        degraded = "true" if decision.degradations else "false"
        flow = decision.flow
        self._metrics.decisions.labels(flow, path, degraded).inc()
        for kind, tokens in (
            ("prompt", decision.cost.prompt_tokens),
            ("output", decision.cost.output_tokens),
        ):
            self._metrics.reasoner_tokens.labels(flow, kind).inc(tokens)
        for kind, cost in (("spent", decision.cost), ("all_llm", decision.all_llm_cost)):
            self._metrics.cost_usd_micros.labels(flow, kind).inc(cost.usd_micros)
        _log.info(
            "decision",
            extra={
                "flow": flow,
                "path": path,
                "decision_id": decision.decision_id,
                "tenant": tenant,
                "reason": decision.reasons[0].code if decision.reasons else "",
                "duration_ms": round(decision.latency.ToNanoseconds() / 1e6, 3),
            },
        )


def _digest(request: route_pb2.RouteRequest) -> str:
    content = route_pb2.RouteRequest()
    content.CopyFrom(request)
    content.ClearField("request_id")  # however it is written
    return hashlib.sha256(content.SerializeToString(deterministic=True)).hexdigest()


def route_boundary(
    routing: Routing,
    flows: Iterable[Flow],
    settings: Settings,
    instruments: Instruments | None,
    *,
    admit: Admit | None = None,
) -> Boundary:
    """Return the boundary of the router's contract; ``admit`` decides who is served."""
    longest_ms = max((flow.latency_budget_ms for flow in flows), default=0)
    return Boundary(
        ROUTER,
        unary={"Route": routing.route, "Explain": routing.explain},
        streams={"RouteStream": routing.route_stream},
        limits=limits_of(settings),
        # the flow's own budget ends first
        default_timeout_s=longest_ms / 1e3 + _SLACK_S,
        instruments=instruments,
        admit=admit,
    )
