"""Decides which way a request takes: small models, reasoner, refusal or fallback.

Pure: it reads a flow, the signals and the steps that failed, and returns a verdict with every
comparison it made. It calls nothing and knows neither time nor transport.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from slmesh.api.route.v1 import route_pb2
from slmesh.api.signal.v1 import signal_pb2
from slmesh.router.answer import small_answer
from slmesh.router.conditions import Evaluation, Scope, evaluate, named_tests
from slmesh.router.flow import Flow, OnFailure, Rule

__all__ = ["Verdict", "decide", "refusal"]

_UNSURE = frozenset({"probability_below", "margin_below"})
"""Tests that escalate because a model is unsure; others want the reasoner for another reason."""


@dataclass(frozen=True)
class Verdict:
    """The way a request takes, and why.

    Attributes:
        path: A value of ``route_pb2.Path``.
        reasons: Why, the deciding one first.
        conditions: Every comparison, with its value and threshold.
        answer: The answer of a small path; None on the others.
        problems: Conditions that could not be evaluated: (step, sentence).
        standby: The small models' answer to a request that is escalated, where they have one.
        expected_gain: How much the reasoner is expected to change, in [0, 1]: the probability that
            the standby is wrong, when it is escalated for being unsure only; 1 otherwise.
    """

    path: route_pb2.Path
    reasons: tuple[route_pb2.PathReason, ...]
    conditions: tuple[route_pb2.Condition, ...]
    answer: route_pb2.Answer | None = None
    problems: tuple[tuple[str, str], ...] = ()
    standby: route_pb2.Answer | None = None
    expected_gain: float = 1.0


def refusal(
    flow: Flow, signals: Mapping[str, signal_pb2.Signal], scope: Scope | None = None
) -> Verdict | None:
    """Return the refusal of a request, or None while nothing speaks against answering it."""
    verdict = _Judgement(flow, route_pb2.PATH_REFUSED, signals, scope)
    if not verdict.reasons:
        return None
    return Verdict(route_pb2.PATH_REFUSED, verdict.reasons, verdict.conditions)


def decide(
    flow: Flow,
    signals: Mapping[str, signal_pb2.Signal],
    failed: Mapping[str, OnFailure],
    scope: Scope | None = None,
) -> Verdict:
    """Return the verdict over a request whose steps have ended.

    Args:
        flow: The flow.
        signals: What the steps that succeeded have said, by step.
        failed: What the flow declares for each step that has no signal.
        scope: What expressions may read beside the signals; needed for a flow that has one.
    """
    refused = _Judgement(flow, route_pb2.PATH_REFUSED, signals, scope)
    escalated = _Judgement(flow, route_pb2.PATH_ESCALATED, signals, scope)
    conditions = refused.conditions + escalated.conditions
    problems = refused.problems + escalated.problems
    if refused.reasons:
        return Verdict(route_pb2.PATH_REFUSED, refused.reasons, conditions, problems=problems)
    reasons = escalated.reasons + tuple(_failure_reasons(failed))
    small = small_answer(flow, signals)
    if not reasons and small.answer is not None:
        enough = (_enough(len(conditions)), *small.missed)
        return Verdict(route_pb2.PATH_SMALL, enough, conditions, small.answer, problems)
    if small.answer is None:
        reasons += small.missed
    allowed = flow.reasoner is not None and "degrade" not in failed.values()
    path = route_pb2.PATH_ESCALATED if allowed else route_pb2.PATH_FALLBACK
    gain = 1.0
    if small.answer is not None and escalated.unsure_only and "escalate" not in failed.values():
        gain = 1.0 - small.probability
    return Verdict(path, reasons, conditions, None, problems, small.answer, gain)


class _Judgement:
    def __init__(
        self,
        flow: Flow,
        path: route_pb2.Path,
        signals: Mapping[str, signal_pb2.Signal],
        scope: Scope | None,
    ) -> None:
        key = "refuse_when" if path == route_pb2.PATH_REFUSED else "escalate_when"
        rules: tuple[Rule, ...] = getattr(flow, key)
        evaluations: list[Evaluation] = [evaluate(rule, signals, scope) for rule in rules]
        for index, one in enumerate(evaluations):
            for condition in one.conditions:
                condition.path = path
                condition.threshold_source = f"flow {flow.name}, {key}[{index}]"
        self.reasons = tuple(one.reason for one in evaluations if one.held)
        self.conditions = tuple(condition for one in evaluations for condition in one.conditions)
        self.unsure_only = all(
            test in _UNSURE
            for rule, one in zip(rules, evaluations, strict=True)
            if one.held
            for condition in rule.when
            for test in named_tests(condition)
        )
        self.problems = tuple(problem for one in evaluations for problem in one.problems)


def _failure_reasons(failed: Mapping[str, OnFailure]) -> Iterable[route_pb2.PathReason]:
    for step, on_failure in failed.items():
        if on_failure == "escalate":
            yield route_pb2.PathReason(
                code="STEP_FAILED", step=step, description=f"{step} did not answer"
            )


def _enough(compared: int) -> route_pb2.PathReason:
    return route_pb2.PathReason(
        code="SMALL_MODELS_SUFFICE",
        description=f"none of the {compared} conditions of the flow speaks against it",
    )
