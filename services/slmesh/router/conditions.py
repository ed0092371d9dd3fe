"""Evaluates the conditions of a flow over the signals of one request.

Pure: messages in, messages out. Every comparison is kept with its value and its threshold, whether it
held or not, because that is the explanation of the decision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from slmesh.api.route.v1 import route_pb2
from slmesh.api.score.v1 import score_pb2
from slmesh.api.signal.v1 import signal_pb2
from slmesh.mesh.naming import suggestion
from slmesh.router.condition_values import written_values
from slmesh.router.expressions import REQUEST, Outcome, Types, compiled
from slmesh.router.flow import Condition, Rule
from slmesh.router.signals import abstention_of, answer_of, first_label, labels_of

__all__ = [
    "EXPRESSION",
    "TESTS",
    "Evaluation",
    "Scope",
    "evaluate",
    "evaluate_expression",
    "named_tests",
]

EXPRESSION = "cel"
"""The test that is an expression; it names its steps itself."""

TESTS: Mapping[str, frozenset[str]] = {
    "abstained": frozenset({"classify", "rank", "score"}),
    "probability_below": frozenset({"classify", "rank"}),
    "margin_below": frozenset({"classify"}),
    "label_in": frozenset({"classify"}),
    "labels_at_least": frozenset({"classify"}),
    "finding": frozenset({"guard"}),
    "field_found": frozenset({"extract"}),
    "level_at_least": frozenset({"score"}),
    "level_at_most": frozenset({"score"}),
    "truncated": frozenset({"classify", "extract", "rank", "score"}),
    "disagrees_with": frozenset({"classify"}),
}
"""The tests a condition may make of one step, with the contracts whose signals they read."""


@dataclass(frozen=True)
class Evaluation:
    """What became of one rule.

    Attributes:
        held: Whether all its conditions held.
        conditions: Its conditions with their values.
        reason: Why, in one sentence, when it held.
        problems: Why a condition could not be evaluated: (step, sentence).
    """

    held: bool
    conditions: tuple[route_pb2.Condition, ...]
    reason: route_pb2.PathReason
    problems: tuple[tuple[str, str], ...]


@dataclass
class Scope:
    """What the expressions of one request may read beside its signals.

    Attributes:
        types: What the expressions of its flow may read.
        request: The facts of the request.
        unwanted: The steps that their own conditions have skipped.
    """

    types: Types
    request: route_pb2.RequestFacts
    unwanted: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class _Compared:
    quantity: str
    held: bool
    sentence: str
    value: float | None = None
    threshold: float | None = None
    values: tuple[route_pb2.ConditionValue, ...] = ()
    step: str = ""
    problem: str = ""


def named_tests(condition: Condition) -> Sequence[str]:
    """Return the names of the tests a condition sets; a right one sets exactly one."""
    return [name for name in (EXPRESSION, *TESTS) if getattr(condition, name) is not None]


def evaluate(
    rule: Rule, signals: Mapping[str, signal_pb2.Signal], scope: Scope | None = None
) -> Evaluation:
    """Evaluate one rule. A condition over a signal that is missing does not hold.

    Args:
        rule: The rule.
        signals: What the steps have said.
        scope: What expressions may read; needed for a rule that has one.
    """
    evaluated: list[route_pb2.Condition] = []
    sentences: list[str] = []
    problems: list[tuple[str, str]] = []
    for condition in rule.when:
        (test,) = named_tests(condition)
        try:
            compared = _compared(condition, test, signals, scope)
        except LookupError as error:
            compared = _Compared(test, False, "", problem=str(error.args[0]))
        step = compared.step or condition.step
        if compared.problem:
            problems.append((step, compared.problem))
        sentences.append(compared.sentence)
        evaluated.append(
            route_pb2.Condition(
                code=rule.reason,
                step=step,
                quantity=compared.quantity,
                value=compared.value,
                threshold=compared.threshold,
                held=compared.held,
                values=compared.values,
            )
        )
    held = all(condition.held for condition in evaluated)
    reason = route_pb2.PathReason(
        code=rule.reason, step=evaluated[0].step, description=", and ".join(sentences)
    )
    return Evaluation(held, tuple(evaluated), reason, tuple(problems))


def evaluate_expression(
    source: str, signals: Mapping[str, signal_pb2.Signal], scope: Scope
) -> Outcome:
    """Evaluate an expression over the signals there are.

    Without the signal of a step that its own condition has skipped, an expression that needs it does
    not hold; that is as declared, and no problem.
    """
    expression = compiled(source, scope.types)
    seen = {name: answer_of(signals[name]) for name in expression.names if name in signals}
    outcome = expression.evaluate({**seen, REQUEST: scope.request})
    if not outcome.problem:
        return outcome
    unseen = set(expression.names) - seen.keys() - {REQUEST}
    as_declared = unseen and unseen <= scope.unwanted
    problem = "" if as_declared else f"could not be evaluated: {outcome.problem}"
    return replace(outcome, problem=problem)


def _compared(
    condition: Condition,
    test: str,
    signals: Mapping[str, signal_pb2.Signal],
    scope: Scope | None,
) -> _Compared:
    if condition.cel is not None:
        assert scope is not None
        return _expression(condition.cel, signals, scope)
    signal = signals.get(condition.step)
    other = signals.get(condition.disagrees_with or condition.step)
    if signal is None or other is None:
        return _Compared(test, False, "")
    if condition.disagrees_with is not None:
        return _disagreement(condition, signal, other)
    return _COMPARE[test](condition, signal)


def _expression(source: str, signals: Mapping[str, signal_pb2.Signal], scope: Scope) -> _Compared:
    outcome = evaluate_expression(source, signals, scope)
    values = written_values(outcome.values)
    return _Compared(
        source,
        outcome.held,
        f"'{source}' is true{f': {values}' if values else ''}",
        values=outcome.values,
        step=next((one for one in compiled(source, scope.types).names if one != REQUEST), ""),
        problem=f"'{source}' {outcome.problem}" if outcome.problem else "",
    )


def _disagreement(
    condition: Condition, signal: signal_pb2.Signal, other: signal_pb2.Signal
) -> _Compared:
    label, second = first_label(signal), first_label(other)
    agreeing = condition.labels_of.get(label, (label,))
    said = {condition.step: label, str(condition.disagrees_with): second}
    sentence = " and ".join(
        f"{step} says {name}" if name else f"{step} abstained" for step, name in said.items()
    )
    values = tuple(
        route_pb2.ConditionValue(field=f"{step}.label", text=name) for step, name in said.items()
    )
    held = not (label and second in agreeing)
    quantity = f"disagreement with {condition.disagrees_with}"
    return _Compared(quantity, held, sentence, values=values)


def _abstained(condition: Condition, signal: signal_pb2.Signal) -> _Compared:
    found = abstention_of(signal)
    said = "abstained" if found else "answered"
    return _Compared("abstained", found is condition.abstained, f"{condition.step} {said}")


def _probability_below(condition: Condition, signal: signal_pb2.Signal) -> _Compared:
    limit = condition.probability_below
    assert limit is not None
    if abstention_of(signal):
        return _Compared("probability", True, f"{condition.step} abstained", None, limit)
    name, value = _first_probability(signal)
    if value is None:
        # an uncalibrated score is no probability, so nothing says that it is high enough
        sentence = f"{condition.step} gives no calibrated probability"
        return _Compared("probability", True, sentence, None, limit)
    sentence = f"{condition.step}: the probability of {name} is {value:.3f}, below {limit:g}"
    return _Compared("probability", value < limit, sentence, value, limit)


def _first_probability(signal: signal_pb2.Signal) -> tuple[str, float | None]:
    for label in labels_of(signal):
        return label.name, label.probability
    for passage in signal.ranking.ranking.passages:
        return passage.id, passage.probability if passage.HasField("probability") else None
    return "", None


def _margin_below(condition: Condition, signal: signal_pb2.Signal) -> _Compared:
    limit = condition.margin_below
    assert limit is not None
    labels = labels_of(signal)
    if not labels:
        return _Compared("margin", True, f"{condition.step} abstained", None, limit)
    # a single label is all of a set of one: flows may not ask for fewer than two
    second = labels[1].probability if len(labels) > 1 else 0.0
    value = labels[0].probability - second
    names = " over ".join(label.name for label in labels[:2])
    sentence = f"{condition.step}: the margin of {names} is {value:.3f}, below {limit:g}"
    return _Compared("margin", value < limit, sentence, value, limit)


def _label_in(condition: Condition, signal: signal_pb2.Signal) -> _Compared:
    label = first_label(signal)
    held = label in (condition.label_in or ())
    return _Compared("label_in", held, f"{condition.step}: the label is {label}")


def _labels_at_least(condition: Condition, signal: signal_pb2.Signal) -> _Compared:
    limit = condition.labels_at_least
    assert limit is not None
    names = [label.name for label in labels_of(signal) if label.probability >= condition.certainty]
    sentence = (
        f"{condition.step}: {' and '.join(names)} have a probability of {condition.certainty:g} or"
        " more each"
    )
    return _Compared("labels", len(names) >= limit, sentence, len(names), limit)


def _finding(condition: Condition, signal: signal_pb2.Signal) -> _Compared:
    found = [
        finding.probability if finding.HasField("probability") else 1.0
        for finding in signal.screening.findings
        if finding.kind == condition.finding
    ]
    value = max(found, default=0.0)
    sentence = f"{condition.step} found {condition.finding} with a probability of {value:.3f}"
    held = bool(found) and value >= condition.certainty
    return _Compared(f"finding {condition.finding}", held, sentence, value, condition.certainty)


def _field_found(condition: Condition, signal: signal_pb2.Signal) -> _Compared:
    name = condition.field_found
    held = any(field.name == name for field in signal.extraction.fields)
    return _Compared(f"field {name}", held, f"{condition.step} found the field {name}")


def _truncated(condition: Condition, signal: signal_pb2.Signal) -> _Compared:
    found = getattr(signal, str(signal.WhichOneof("answer"))).HasField("truncated_at")
    said = "read only a part" if found else "read all"
    sentence = f"{condition.step} {said} of the text"
    return _Compared("truncated", found is condition.truncated, sentence)


def _level_at_least(condition: Condition, signal: signal_pb2.Signal) -> _Compared:
    return _level(condition, signal, str(condition.level_at_least), upwards=True)


def _level_at_most(condition: Condition, signal: signal_pb2.Signal) -> _Compared:
    return _level(condition, signal, str(condition.level_at_most), upwards=False)


def _level(
    condition: Condition, signal: signal_pb2.Signal, name: str, *, upwards: bool
) -> _Compared:
    word = "at least" if upwards else "at most"
    quantity = f"{condition.scale} {word} {name}"
    if abstention_of(signal):
        sentence = f"{condition.step} abstained"
        return _Compared(quantity, False, sentence, None, condition.certainty)
    levels = _levels(signal.scoring, str(condition.scale))
    names = [level.name for level in levels]
    if name not in names:
        raise LookupError(
            f"scale '{condition.scale}' has no level '{name}'{suggestion(name, names)}"
        )
    place = names.index(name)
    chosen = levels[place:] if upwards else levels[: place + 1]
    value = sum(level.probability for level in chosen)
    sentence = f"{condition.step}: {condition.scale} is {word} {name} with a probability of"
    held = value >= condition.certainty
    return _Compared(quantity, held, f"{sentence} {value:.3f}", value, condition.certainty)


def _levels(scoring: score_pb2.ScoreResponse, scale: str) -> Sequence[score_pb2.Level]:
    scores = {score.scale: score for score in scoring.scores.scores}
    if scale not in scores:
        raise LookupError(f"there is no scale '{scale}'{suggestion(scale, scores)}")
    return scores[scale].levels


_COMPARE: Mapping[str, Callable[[Condition, signal_pb2.Signal], _Compared]] = {
    "abstained": _abstained,
    "probability_below": _probability_below,
    "margin_below": _margin_below,
    "label_in": _label_in,
    "labels_at_least": _labels_at_least,
    "finding": _finding,
    "field_found": _field_found,
    "level_at_least": _level_at_least,
    "level_at_most": _level_at_most,
    "truncated": _truncated,
}
