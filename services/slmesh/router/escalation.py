"""Hands a request to the reasoner: budgets first, then policy, then the call.

Whatever keeps the reasoner from answering becomes a value with the reason in the request's record, or
the error the flow declares. It decides nothing about whether a request should be escalated.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from slmesh.api.reason.v1 import reason_pb2
from slmesh.api.route.v1 import route_pb2
from slmesh.mesh.context import RequestContext
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
from slmesh.router.cascade import Verdict
from slmesh.router.cost import CostEstimator
from slmesh.router.disclosure import reason_request
from slmesh.router.events import Restorer
from slmesh.router.flow import REASONER_STEP, Reasoner
from slmesh.router.hops import UNSCREENED
from slmesh.router.latencies import Latencies
from slmesh.router.reasoning import Asked, ReasonedAnswer, ask
from slmesh.router.request_run import RequestRun, failure_code
from slmesh.router.structured_answer import MISMATCH, checked

if TYPE_CHECKING:  # it needs the extra ledger, and a mesh without budgets does not
    from slmesh.router.reasoner_budgets import Grant, ReasonerBudgets

__all__ = ["Escalation", "tell_if_unscreened", "unexpected"]

_log = logging.getLogger(__name__)

_REASONERS_OWN = frozenset({"instruction", "max_output_tokens", "output_schema", "whole_answer"})
"""Fields of a request to the reasoner that the flow writes."""

_LONGEST_PROBLEM = 256
"""Code points of what is wrong with an answer; the budget counts on it."""


class Escalation:
    """Asks the reasoner.

    Args:
        transport: What carries the call.
        estimator: Learns from its answers.
        budgets: What may be spent on it; no limit when None.
        latencies: How long services took lately.
    """

    def __init__(
        self,
        transport: Transport,
        estimator: CostEstimator,
        budgets: ReasonerBudgets | None,
        latencies: Latencies,
    ) -> None:
        self._latencies = latencies
        self._transport = transport
        self._estimator = estimator
        self._budgets = budgets

    def close(self) -> None:
        """Let the budgets' database go; it may block."""
        if self._budgets is not None:
            self._budgets.close()

    async def run(
        self,
        run: RequestRun,
        verdict: Verdict,
        decision: route_pb2.Decision,
        unready: MeshError | None,
    ) -> Asked | None:
        """Return the reasoner's answer or its error, or None when it was not asked.

        It is not asked when budgets do not allow it, or the time that is left.

        Args:
            run: The request; what went wrong is noted there.
            verdict: Why it is escalated.
            decision: Gets the state of the budgets.
            unready: Why the reasoner cannot be called at all, where that is so.

        Raises:
            MeshError: The reasoner failed, or a budget is used up, and the flow declares that the
                request fails then.
        """
        reasoner = run.flow.reasoner
        assert reasoner is not None
        request = reason_request(
            run.flow,
            reasoner,
            run.texts,
            run.signals,
            screened=run.screened,
            redacted_steps=run.hops.redacted,
        )
        # what may have to be asked for again is not told before it is known to match
        request.whole_answer = run.events is None or bool(request.output_schema)
        if self._no_time_for(run, reasoner):
            if reasoner.on_failure == "fail":
                raise DeadlineExceeded(
                    "the request needs the reasoner, and too little of its time is left for one",
                    reason="NO_TIME_FOR_REASONER",
                    metadata={"service": reasoner.service, "flow": run.flow.name},
                )
            run.degrade(
                "NO_TIME_FOR_REASONER",
                REASONER_STEP,
                "the reasoner was not asked: it usually takes longer than what is left",
            )
            return None
        if self._budgets is None:
            return _concluded(run, reasoner, await self._ask(run, reasoner, request, unready))
        grant = await self._budgets.grant(run, request, decision, verdict.expected_gain)
        decision.budget.CopyFrom(grant.state)
        if not grant.granted:
            if reasoner.on_no_budget == "fail":
                raise grant.error(run.flow.name)
            run.degrade(*grant.degradation(standby=verdict.standby is not None))
            return None
        asked = await self._ask_within(grant, run, reasoner, request, unready)
        return _concluded(run, reasoner, asked)

    def _no_time_for(self, run: RequestRun, reasoner: Reasoner) -> bool:
        remaining_s = run.context.remaining_s()
        return remaining_s is not None and self._latencies.too_slow(
            reasoner.service, 0.9, remaining_s, run.clock.monotonic_s()
        )

    async def _ask_within(
        self,
        grant: Grant,
        run: RequestRun,
        reasoner: Reasoner,
        request: reason_pb2.ReasonRequest,
        unready: MeshError | None,
    ) -> Asked:
        assert self._budgets is not None
        asked: Asked | None = None
        try:
            asked = await self._ask(run, reasoner, request, unready)
            return asked
        finally:
            usage = asked.usage if asked is not None else None
            unused = asked is not None and asked.unused
            self._budgets.settle(grant, usage, unused=unused)

    async def _ask(
        self,
        run: RequestRun,
        reasoner: Reasoner,
        request: reason_pb2.ReasonRequest,
        unready: MeshError | None,
    ) -> Asked:
        context = run.context.within(reasoner.timeout_ms / 1e3)
        run.begin(REASONER_STEP, reasoner.service)
        try:
            if unready is not None:
                raise unready
            run.hops.must_pass(
                REASONER_STEP, reasoner.service, redacted=run.screened, redactable=False
            )
            asked = await self._tried(run, request, run.hops.context(REASONER_STEP, context))
        except MeshError as error:
            asked = Asked.of(error)
        outcome = asked.outcome
        if isinstance(outcome, MeshError):
            run.end(REASONER_STEP, outcome)
            if isinstance(outcome, PermissionDenied):
                run.hops.refused(REASONER_STEP)
            return asked
        run.end(REASONER_STEP, None)
        latency = run.steps[REASONER_STEP].latency
        self._latencies.observe(
            reasoner.service, latency.ToNanoseconds() / 1e9, run.clock.monotonic_s()
        )
        run.hops.answered(REASONER_STEP, outcome.provenance)
        return asked

    async def _tried(
        self, run: RequestRun, request: reason_pb2.ReasonRequest, context: RequestContext
    ) -> Asked:
        """Ask, and once more when the answer does not match the schema it was asked for."""
        first = await self._try(run, request, context)
        if not isinstance(first.outcome, MeshError) or first.outcome.reason != MISMATCH:
            return first
        again = reason_pb2.ReasonRequest()
        again.CopyFrom(request)
        again.schema_problem = first.outcome.metadata.get("problem", "")[:_LONGEST_PROBLEM]
        return (await self._try(run, again, context)).after(first)

    async def _try(
        self, run: RequestRun, request: reason_pb2.ReasonRequest, context: RequestContext
    ) -> Asked:
        run.hops.sent(REASONER_STEP, request, _REASONERS_OWN)
        try:
            answer = await self._listened(run, request, context)
        except MeshError as error:
            return Asked.of(error)
        except Exception as error:
            return Asked.of(unexpected(error, run.flow.name, REASONER_STEP))
        self._estimator.learn(run.flow, request, answer.usage)
        if not request.output_schema:
            return Asked.of(answer)
        return Asked(checked(answer, request.output_schema), answer.usage)

    async def _listened(
        self, run: RequestRun, request: reason_pb2.ReasonRequest, context: RequestContext
    ) -> ReasonedAnswer:
        if run.events is None or request.whole_answer:
            return await ask(self._transport, request, context)
        restorer = Restorer(run.texts.restored, run.events.text)
        outcome = await ask(self._transport, request, context, restorer.push)
        restorer.end()
        return outcome


