"""Answers Route and Explain: finds the flow, runs it once per request id, records what came out.

Thin on purpose: ids are made here, and everything else is somebody else's work.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, replace

from prometheus_client import Counter

from slmesh.api.route.v1 import route_pb2
from slmesh.mesh.boundary import Boundary, Instruments, limits_of
from slmesh.mesh.context import RequestContext
from slmesh.mesh.errors import InvalidArgument, MeshError, NotFound
from slmesh.mesh.gate import Admit
from slmesh.mesh.metrics import Metrics
from slmesh.mesh.settings import Settings
from slmesh.mesh.validation import Limits, validate
from slmesh.router.admission import Admission
from slmesh.router.coalescing import Coalescing
from slmesh.router.decisions import Decisions, Recorded
from slmesh.router.engine import Engine
from slmesh.router.events import Events
from slmesh.router.flow import Flow
from slmesh.router.flow_book import FlowBook
from slmesh.router.recorded_text import answered_again
from slmesh.router.request_checks import check_request, request_id_of
from slmesh.router.request_run import NOT_EVALUATED
from slmesh.router.response_cache import RequestKey, ResponseCache

__all__ = ["ROUTER", "Routing", "route_boundary"]

ROUTER = "router"
"""The router's name in logs, metrics and spans."""

_log = logging.getLogger(__name__)

_SLACK_S = 1.0
_SHOWN = 64
_SIDE_BY_SIDE = 128
"""Requests of one batch that run at the same time."""


def _new_id() -> str:
    return str(uuid.uuid4())


@dataclass(frozen=True)
class _Asked:
    flow: Flow
    request: route_pb2.RouteRequest
    context: RequestContext
    digest: str
    engine: Engine
    events: Events | None


