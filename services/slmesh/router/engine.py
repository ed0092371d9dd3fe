"""Runs one request through one flow, over any transport.

Steps that do not wait for each other run in parallel. No step can break a request by an exception:
its failure is recorded, and the flow's declaration says what follows. Ids are made by the caller, time
comes from a clock; the engine knows neither gRPC nor Ray.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace

from google.protobuf.message import Message

from slmesh.api.reason.v1 import reason_pb2
from slmesh.api.route.v1 import route_pb2
from slmesh.mesh.context import RequestContext
from slmesh.mesh.contract import contract
from slmesh.mesh.errors import (
    DeadlineExceeded,
    Internal,
    InvalidArgument,
    MeshError,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
)
from slmesh.mesh.transport import Transport
from slmesh.policy.judge import Judge
from slmesh.router.cascade import Verdict, decide, refusal
from slmesh.router.cost import CostEstimator
from slmesh.router.disclosure import reason_request
from slmesh.router.flow import REASONER_STEP, REDACTED_TEXT, Flow, Reasoner, Step
from slmesh.router.hops import UNSCREENED, Hops
from slmesh.router.reasoning import ReasonedAnswer, ask
from slmesh.router.request_run import Clock, RequestRun, failure_code
from slmesh.router.signals import request_of

__all__ = ["Engine", "Prepare"]

_log = logging.getLogger(__name__)

Prepare = Callable[[str], Awaitable[object]]
"""Makes a service ready to be called, such as by loading it into this process."""

_REASONERS_OWN = frozenset({"instruction", "max_output_tokens"})
"""Fields of a request to the reasoner that the flow writes."""

_RESERVE_S = 0.05
"""Kept back from the caller's time, so that a late answer can still be a degraded one in time."""