def _concluded(run: RequestRun, reasoner: Reasoner, asked: Asked) -> Asked:
    """Note what came of asking, as the flow declares.

    Raises:
        MeshError: The reasoner failed, and the flow declares that the request fails then.
    """
    outcome = asked.outcome
    if isinstance(outcome, ReasonedAnswer):
        if outcome.shortfall:
            code, sentence = outcome.shortfall
            run.degrade(code, REASONER_STEP, sentence)
        return asked
    if reasoner.on_failure == "fail":
        raise _failure(run, reasoner, outcome)
    run.degrade(
        failure_code("REASONER", outcome),
        REASONER_STEP,
        f"the reasoner did not answer ({outcome.reason}); the flow's fallback stands in",
    )
    return asked


def tell_if_unscreened(run: RequestRun) -> None:
    """Say so when the reasoner was not asked because nobody has screened the text."""
    reasoner = run.flow.reasoner
    if reasoner is not None and run.hops.withheld(REASONER_STEP, reasoner.service):
        run.degrade(
            UNSCREENED,
            REASONER_STEP,
            "the text was not screened, so nothing was sent outside of the mesh",
        )


def unexpected(error: Exception, flow: str, step: str) -> MeshError:
    """Log an error that nobody expected, and return what may be told of it."""
    failure = Internal.with_id()
    _log.error(
        "unexpected error in a step",
        exc_info=error,
        extra={"flow": flow, "step": step, "error_id": failure.metadata["errorId"]},
    )
    return failure


def _failure(run: RequestRun, reasoner: Reasoner, error: MeshError) -> MeshError:
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
