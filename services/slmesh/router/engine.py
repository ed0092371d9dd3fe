"""Runs one request through one flow, over any transport.

Steps that do not wait for each other run in parallel. No step can break a request by an exception:
its failure is recorded, and the flow's declaration says what follows. Ids are made by the caller, time
comes from a clock; the engine knows neither gRPC nor Ray.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from google.protobuf.message import Message

from slmesh.api.route.v1 import route_pb2
from slmesh.mesh.context import RequestContext
from slmesh.mesh.contract import contract
from slmesh.mesh.errors import (
    DeadlineExceeded,
    MeshError,
    Unavailable,
)
from slmesh.mesh.transport import Transport
from slmesh.policy.judge import Judge
from slmesh.router.cascade import Verdict, decide, refusal
from slmesh.router.cost import CostEstimator
from slmesh.router.escalation import Escalation, tell_if_unscreened, unexpected
from slmesh.router.events import Events
from slmesh.router.flow import REDACTED_TEXT, Flow, Step
from slmesh.router.gathering import GatheringTransport
from slmesh.router.hedging import Hedging
from slmesh.router.hops import Hops
from slmesh.router.latencies import Latencies, needed_after
from slmesh.router.reasoning import Asked, ReasonedAnswer
from slmesh.router.request_run import NOT_EVALUATED, Clock, RequestRun
from slmesh.router.signals import request_of
from slmesh.router.structured_answer import put_text

if TYPE_CHECKING:  # it needs the extra ledger, and a mesh without budgets does not
    from slmesh.router.reasoner_budgets import ReasonerBudgets

__all__ = ["Engine", "Prepare"]

Prepare = Callable[[str], Awaitable[object]]
"""Makes a service ready to be called, such as by loading it into this process."""

_RESERVE_S = 0.05
"""Kept back from the time there is, so that a late answer can still be a degraded one in time."""

_LEAST_STEP_S = 0.01
"""What a step is given even when required steps after it are slow: their past may be over."""


class Engine:
    """Runs flows.

    Args:
        transport: What carries the calls to services.
        contracts: The contract of every service, by name.
        judge: Returns what the policy in force says about each hop; a request keeps what it began
            with.
        estimator: What decisions cost.
        clock: Where time comes from.
        prepare: Called with each service before it is first needed, outside of its step's time;
            for a transport that loads services when they are first called.
        budgets: What may be spent on the reasoner; no limit when None.
        latencies: How long services took lately; nothing is known yet when None.
        hedging: Makes calls that declare a hedge; None sends each once.
    """

    def __init__(
        self,
        transport: Transport,
        contracts: Mapping[str, str],
        *,
        judge: Callable[[], Judge],
        estimator: CostEstimator,
        clock: Clock,
        prepare: Prepare | None = None,
        budgets: ReasonerBudgets | None = None,
        latencies: Latencies | None = None,
        hedging: Hedging | None = None,
    ) -> None:
        self._transport = transport
        self._latencies = latencies or Latencies()
        self._hedging = hedging
        self._escalation = Escalation(transport, estimator, budgets, self._latencies)
        self._contracts = contracts
        self._judge = judge
        self._estimator = estimator
        self._clock = clock
        self._prepare = prepare

    async def run(
        self,
        flow: Flow,
        request: route_pb2.RouteRequest,
        context: RequestContext,
        *,
        decision_id: str,
        request_id: str,
        events: Events | None = None,
    ) -> route_pb2.ExplainResponse:
        """Run a flow and return the decision with the conditions behind it.

        Args:
            flow: The flow.
            request: A request that was checked.
            context: The caller's context.
            decision_id: The id of the decision to make.
            request_id: The id of the request.
            events: Where to tell what happens meanwhile.

        Raises:
            MeshError: A step or the reasoner has failed and the flow declares that the request
                fails then, or the time ran out.
        """
        unready = await self._make_ready({step.service for step in flow.steps})
        inner = replace(
            _reserved(context.within(flow.latency_budget_ms / 1e3)),
            decision_id=decision_id,
            data_classes=flow.data_classes,
        )
        hops = Hops(
            self._judge(),
            flow=flow.name,
            tenant=context.tenant,
            declared=flow.data_classes,
            guarded=bool(flow.guards(self._contracts)),
        )
        run = RequestRun(flow, self._contracts, request, inner, self._clock, hops, events)
        verdict = await self._run_steps(run, unready)
        if verdict is None:
            verdict = decide(flow, run.signals, run.failed, run.scope)
        for step, sentence in verdict.problems:
            run.degrade(NOT_EVALUATED, step, sentence)
        decision = route_pb2.Decision(
            decision_id=decision_id,
            request_id=request_id,
            flow=flow.name,
            flow_revision=flow.revision,
            create_time=run.received,
        )
        await self._answer(run, verdict, decision)
        decision.reasons.extend(verdict.reasons)
        decision.degradations.extend(run.degradations)
        decision.steps.extend(run.ordered_steps())
        decision.receipt.CopyFrom(run.hops.receipt())
        decision.latency.CopyFrom(run.elapsed())
        conditions = (*run.conditions, *verdict.conditions)
        return route_pb2.ExplainResponse(decision=decision, conditions=conditions)

    @property
    def policy_revision(self) -> str:
        """The digest of the policy that judges each hop."""
        return self._judge().revision

    def gathered(self) -> Engine:
        """Return an engine that sends the calls of requests it runs at the same time as batches."""
        other = copy.copy(self)
        other._transport = GatheringTransport(self._transport)
        other._hedging = None  # a late call would be sent with others that are not
        return other

    def medians_ms(self) -> dict[str, float]:
        """Return the median time of recent calls of each service that enough is known of."""
        return self._latencies.medians_ms()

    def close(self) -> None:
        """Let the budgets' database go; it may block."""
        self._escalation.close()

    def all_llm(self, flow: Flow, text: str) -> route_pb2.Cost:
        """Return what the reasoner alone would cost for a text, see :class:`CostEstimator`."""
        return self._estimator.all_llm(flow, text)

    async def _run_steps(self, run: RequestRun, unready: Mapping[str, MeshError]) -> Verdict | None:
        """Run the steps; returns a refusal as soon as there is one."""
        waiting = {step.name: step for step in run.flow.steps}
        running: dict[asyncio.Task[Message | MeshError], Step] = {}
        ended: set[str] = set()
        verdict: Verdict | None = None
        try:
            while verdict is None:
                # one that ends at once may be what the next one waits for
                while ready := self._slowest_first(waiting.values(), ended):
                    for step in ready:
                        del waiting[step.name]
                        if not self._may_start(run, step):
                            ended.add(step.name)
                            continue
                        run.begin(step.name, step.service)
                        call = self._call(run, step, unready.get(step.service))
                        running[asyncio.create_task(call)] = step
                if not running:
                    break
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    step = running.pop(task)
                    ended.add(step.name)
                    _take_in(run, step, _outcome(task, step))
                verdict = refusal(run.flow, run.signals, run.scope)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        for step in (*running.values(), *waiting.values()):
            run.skip(step)
        return verdict

    def _may_start(self, run: RequestRun, step: Step) -> bool:
        """Return whether a step whose turn it is starts; notes why when it does not."""
        if not run.wants(step):
            return False
        if step.text == REDACTED_TEXT and not run.texts.redacted:
            run.withhold(step)
            return False
        if self._no_time_for(run, step):
            run.leave_out(step)
            return False
        return True

    async def _call(
        self, run: RequestRun, step: Step, unready: MeshError | None
    ) -> Message | MeshError:
        """Call a step's service; returns its answer, or an error as a value."""
        if unready is not None:
            return unready
        rpc = contract(self._contracts[step.service]).single
        context = run.context.within(self._time_of(run, step))
        started_s = self._clock.monotonic_s()
        try:
            step = run.passed(step)
            request = request_of(
                step, self._contracts[step.service], run.request, run.texts, run.received
            )
            declared = run.declared_fields(step)
            context = run.hops.context(step.name, context)

            async def send() -> Message:
                run.hops.sent(step.name, request, declared)
                return await self._transport.unary(rpc, request, context)

            async with asyncio.timeout(context.remaining_s()):
                if self._hedging is None:
                    response = await send()
                else:
                    tell = partial(run.hedged, step.name)
                    response = await self._hedging.answer(step, context, send, tell)
            now_s = self._clock.monotonic_s()
            self._latencies.observe(step.service, now_s - started_s, now_s)
            return response
        except TimeoutError:
            given_ms = round((self._clock.monotonic_s() - started_s) * 1e3)
            return DeadlineExceeded(
                f"service '{step.service}' did not answer within {given_ms} ms",
                metadata={"service": step.service},
            )
        except MeshError as error:
            return error
        except Exception as error:
            return unexpected(error, run.flow.name, step.name)

    def _slowest_first(self, steps: Iterable[Step], ended: set[str]) -> list[Step]:
        """Return the steps that can start: the others start while the slowest one is under way."""
        ready = [step for step in steps if ended.issuperset(step.after)]
        return sorted(ready, key=lambda step: -self._latencies.quantile(step.service, 0.5))

    def _time_of(self, run: RequestRun, step: Step) -> float:
        """Return the seconds a step may take: its own, less what required steps after it need."""
        remaining_s = run.context.remaining_s()
        own_s = step.timeout_ms / 1e3
        if remaining_s is None:
            return own_s
        after_s = needed_after(step, run.flow, self._latencies)
        return max(min(own_s, remaining_s - after_s), min(own_s, _LEAST_STEP_S))

    def _no_time_for(self, run: RequestRun, step: Step) -> bool:
        """Return whether a step the flow can do without would take the time of one it cannot."""
        remaining_s = run.context.remaining_s()
        if step.on_failure != "skip" or remaining_s is None:
            return False
        left_s = remaining_s - needed_after(step, run.flow, self._latencies)
        return self._latencies.too_slow(step.service, 0.95, left_s, self._clock.monotonic_s())

    async def _answer(
        self, run: RequestRun, verdict: Verdict, decision: route_pb2.Decision
    ) -> None:
        """Fill in path, answer and costs."""
        decision.path = verdict.path
        asked: Asked | None = None
        if verdict.path == route_pb2.PATH_REFUSED:
            decision.answer.source = route_pb2.ANSWER_SOURCE_TEMPLATE
            decision.answer.text = run.flow.refusal
        elif verdict.answer is not None:
            decision.answer.CopyFrom(verdict.answer)
            decision.answer.text = run.texts.restored(verdict.answer.text)
        elif verdict.path == route_pb2.PATH_ESCALATED:
            asked = await self._escalate(run, verdict, decision)
        if verdict.path == route_pb2.PATH_FALLBACK:
            tell_if_unscreened(run)
        if decision.path == route_pb2.PATH_FALLBACK:
            decision.answer.source = route_pb2.ANSWER_SOURCE_FALLBACK
            decision.answer.text = run.flow.fallback
            if not run.degradations:
                run.degrade("NO_ANSWER_FOUND", "", "the small models cannot answer this")
        decision.cost.CopyFrom(self._estimator.spent(run.flow, asked.usage if asked else None))
        text = run.texts.for_reasoner(screened=bool(run.texts.redacted))
        answer = asked.outcome if asked else None
        usage = answer.usage if isinstance(answer, ReasonedAnswer) else None
        decision.all_llm_cost.CopyFrom(self._estimator.all_llm(run.flow, text, usage))

    async def _escalate(
        self, run: RequestRun, verdict: Verdict, decision: route_pb2.Decision
    ) -> Asked | None:
        """Ask the reasoner, where budgets allow it; returns what came of it."""
        assert run.flow.reasoner is not None
        unready = await self._make_ready({run.flow.reasoner.service})
        asked = await self._escalation.run(
            run, verdict, decision, unready.get(run.flow.reasoner.service)
        )
        if asked is not None and isinstance(asked.outcome, ReasonedAnswer):
            decision.answer.source = route_pb2.ANSWER_SOURCE_REASONER
            decision.answer.provenance.CopyFrom(asked.outcome.provenance)
            if asked.outcome.structured:
                decision.answer.structured.SetInParent()
            put_text(decision.answer, asked.outcome.text, run.texts.restored)
            if asked.outcome.structured and run.events is not None:
                run.events.text(decision.answer.text)
        elif asked is None and verdict.standby is not None:
            decision.path = route_pb2.PATH_SMALL
            decision.answer.CopyFrom(verdict.standby)
            decision.answer.text = run.texts.restored(verdict.standby.text)
        else:
            decision.path = route_pb2.PATH_FALLBACK
        return asked

    async def _make_ready(self, services: Iterable[str]) -> dict[str, MeshError]:
        """Make services ready; returns why those that are not cannot be."""
        if self._prepare is None:
            return {}
        names = sorted(services)
        prepared = await asyncio.gather(
            *(self._prepare(name) for name in names), return_exceptions=True
        )
        return {
            name: outcome if isinstance(outcome, MeshError) else unexpected(outcome, "", name)
            for name, outcome in zip(names, prepared, strict=True)
            if isinstance(outcome, Exception)
        }


def _reserved(context: RequestContext) -> RequestContext:
    """Return the context with a little of its time kept back for the answer."""
    remaining_s = context.remaining_s()
    if remaining_s is None:
        return context
    return context.within(remaining_s - min(_RESERVE_S, remaining_s / 10))


def _outcome(task: asyncio.Task[Message | MeshError], step: Step) -> Message | MeshError:
    if task.cancelled():  # not by us: the call was cancelled under it
        return Unavailable(
            f"the call to service '{step.service}' was cut", metadata={"service": step.service}
        )
    return task.result()


def _take_in(run: RequestRun, step: Step, outcome: Message | MeshError) -> None:
    error = outcome if isinstance(outcome, MeshError) else None
    run.end(step.name, error)
    if isinstance(outcome, Message):
        try:
            run.succeeded(step, outcome)
        except MeshError as incomplete:
            run.end(step.name, incomplete)
            error = incomplete
    if error is not None:
        run.give_up_on(step, error)