class Engine:
    """Runs flows.

    Args:
        transport: What carries the calls to services.
        contracts: The contract of every service, by name.
        judge: What the policy says about each hop.
        estimator: What decisions cost.
        clock: Where time comes from.
        prepare: Called with each service before it is first needed, outside of its step's time;
            for a transport that loads services when they are first called.
    """

    def __init__(
        self,
        transport: Transport,
        contracts: Mapping[str, str],
        *,
        judge: Judge,
        estimator: CostEstimator,
        clock: Clock,
        prepare: Prepare | None = None,
    ) -> None:
        self._transport = transport
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
    ) -> route_pb2.ExplainResponse:
        """Run a flow and return the decision with the conditions behind it.

        Args:
            flow: The flow.
            request: A request that was checked.
            context: The caller's context.
            decision_id: The id of the decision to make.
            request_id: The id of the request.

        Raises:
            MeshError: A step or the reasoner has failed and the flow declares that the request
                fails then, or the time ran out.
        """
        unready = await self._make_ready({step.service for step in flow.steps})
        inner = replace(
            _reserved(context).within(flow.latency_budget_ms / 1e3),
            decision_id=decision_id,
            data_classes=flow.data_classes,
        )
        hops = Hops(
            self._judge,
            flow=flow.name,
            tenant=context.tenant,
            declared=flow.data_classes,
            guarded=any(self._contracts.get(step.service) == "guard" for step in flow.steps),
        )
        run = RequestRun(flow, self._contracts, request, inner, self._clock, hops)
        verdict = await self._run_steps(run, unready)
        if verdict is None:
            verdict = decide(flow, run.signals, run.failed)
        for step, sentence in verdict.problems:
            run.degrade("CONDITION_NOT_EVALUATED", step, sentence)
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
        return route_pb2.ExplainResponse(decision=decision, conditions=verdict.conditions)

    async def _run_steps(self, run: RequestRun, unready: Mapping[str, MeshError]) -> Verdict | None:
        """Run the steps; returns a refusal as soon as there is one."""
        waiting = {step.name: step for step in run.flow.steps}
        running: dict[asyncio.Task[Message | MeshError], Step] = {}
        ended: set[str] = set()
        verdict: Verdict | None = None
        try:
            while verdict is None:
                for step in [one for one in waiting.values() if ended.issuperset(one.after)]:
                    del waiting[step.name]
                    if step.text == REDACTED_TEXT and not run.texts.redacted:
                        run.withhold(step)
                        ended.add(step.name)
                        continue
                    run.begin(step.name, step.service)
                    call = self._call(run, step, unready.get(step.service))
                    running[asyncio.create_task(call)] = step
                if not running and not any(ended.issuperset(s.after) for s in waiting.values()):
                    break
                if running:
                    done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        step = running.pop(task)
                        ended.add(step.name)
                        _take_in(run, step, _outcome(task, step))
                    verdict = refusal(run.flow, run.signals)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        for step in (*running.values(), *waiting.values()):
            run.skip(step)
        return verdict

    async def _call(
        self, run: RequestRun, step: Step, unready: MeshError | None
    ) -> Message | MeshError:
        """Call a step's service; returns its answer, or an error as a value."""
        if unready is not None:
            return unready
        rpc = contract(self._contracts[step.service]).single
        context = run.context.within(step.timeout_ms / 1e3).to_service(step.service)
        try:
            step = run.passed(step)
            request = request_of(
                step, self._contracts[step.service], run.request, run.texts, run.received
            )
            run.hops.sent(step.name, request, run.declared_fields(step))
            context = run.hops.context(step.name, context)
            async with asyncio.timeout(context.remaining_s()):
                return await self._transport.unary(rpc, request, context)
        except TimeoutError:
            return DeadlineExceeded(
                f"service '{step.service}' did not answer within {step.timeout_ms} ms",
                metadata={"service": step.service},
            )
        except MeshError as error:
            return error
        except Exception as error:
            return _unexpected(error, run.flow.name, step.name)

    async def _answer(
        self, run: RequestRun, verdict: Verdict, decision: route_pb2.Decision
    ) -> None:
        """Fill in path, answer and costs."""
        decision.path = verdict.path
        usage: reason_pb2.Usage | None = None
        if verdict.path == route_pb2.PATH_REFUSED:
            decision.answer.source = route_pb2.ANSWER_SOURCE_TEMPLATE
            decision.answer.text = run.flow.refusal
        elif verdict.answer is not None:
            decision.answer.CopyFrom(verdict.answer)
            decision.answer.text = run.texts.restored(verdict.answer.text)
        elif verdict.path == route_pb2.PATH_ESCALATED:
            assert run.flow.reasoner is not None
            reasoned = await self._escalate(run, run.flow.reasoner)
            if isinstance(reasoned, ReasonedAnswer):
                usage = reasoned.usage
                decision.answer.source = route_pb2.ANSWER_SOURCE_REASONER
                decision.answer.text = run.texts.restored(reasoned.text)
                decision.answer.provenance.CopyFrom(reasoned.provenance)
            else:
                decision.path = route_pb2.PATH_FALLBACK
        if verdict.path == route_pb2.PATH_FALLBACK:
            _tell_if_unscreened(run)
        if decision.path == route_pb2.PATH_FALLBACK:
            decision.answer.source = route_pb2.ANSWER_SOURCE_FALLBACK
            decision.answer.text = run.flow.fallback
            if not run.degradations:
                run.degrade("NO_ANSWER_FOUND", "", "the small models cannot answer this")
        decision.cost.CopyFrom(self._estimator.spent(usage))
        text = run.texts.for_reasoner(screened=bool(run.texts.redacted))
        decision.all_llm_cost.CopyFrom(self._estimator.all_llm(run.flow, text, usage))

    async def _escalate(self, run: RequestRun, reasoner: Reasoner) -> ReasonedAnswer | MeshError:
        unready = await self._make_ready({reasoner.service})
        request = reason_request(
            run.flow,
            reasoner,
            run.texts,
            run.signals,
            screened=run.screened,
            redacted_steps=run.hops.redacted,
        )
        context = run.context.within(reasoner.timeout_ms / 1e3).to_service(reasoner.service)
        run.begin(REASONER_STEP, reasoner.service)
        outcome: ReasonedAnswer | MeshError
        try:
            for error in unready.values():
                raise error
            run.hops.must_pass(
                REASONER_STEP, reasoner.service, redacted=run.screened, redactable=False
            )
            run.hops.sent(REASONER_STEP, request, _REASONERS_OWN)
            outcome = await ask(self._transport, request, run.hops.context(REASONER_STEP, context))
        except MeshError as error:
            outcome = error
        except Exception as error:
            outcome = _unexpected(error, run.flow.name, REASONER_STEP)
        if isinstance(outcome, MeshError):
            run.end(REASONER_STEP, outcome)
            if isinstance(outcome, PermissionDenied):
                run.hops.refused(REASONER_STEP)
            if reasoner.on_failure == "fail":
                raise _reasoner_failure(run, reasoner, outcome)
            run.degrade(
                failure_code("REASONER", outcome),
                REASONER_STEP,
                f"the reasoner did not answer ({outcome.reason}); the flow's fallback stands in",
            )
            return outcome
        run.end(REASONER_STEP, None)
        run.hops.answered(REASONER_STEP, outcome.provenance)
        self._estimator.learn(run.flow, request, outcome.usage)
        if outcome.shortfall:
            code, sentence = outcome.shortfall
            run.degrade(code, REASONER_STEP, sentence)
        return outcome

    async def _make_ready(self, services: Iterable[str]) -> dict[str, MeshError]:
        """Make services ready; returns why those that are not cannot be."""
        if self._prepare is None:
            return {}
        names = sorted(services)
        prepared = await asyncio.gather(
            *(self._prepare(name) for name in names), return_exceptions=True
        )
        return {
            name: outcome if isinstance(outcome, MeshError) else _unexpected(outcome, "", name)
            for name, outcome in zip(names, prepared, strict=True)
            if isinstance(outcome, Exception)
        }


