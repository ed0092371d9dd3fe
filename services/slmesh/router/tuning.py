"""Chooses how sure the small models must be: the coverage of a flow against how often it is right.

A trial is one labelled text with what the flow's steps have said. The whole decision of the flow is
made over it on either side of a threshold, so every other rule of the flow holds as it will in service.
A trial that the small models answer is right when the deciding label is the text's. It is pure: it
calls no model and reads no file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from slmesh.api.route.v1 import route_pb2
from slmesh.api.signal.v1 import signal_pb2
from slmesh.mesh.errors import InvalidArgument
from slmesh.router.cascade import decide
from slmesh.router.conditions import Scope
from slmesh.router.flow import Condition, Flow, OnFailure, Rule
from slmesh.router.signals import first_label, labels_of
from slmesh.tiers.calibration import least_share

__all__ = ["Point", "Trial", "chosen", "curve", "deciding_step", "with_threshold"]

THRESHOLDS = (*(place / 100 for place in range(100)), 0.995, 0.999)
"""Probabilities that are tried."""

_ABOVE_ALL = 2.0
"""A threshold that no probability reaches."""


@dataclass(frozen=True)
class Trial:
    """One labelled text, after the flow's steps.

    Attributes:
        label: The right label; one the classifier does not have, for a text out of its scope.
        signals: What the steps that succeeded have said, by step.
        failed: What the flow declares for each step without a signal.
        escalation_usd_micros: What asking the reasoner about it costs.
        scope: What expressions may read beside the signals; needed for a flow that has one.
    """

    label: str
    signals: Mapping[str, signal_pb2.Signal]
    failed: Mapping[str, OnFailure]
    escalation_usd_micros: int = 0
    scope: Scope | None = None


@dataclass(frozen=True)
class Point:
    """What one threshold gives.

    Attributes:
        threshold: The least probability.
        answered: Trials that the small models answer.
        right: Those of them that they answer rightly.
        total: All trials.
        usd_micros: Mean cost of a request.
    """

    threshold: float
    answered: int
    right: int
    total: int
    usd_micros: float

    @property
    def coverage(self) -> float:
        """The share that the small models answer, in [0, 1]."""
        return self.answered / self.total

    @property
    def precision(self) -> float:
        """The share of those that is right, in [0, 1]; 1 when none is answered."""
        return self.right / self.answered if self.answered else 1.0

    @property
    def least_precision(self) -> float:
        """The one-sided 95 % lower bound of it."""
        return least_share(self.right, self.answered)


def deciding_step(flow: Flow) -> str:
    """Return the step whose first label the small models' answer rests on.

    Raises:
        InvalidArgument: There is none, or no rule escalates when it is unsure.
    """
    for source in flow.answer:
        step = source.template.by if source.template is not None else ""
        if source.passage is not None:
            step = source.passage.agrees_with
        if step or source.signals:
            candidates = [step] if step else [one.name for one in flow.steps]
            for name in candidates:
                if any(_is_threshold(c, name) for rule in flow.escalate_when for c in rule.when):
                    return name
    raise InvalidArgument(
        f"flow '{flow.name}' has nothing to tune: no rule of its escalate_when has a"
        " 'probability_below' on the step its answer rests on",
        reason="NOTHING_TO_TUNE",
    )


def with_threshold(flow: Flow, step: str, threshold: float) -> Flow:
    """Return the flow with another least probability of a step."""
    rules = tuple(
        Rule(
            reason=rule.reason,
            when=tuple(
                replace(one, probability_below=threshold) if _is_threshold(one, step) else one
                for one in rule.when
            ),
        )
        for rule in flow.escalate_when
    )
    return replace(flow, escalate_when=rules)


def curve(
    flow: Flow, trials: Sequence[Trial], thresholds: Sequence[float] = THRESHOLDS
) -> list[Point]:
    """Return what each threshold gives, by rising threshold."""
    step = deciding_step(flow)
    outcomes = [_outcome(flow, step, trial) for trial in trials]
    return [_point(one, outcomes) for one in thresholds]


def chosen(
    points: Sequence[Point],
    *,
    precision: float | None = None,
    usd_micros: float | None = None,
    bound: bool = False,
) -> Point | None:
    """Return the best threshold for a target, or None when none reaches it.

    Args:
        points: The curve.
        precision: The least share of right answers; of the thresholds that reach it, the one that
            covers most.
        usd_micros: The largest mean cost; of the thresholds that keep it, the one that is right
            most often.
        bound: Whether the lower bound of the precision must reach the target, not its estimate.
    """
    if usd_micros is not None:
        affordable = [point for point in points if point.usd_micros <= usd_micros]
        return max(affordable, key=lambda point: point.precision, default=None)
    target = 1.0 if precision is None else precision
    reached = [
        point
        for point in points
        if point.answered and (point.least_precision if bound else point.precision) >= target
    ]
    return max(reached, key=lambda point: (point.coverage, point.threshold), default=None)


@dataclass(frozen=True)
class _Outcome:
    """A trial's paths where its probability reaches a threshold, and where it does not."""

    probability: float
    sure: route_pb2.Path
    unsure: route_pb2.Path
    right: bool
    escalation_usd_micros: int

    def path(self, threshold: float) -> route_pb2.Path:
        return self.unsure if self.probability < threshold else self.sure


def _outcome(flow: Flow, step: str, trial: Trial) -> _Outcome:
    def path(threshold: float) -> route_pb2.Path:
        changed = with_threshold(flow, step, threshold)
        return decide(changed, trial.signals, trial.failed, trial.scope).path

    signal = trial.signals.get(step)
    labels = labels_of(signal) if signal is not None else ()
    # a threshold is compared with nothing else, so one on each side of the probability tells all
    return _Outcome(
        labels[0].probability if labels else 0.0,
        path(0.0),
        path(_ABOVE_ALL),
        first_label(signal) == trial.label,
        trial.escalation_usd_micros,
    )


def _point(threshold: float, outcomes: Sequence[_Outcome]) -> Point:
    answered = right = spent = 0
    for one in outcomes:
        path = one.path(threshold)
        if path == route_pb2.PATH_SMALL:
            answered += 1
            right += one.right
        elif path == route_pb2.PATH_ESCALATED:
            spent += one.escalation_usd_micros
    return Point(threshold, answered, right, len(outcomes), spent / len(outcomes))


def _is_threshold(condition: Condition, step: str) -> bool:
    return condition.step == step and condition.probability_below is not None
