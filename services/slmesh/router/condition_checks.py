"""Tells what is wrong with the conditions of a flow: its rules, and whether a step runs.

Pure. Expressions are compiled against the types of what they read, so that what is wrong with one is
found before the flow serves anybody.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from slmesh.mesh.naming import suggestion
from slmesh.router.conditions import EXPRESSION, TESTS, named_tests
from slmesh.router.expressions import REQUEST, ExpressionError, compiled, names_in, types_of
from slmesh.router.flow import Condition, Flow
from slmesh.router.signals import SIGNAL_FIELDS

__all__ = ["Problem", "rule_problems", "run_if_problems", "step_is"]

Problem = tuple[str, str]
"""A place in the declaration (``steps[0].service``) and what is wrong there."""

_CODE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")


def run_if_problems(flow: Flow, contracts: Mapping[str, str]) -> Iterator[Problem]:
    """Yield what is wrong with the conditions under which steps run; the graph has no cycle."""
    names = [step.name for step in flow.steps]
    for index, step in enumerate(flow.steps):
        if not step.run_if:
            continue
        place = f"steps[{index}].run_if"
        earlier = flow.earlier(step.name)
        for name in names_in(step.run_if, names):
            if name not in earlier:
                yield place, f"'{name}' may not have ended before '{step.name}': add it to 'after'"
                return
        yield from _expression_problems(place, step.run_if, flow, contracts)


def rule_problems(flow: Flow, contracts: Mapping[str, str]) -> Iterator[Problem]:
    """Yield what is wrong with the rules that refuse and escalate."""
    for key in ("refuse_when", "escalate_when"):
        for index, rule in enumerate(getattr(flow, key)):
            place = f"{key}[{index}]"
            if not _CODE.fullmatch(rule.reason):
                yield f"{place}.reason", f"'{rule.reason}' must be in UPPER_SNAKE_CASE"
            if not rule.when:
                yield f"{place}.when", "a rule has at least one condition"
            for position, condition in enumerate(rule.when):
                where = f"{place}.when[{position}]"
                yield from _condition_problems(where, condition, flow, contracts)


def _condition_problems(
    place: str, condition: Condition, flow: Flow, contracts: Mapping[str, str]
) -> Iterator[Problem]:
    tests = named_tests(condition)
    if len(tests) != 1:
        said = " and ".join(tests) or "none"
        there_are = ", ".join((EXPRESSION, *TESTS))
        yield place, f"a condition makes exactly one test, has {said}; there are: {there_are}"
        return
    (test,) = tests
    if condition.cel is not None:
        if condition.step:
            yield f"{place}.step", "an expression names its steps itself"
        yield from _expression_problems(f"{place}.cel", condition.cel, flow, contracts)
        return
    yield from step_is(f"{place}.step", condition.step, (), flow, contracts)
    spoken = _spoken(condition.step, flow, contracts)
    if spoken is not None and spoken not in TESTS[test]:
        valid = [name for name, contract_names in TESTS.items() if spoken in contract_names]
        message = f"'{test}' does not fit contract '{spoken}'; what fits: {', '.join(valid)}"
        yield f"{place}.{test}", message
    for name in ("probability_below", "margin_below", "probability_at_least"):
        value = getattr(condition, name)
        if value is not None and not 0 <= value <= 1:
            yield f"{place}.{name}", f"must be in [0, 1], is {value:g}"
    if test in ("level_at_least", "level_at_most") and not condition.scale:
        yield place, f"'{test}' needs the 'scale' that the level belongs to"
    if test == "labels_at_least" and (condition.labels_at_least or 0) < 1:
        yield f"{place}.{test}", f"must be at least 1, is {condition.labels_at_least}"
    if condition.disagrees_with is not None:
        yield from _disagreement_problems(place, condition, flow, contracts)
    elif condition.labels_of:
        yield f"{place}.labels_of", f"does not go with '{test}'"
    sure = test in ("labels_at_least", "finding", "level_at_least", "level_at_most")
    if condition.probability_at_least is not None and not sure:
        yield f"{place}.probability_at_least", f"does not go with '{test}'"
    if spoken == "classify" and test in ("margin_below", "labels_at_least"):
        top_k = flow.step(condition.step).options.get("top_k", 3)
        wanted = max(2, condition.labels_at_least or 0)
        if isinstance(top_k, int) and top_k < wanted:
            yield f"{place}.{test}", f"step '{condition.step}' asks for {top_k} labels only"


def _expression_problems(
    place: str, source: str, flow: Flow, contracts: Mapping[str, str]
) -> Iterator[Problem]:
    spoken = {step.name: contracts.get(step.service, "") for step in flow.steps}
    if not all(contract in SIGNAL_FIELDS for contract in spoken.values()):
        return  # told of the step
    if REQUEST in spoken:
        index = [step.name for step in flow.steps].index(REQUEST)
        message = f"in a flow with expressions, '{REQUEST}' is the request: give it another name"
        yield f"steps[{index}].name", message
        return
    try:
        compiled(source, types_of(spoken))
    except ExpressionError as error:
        yield place, str(error)


def _disagreement_problems(
    place: str, condition: Condition, flow: Flow, contracts: Mapping[str, str]
) -> Iterator[Problem]:
    other = str(condition.disagrees_with)
    yield from step_is(f"{place}.disagrees_with", other, ("classify",), flow, contracts)
    if other == condition.step:
        yield f"{place}.disagrees_with", f"'{other}' cannot disagree with itself"
    for label, labels in condition.labels_of.items():
        if not labels:
            yield f"{place}.labels_of.{label}", "name at least one label that agrees with it"


def step_is(
    place: str, name: str, wanted: Sequence[str], flow: Flow, contracts: Mapping[str, str]
) -> Iterator[Problem]:
    """Yield what is wrong with the name of a step.

    Args:
        place: Where it stands.
        name: The name.
        wanted: The contracts its service may speak; any when empty.
        flow: The flow.
        contracts: The contract of every service, by name.
    """
    names = [step.name for step in flow.steps]
    if name not in names:
        yield place, f"no step '{name}'{suggestion(name, names)}"
        return
    spoken = _spoken(name, flow, contracts)
    if wanted and spoken is not None and spoken not in wanted:
        yield place, f"step '{name}' speaks '{spoken}', this needs '{wanted[0]}'"


def _spoken(name: str, flow: Flow, contracts: Mapping[str, str]) -> str | None:
    steps = {step.name: step for step in flow.steps}
    return contracts.get(steps[name].service) if name in steps else None