def _tell_if_unscreened(run: RequestRun) -> None:
    """Say so when the reasoner was not asked because nobody has screened the text."""
    reasoner = run.flow.reasoner
    if reasoner is not None and run.hops.withheld(REASONER_STEP, reasoner.service):
        run.degrade(
            UNSCREENED,
            REASONER_STEP,
            "the text was not screened, so nothing was sent outside of the mesh",
        )


def _reserved(context: RequestContext) -> RequestContext:
    """Return the context with a little of the caller's time kept back for the answer."""
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


def _unexpected(error: Exception, flow: str, step: str) -> MeshError:
    failure = Internal.with_id()
    _log.error(
        "unexpected error in a step",
        exc_info=error,
        extra={"flow": flow, "step": step, "error_id": failure.metadata["errorId"]},
    )
    return failure


def _reasoner_failure(run: RequestRun, reasoner: Reasoner, error: MeshError) -> MeshError:
    if isinstance(error, InvalidArgument):
        return error  # a text too long for the model stays so: not a matter of trying again
    metadata = {"service": reasoner.service, "flow": run.flow.name, "cause": error.reason}
    delay_s = error.retry_delay_s or 1.0
    if isinstance(error, DeadlineExceeded) and run.context.expired():
        return DeadlineExceeded(
            "the reasoner did not answer before the deadline", metadata=metadata
        )
    if isinstance(error, PermissionDenied):
        return PermissionDenied(
            "the request needs the reasoner, and the policy of the mesh does not let its data go"
            " there",
            reason=error.reason,
            metadata=metadata,
        )
    if isinstance(error, ResourceExhausted):
        message = "the request needs the reasoner, and the reasoner has no room"
    else:
        message = f"the request needs the reasoner, and it did not answer ({error.reason})"
    return Unavailable(
        message, reason=failure_code("REASONER", error), metadata=metadata, retry_delay_s=delay_s
    )
