"""The state of one request while its flow runs: signals, failures, and the record of every step.

It keeps and words what happened; it calls nothing and decides nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from slmesh.api.guard.v1 import guard_pb2
from slmesh.api.route.v1 import route_pb2
from slmesh.api.signal.v1 import signal_pb2
from slmesh.mesh.context import RequestContext
from slmesh.mesh.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    MeshError,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
)
from slmesh.router.conditions import Scope, evaluate_expression
from slmesh.router.declared_value import declared_signal
from slmesh.router.events import Events
from slmesh.router.expressions import types_of
from slmesh.router.flow import REDACTED_TEXT, TEXT_KEY, Flow, OnFailure, Step
from slmesh.router.hops import UNSCREENED, Hops
from slmesh.router.signals import Texts, provenance_of, redactable, signal_of

__all__ = ["NOT_EVALUATED", "Clock", "RequestRun", "failure_code", "scope_of"]

NOT_EVALUATED = "CONDITION_NOT_EVALUATED"
"""The code of a condition that failed: the degradation of a rule, or the error of a step."""

_RETRY_DELAY_S = 1.0
_LOCALE, _TIME_ZONE = "en-GB", "UTC"  # of a request that names none, as the contract says
_OWN_CODES = frozenset(
    {"GUARD_INCOMPLETE", NOT_EVALUATED, UNSCREENED, "OUTPUT_SCHEMA_MISMATCH", "REASONER_DECLINED"}
)
"""Reasons that say more than the kind of error does."""


@dataclass(frozen=True)
class Clock:
    """Where time comes from.

    Attributes:
        now_ns: Nanoseconds since the epoch, for records.
        monotonic_s: Monotonic seconds, for durations.
    """

    now_ns: Callable[[], int] = time.time_ns
    monotonic_s: Callable[[], float] = time.monotonic


@dataclass
class RequestRun:
    """One request on its way through one flow.

    Attributes:
        flow: The flow.
        contracts: The contract of every service, by name.
        request: The request.
        context: Its context; the deadline is when the steps and the reasoner must have ended.
        clock: Where time comes from.
        hops: Its hops, and what the policy says about them.
        events: Where it tells what happens; None when nobody listens.
        texts: Its texts; redacted once the guard has answered.
        signals: What the steps that succeeded have said.
        failed: What the flow declares for each step without a signal.
        steps: The record of each step that was started or skipped.
        degradations: What is missing from the answer.
        conditions: The conditions of steps that were evaluated.
    """

    flow: Flow
    contracts: Mapping[str, str]
    request: route_pb2.RouteRequest
    context: RequestContext
    clock: Clock
    hops: Hops
    events: Events | None = None
    texts: Texts = field(init=False)
    signals: dict[str, signal_pb2.Signal] = field(default_factory=dict)
    failed: dict[str, OnFailure] = field(default_factory=dict)
    steps: dict[str, route_pb2.Step] = field(default_factory=dict)
    degradations: list[route_pb2.Degradation] = field(default_factory=list)
    conditions: list[route_pb2.Condition] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Note when the request was received."""
        self.texts = Texts(self.request.text, tuple(self.request.documents))
        self.received = Timestamp()
        self.received.FromNanoseconds(self.clock.now_ns())
        self._started_s = self.clock.monotonic_s()

    @property
    def screened(self) -> bool:
        """Whether the flow has a guard step."""
        return bool(self.flow.guards(self.contracts))

    @cached_property
    def scope(self) -> Scope:
        """What expressions may read beside the signals."""
        return scope_of(self.flow, self.contracts, self.request, self.context.tenant, self.received)

    def elapsed(self, since_s: float = 0.0) -> Duration:
        """Return the time since the request was received, or since an earlier such time."""
        elapsed = Duration()
        elapsed.FromNanoseconds(round((self.elapsed_s() - since_s) * 1e9))
        return elapsed

    def elapsed_s(self) -> float:
        """Return the seconds since the request was received."""
        return self.clock.monotonic_s() - self._started_s

    def passed(self, step: Step) -> Step:
        """Return a step as the policy lets it be called: with its text, or with the redacted one.

        Raises:
            PermissionDenied: It may not be called with either.
        """
        redacted = self.hops.must_pass(
            step.name,
            step.service,
            redacted=step.text == REDACTED_TEXT,
            redactable=bool(self.texts.redacted),
            is_guard=self.contracts[step.service] == "guard",
        )
        if not redacted or step.text == REDACTED_TEXT:
            return step
        return replace(step, input={**step.input, TEXT_KEY: REDACTED_TEXT})

    def declared_fields(self, step: Step) -> frozenset[str]:
        """Return the fields of a step's request that hold what the flow declares."""
        if not step.options:
            return frozenset()
        return frozenset(name for name in step.options if not getattr(self.request, name, ""))

    def wants(self, step: Step) -> bool:
        """Return whether a step is to run as its own condition says, and note what that came to.

        Raises:
            MeshError: It cannot be evaluated, and the flow declares that the request fails then.
        """
        if not step.run_if:
            return True
        outcome = evaluate_expression(step.run_if, self.signals, self.scope)
        index = self.flow.steps.index(step)
        self.conditions.append(
            route_pb2.Condition(
                code="RUN_IF",
                step=step.name,
                quantity=step.run_if,
                held=outcome.held,
                threshold_source=f"flow {self.flow.name}, steps[{index}].run_if",
                values=outcome.values,
            )
        )
        record = route_pb2.Step(name=step.name, service=step.service)
        self.steps[step.name] = record
        if outcome.problem:
            error = FailedPrecondition(
                f"the condition of step '{step.name}' {outcome.problem}",
                reason=NOT_EVALUATED,
                metadata={"step": step.name},
            )
            record.state = route_pb2.STEP_STATE_FAILED
            record.error.CopyFrom(error.to_status())
            self.give_up_on(step, error)
            return False
        record.run_if = outcome.held
        if not outcome.held:
            record.state = route_pb2.STEP_STATE_SKIPPED
            self.scope.unwanted.add(step.name)
        return outcome.held

    def begin(self, name: str, service: str) -> None:
        """Note that a step, or the call of the reasoner, has started."""
        record = self.steps.setdefault(name, route_pb2.Step(name=name, service=service))
        record.start_offset.CopyFrom(self.elapsed())

    def hedged(self, name: str, outcome: route_pb2.HedgeOutcome) -> None:
        """Note that a step's call was late, and what became of the second one."""
        hedge = self.steps[name].hedge
        if not hedge.HasField("start_offset") and outcome != route_pb2.HEDGE_OUTCOME_REFUSED:
            hedge.start_offset.CopyFrom(self.elapsed())
        hedge.outcome = outcome

    def end(self, name: str, error: MeshError | None) -> None:
        """Note how a step that had started has ended."""
        record = self.steps[name]
        started_s = record.start_offset.ToNanoseconds() / 1e9
        record.latency.CopyFrom(self.elapsed(started_s))
        record.state = route_pb2.STEP_STATE_SUCCEEDED
        if error is not None:
            timed_out = isinstance(error, DeadlineExceeded)
            record.state = (
                route_pb2.STEP_STATE_TIMED_OUT if timed_out else route_pb2.STEP_STATE_FAILED
            )
            record.error.CopyFrom(error.to_status())

    def succeeded(self, step: Step, response: Message) -> None:
        """Take a step's answer in.

        Raises:
            Unavailable: A guard has answered without running every check: that counts as failed.
        """
        spoken = self.contracts[step.service]
        signal = signal_of(step, spoken, response)
        if isinstance(response, guard_pb2.ScreenResponse):
            self.steps[step.name].signal.CopyFrom(signal)
            complete = redactable(response, 1 + len(self.texts.documents))
            self.hops.screened(response, complete=complete)
            if not complete:
                raise Unavailable(
                    f"service '{step.service}' could not run every check",
                    reason="GUARD_INCOMPLETE",
                    metadata={"service": step.service},
                    retry_delay_s=_RETRY_DELAY_S,
                )
            self.texts = replace(self.texts, redacted=tuple(response.redacted_segments))
        self.hops.answered(step.name, provenance_of(signal))
        self._take(signal)

    def skip(self, step: Step) -> None:
        """Note that a step was not started because the request's way was decided without it."""
        before = self.steps.get(step.name)
        record = self.steps[step.name] = route_pb2.Step(
            name=step.name, service=step.service, state=route_pb2.STEP_STATE_SKIPPED
        )
        if before is not None and before.HasField("run_if"):
            record.run_if = before.run_if

    def withhold(self, step: Step) -> None:
        """Note that a step was not started because the text it may see is not there."""
        self.skip(step)
        if step.value is None:
            self.failed[step.name] = "skip"
        else:
            self._take(declared_signal(step, self.contracts[step.service]))
        self.degrade(
            "REDACTED_TEXT_MISSING",
            step.name,
            f"{step.name} was not asked: it may see redacted text only",
        )
        if self.hops.withheld(step.name, step.service):
            self.degrade(
                UNSCREENED,
                step.name,
                f"the text was not screened, and service '{step.service}' is outside of the mesh",
            )

    def leave_out(self, step: Step) -> None:
        """Note that a step was not started, so that required ones have their time."""
        self.skip(step)
        self.failed[step.name] = "skip"
        self.degrade(
            "NO_TIME",
            step.name,
            f"{step.name} was left out: what is left of the time is needed without it",
        )

    def degrade(self, code: str, step: str, description: str) -> None:
        """Note a way in which the answer is less than it should be."""
        self.degradations.append(
            route_pb2.Degradation(step=step, code=code, description=description)
        )

    def give_up_on(self, step: Step, error: MeshError) -> None:
        """Take a step's failure in, as the flow declares.

        Raises:
            MeshError: The flow declares that the request fails.
        """
        if isinstance(error, PermissionDenied):
            self.hops.refused(step.name)
        if step.on_failure == "fail":
            raise self._failure_of(step, error)
        if step.value is None:
            self.failed[step.name] = step.on_failure
            consequence = {
                "skip": "the flow went on without it",
                "escalate": "the request was to be escalated",
                "degrade": "the flow went on without it and without the reasoner",
            }[step.on_failure]
        else:
            self._take(declared_signal(step, self.contracts[step.service]))
            consequence = "the value that the flow declares stands in"
        self.degrade(
            failure_code("STEP", error),
            step.name,
            f"{step.name} did not answer ({error.reason}); {consequence}",
        )

    def ordered_steps(self) -> list[route_pb2.Step]:
        """Return the records in the order of the declaration, the reasoner's last."""
        declared = {step.name: index for index, step in enumerate(self.flow.steps)}
        return sorted(self.steps.values(), key=lambda step: declared.get(step.name, len(declared)))

    def _take(self, signal: signal_pb2.Signal) -> None:
        self.signals[signal.step] = signal
        self.steps[signal.step].signal.CopyFrom(signal)
        if self.events is not None:
            self.events.signal(signal)

    def _failure_of(self, step: Step, error: MeshError) -> MeshError:
        if isinstance(error, InvalidArgument):
            return error  # the caller's to mend, in the service's own words
        named = f"step '{step.name}' of flow '{self.flow.name}' failed"
        metadata = {
            "step": step.name,
            "service": step.service,
            "flow": self.flow.name,
            "cause": error.reason,
        }
        code = failure_code("STEP", error)
        if self.context.expired():
            return DeadlineExceeded(f"{named}: no time was left", metadata=metadata)
        if isinstance(error, PermissionDenied):
            return PermissionDenied(
                f"{named}: {error.message}", reason=error.reason, metadata=metadata
            )
        if isinstance(error, FailedPrecondition):
            return FailedPrecondition(
                f"{named}: {error.message}", reason=error.reason, metadata=metadata
            )
        kind = ResourceExhausted if isinstance(error, ResourceExhausted) else Unavailable
        return kind(
            f"{named}: service '{step.service}' did not answer ({error.reason})",
            reason=code,
            metadata=metadata,
            retry_delay_s=error.retry_delay_s or _RETRY_DELAY_S,
        )