class Routing:
    """The handlers of the router's contract.

    Args:
        flows: The flows.
        engine: What runs them.
        decisions: Where decisions are recorded.
        admission: The bound on requests in work.
        metrics: Where decisions are counted.
        limits: The largest request.
        cache: Answers that may be given again.
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
        limits: Limits,
        cache: ResponseCache,
        new_id: Callable[[], str] = _new_id,
    ) -> None:
        self._flows = flows
        self._engine = engine
        self._batch_engine = engine.gathered()
        self._limits = limits
        self._cache = cache
        self._decisions = decisions
        self._admission = admission
        self._metrics = metrics
        self._counters: dict[tuple[object, ...], Counter] = {}
        self._new_id = new_id
        self._running: Coalescing[Recorded] = Coalescing()

    async def route(
        self, request: route_pb2.RouteRequest, context: RequestContext
    ) -> route_pb2.RouteResponse:
        """Run a flow over one text, once for each request id of a tenant.

        Raises:
            MeshError: The request is wrong, or the flow declares that it fails.
        """
        with self._admission.one():
            decision = await self._decision(request, context, self._engine)
        return route_pb2.RouteResponse(decision=decision)

    async def batch_route(
        self, request: route_pb2.BatchRouteRequest, context: RequestContext
    ) -> route_pb2.BatchRouteResponse:
        """Run flows over many texts; one that fails does not affect the others."""
        turn = asyncio.Semaphore(_SIDE_BY_SIDE)

        async def one(index: int, item: route_pb2.RouteRequest) -> route_pb2.BatchRouteResult:
            try:
                async with turn:
                    validate(item, self._limits)
                    decision = await self._decision(item, context, self._batch_engine)
            except MeshError as error:
                named = error.with_field_prefix(f"requests[{index}]")
                return route_pb2.BatchRouteResult(error=named.to_status())
            response = route_pb2.RouteResponse(decision=decision)
            return route_pb2.BatchRouteResult(response=response)

        with self._admission.one():
            results = await asyncio.gather(
                *(one(index, item) for index, item in enumerate(request.requests))
            )
        return route_pb2.BatchRouteResponse(results=results)

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
        with self._admission.one():
            run = asyncio.create_task(
                self._decision(request.request, context, self._engine, events)
            )
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
        engine: Engine,
        events: Events | None = None,
    ) -> route_pb2.Decision:
        check_request(request)
        flow = self._flows.flow(request.flow)
        request_id = request_id_of(request)
        digest = _digest(request)
        asked = _Asked(flow, request, context, digest, engine, events)
        if not request_id:
            recorded = await self._run(asked, self._new_id())
        else:
            recorded = await self._running.run(
                (context.tenant, request_id), lambda: self._run_once(asked, request_id)
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

    async def _run_once(self, asked: _Asked, request_id: str) -> Recorded:
        recorded = await self._decisions.by_request(asked.context.tenant, request_id)
        if recorded is None:
            return await self._run(asked, request_id)
        if recorded.record is not None and recorded.request_digest == asked.digest:
            return replace(recorded, explanation=answered_again(recorded.record, asked.request))
        return recorded

    async def _run(self, asked: _Asked, request_id: str) -> Recorded:
        flow, request, context = asked.flow, asked.request, asked.context
        may_be_lost = flow.unrecorded == "allow"
        if not may_be_lost and asked.events is None:
            self._decisions.check_room()  # before anything is spent
        elif not may_be_lost:
            self._decisions.try_room()  # before anything is told, which could not be taken back
        key = self._key(asked)
        cached = self._cached(asked, key, request_id)
        serving = self._cache.serving(flow)
        explanation = cached or await self._explained(asked, request_id)
        recorded = Recorded(
            context.tenant,
            asked.digest,
            explanation,
            request=request,
            subject=context.subject,
            may_be_lost=may_be_lost,
        )
        await self._decisions.record(recorded)
        # what a change of the policy has overtaken is not kept: it was decided by both
        if cached is None and key == self._key(asked):
            self._cache.take_in(key, flow, request, explanation, serving, context.subject)
        # after the reply, which need not wait for it
        loop = asyncio.get_running_loop()
        loop.call_soon(self._count, explanation.decision, context.tenant)
        return recorded

    async def _explained(self, asked: _Asked, request_id: str) -> route_pb2.ExplainResponse:
        try:
            return await asked.engine.run(
                asked.flow,
                asked.request,
                replace(asked.context, subject=""),
                decision_id=self._new_id(),
                request_id=request_id,
                events=asked.events,
            )
        except MeshError as error:
            if error.reason == NOT_EVALUATED:
                self._count_not_evaluated(asked.flow.name, error.metadata.get("step", ""))
            raise

    def _cached(
        self, asked: _Asked, key: RequestKey, request_id: str
    ) -> route_pb2.ExplainResponse | None:
        """Return a new decision with the answer of an earlier one to the same request, or None."""
        if asked.request.decide_anew or not self._cache.keeps(asked.flow):
            return None
        self._decisions.forget_deleted()
        explanation = self._cache.answer(
            key,
            asked.flow,
            asked.context.subject,
            decision_id=self._new_id(),
            request_id=request_id,
        )
        if explanation is not None and asked.events is not None:
            answer = explanation.decision.answer
            if answer.source == route_pb2.ANSWER_SOURCE_REASONER:
                asked.events.text(answer.text)
        return explanation

    def _key(self, asked: _Asked) -> RequestKey:
        return RequestKey(
            asked.context.tenant,
            asked.flow.name,
            asked.flow.revision,
            asked.engine.policy_revision,
            asked.digest,
        )

    def _count_not_evaluated(self, flow: str, step: str) -> None:
        self._metrics.conditions_not_evaluated.labels(flow, step).inc()

    def _count(self, decision: route_pb2.Decision, tenant: str) -> None:
        path = route_pb2.Path.Name(decision.path).removeprefix("PATH_").lower()
        degraded = "true" if decision.degradations else "false"
        flow = decision.flow
        self._counter(self._metrics.decisions, flow, path, degraded).inc()
        for degradation in decision.degradations:
            if degradation.code == NOT_EVALUATED:
                self._count_not_evaluated(flow, degradation.step)
        for kind, tokens in (
            ("prompt", decision.cost.prompt_tokens),
            ("output", decision.cost.output_tokens),
        ):
            self._counter(self._metrics.reasoner_tokens, flow, kind).inc(tokens)
        for kind, cost in (("spent", decision.cost), ("all_llm", decision.all_llm_cost)):
            self._counter(self._metrics.cost_usd_micros, flow, kind).inc(cost.usd_micros)
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

    def _counter(self, metric: Counter, *labels: str) -> Counter:
        """Return a metric with its labels: to look it up there costs more than to count."""
        counter = self._counters.get((metric, *labels))
        if counter is None:
            counter = self._counters[metric, *labels] = metric.labels(*labels)
        return counter


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
        unary={
            "Route": routing.route,
            "BatchRoute": routing.batch_route,
            "Explain": routing.explain,
        },
        streams={"RouteStream": routing.route_stream},
        limits=limits_of(settings),
        # the flow's own budget ends first
        default_timeout_s=longest_ms / 1e3 + _SLACK_S,
        instruments=instruments,
        admit=admit,
    )