def scope_of(
    flow: Flow,
    contracts: Mapping[str, str],
    request: route_pb2.RouteRequest,
    tenant: str,
    received: Timestamp,
) -> Scope:
    """Return what the expressions of a flow may read of a request.

    Args:
        flow: The flow.
        contracts: The contract of every service, by name.
        request: The request.
        tenant: Whom it is for.
        received: When it was received; the reference time of one that names none.
    """
    sent = request.HasField("reference_time")
    facts = route_pb2.RequestFacts(
        tenant=tenant,
        locale=request.locale or _LOCALE,
        time_zone=request.time_zone or _TIME_ZONE,
        default_currency=request.default_currency,
        reference_time=request.reference_time if sent else received,
        document_count=len(request.documents),
    )
    return Scope(types_of({step.name: contracts[step.service] for step in flow.steps}), facts)


def failure_code(what: str, error: MeshError) -> str:
    """Return the code of a degradation for an error of a step or of the reasoner.

    Args:
        what: ``STEP`` or ``REASONER``.
        error: What went wrong.
    """
    if error.reason in _OWN_CODES:
        return error.reason
    if isinstance(error, PermissionDenied):
        return "POLICY_DENIED"
    if isinstance(error, DeadlineExceeded):
        return f"{what}_TIMED_OUT"
    if isinstance(error, Unavailable):
        return "SERVICE_UNAVAILABLE" if what == "STEP" else f"{what}_UNAVAILABLE"
    if isinstance(error, ResourceExhausted):
        return f"{what}_OVERLOADED"
    return f"{what}_FAILED"
