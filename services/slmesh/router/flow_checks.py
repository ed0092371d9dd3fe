"""Tells what is wrong with a flow that is well-formed: names, graph, thresholds, rules, answers.

Pure: it gets the flow and the contracts of the services there are, and returns problems with their
place in the declaration. It reads no file; ``flow_book`` turns a place into a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

from slmesh.mesh.naming import suggestion
from slmesh.router.condition_checks import Problem, rule_problems, run_if_problems, step_is
from slmesh.router.declared_value import value_problems
from slmesh.router.flow import (
    REASONER_STEP,
    REDACTED_TEXT,
    TEXT_KEY,
    USER_TEXT,
    Flow,
    Hedge,
    PassageAnswer,
    Step,
    TemplateAnswer,
)
from slmesh.router.signals import SIGNAL_FIELDS, input_problem
from slmesh.router.template import fields_of

__all__ = ["Problem", "problems_of"]

_FLOW_NAME = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
_STEP_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_TEXT_NAMES = (USER_TEXT, REDACTED_TEXT)


def problems_of(
    flow: Flow, contracts: Mapping[str, str], medians_ms: Mapping[str, float] | None = None
) -> Iterator[Problem]:
    """Yield what is wrong with a flow, in the order of the declaration.

    Args:
        flow: The flow.
        contracts: The contract of every service of the mesh, by name.
        medians_ms: How long services usually take, as far as that is known.
    """
    if not _FLOW_NAME.fullmatch(flow.name):
        yield "name", "a flow's name is a DNS label of at most 40 lower-case characters"
    if not flow.data_classes:
        yield "data_classes", "name at least one class of data, such as 'personal'"
    if flow.latency_budget_ms <= 0:
        yield "latency_budget_ms", f"must be above 0, is {flow.latency_budget_ms}"
    yield from _step_problems(flow, contracts)
    yield from _graph_problems(flow, contracts, medians_ms or {})
    yield from rule_problems(flow, contracts)
    yield from _answer_problems(flow, contracts)
    yield from _reasoner_problems(flow, contracts)
    yield from _text_problems(flow)


def _step_problems(flow: Flow, contracts: Mapping[str, str]) -> Iterator[Problem]:
    names: set[str] = set()
    if not flow.steps and flow.reasoner is None:
        yield "steps", "a flow without a reasoner has at least one step"
    for index, step in enumerate(flow.steps):
        place = f"steps[{index}]"
        if not _STEP_NAME.fullmatch(step.name) or step.name == REASONER_STEP:
            yield f"{place}.name", f"'{step.name}' cannot be the name of a step"
        if step.name in names:
            yield f"{place}.name", f"there are two steps '{step.name}'"
        names.add(step.name)
        if not 0 < step.timeout_ms <= flow.latency_budget_ms:
            yield (
                f"{place}.timeout_ms",
                f"must be above 0 and within the flow's {flow.latency_budget_ms} ms,"
                f" is {step.timeout_ms}",
            )
        yield from _service_problems(place, step, contracts)
        if step.hedge is not None:
            yield from _hedge_problems(f"{place}.hedge", step.hedge, step.timeout_ms)


def _hedge_problems(place: str, hedge: Hedge, timeout_ms: int) -> Iterator[Problem]:
    after_ms, after_quantile = hedge.after_ms, hedge.after_quantile
    if (after_ms is None) == (after_quantile is None):
        yield place, "a hedge is exactly one of after_ms and after_quantile"
    if after_ms is not None and not 0 < after_ms < timeout_ms:
        message = f"must be above 0 and below the step's {timeout_ms} ms, is {after_ms}"
        yield f"{place}.after_ms", message
    if after_quantile is not None and not 0.5 <= after_quantile < 1:
        yield f"{place}.after_quantile", f"must be in [0.5, 1), is {after_quantile:g}"


def _service_problems(place: str, step: Step, contracts: Mapping[str, str]) -> Iterator[Problem]:
    spoken = contracts.get(step.service)
    if spoken is None:
        message = f"no service '{step.service}'{suggestion(step.service, contracts)}"
        yield f"{place}.service", message
        return
    if spoken not in SIGNAL_FIELDS:
        yield f"{place}.service", f"contract '{spoken}' is not for steps: name it under 'reasoner'"
        return
    if step.text not in _TEXT_NAMES:
        message = f"no text '{step.text}'{suggestion(step.text, _TEXT_NAMES)}"
        yield f"{place}.input.{TEXT_KEY}", message
    wrong = input_problem(step, spoken)
    if wrong is not None:
        yield f"{place}.input.{wrong[0]}", wrong[1]
    if step.value is not None:
        for message in value_problems(step, spoken):
            yield f"{place}.value", message
    if spoken == "guard":
        if step.text == REDACTED_TEXT:
            yield f"{place}.input.{TEXT_KEY}", "the guard is what redacts: it gets the user_text"
        if step.on_failure not in ("fail", "degrade"):
            yield (
                f"{place}.on_failure",
                f"a guard step cannot '{step.on_failure}': text that nobody has screened would"
                " reach the reasoner; use fail or degrade",
            )
        if step.run_if:
            yield f"{place}.run_if", "a guard step has no condition: every text is screened"


def _graph_problems(
    flow: Flow, contracts: Mapping[str, str], medians_ms: Mapping[str, float]
) -> Iterator[Problem]:
    names = [step.name for step in flow.steps]
    for index, step in enumerate(flow.steps):
        for position, name in enumerate(step.after):
            if name not in names:
                message = f"no step '{name}'{suggestion(name, names)}"
                yield f"steps[{index}].after[{position}]", message
    graph = {step.name: set(step.after) & set(names) for step in flow.steps}
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        circle = error.args[1]
        place = f"steps[{min(names.index(name) for name in circle)}].after"
        yield place, f"the steps wait for each other: {' -> '.join(reversed(circle))}"
        return
    yield from run_if_problems(flow, contracts)
    yield from _budget_problems(flow, order, medians_ms)
    guards = flow.guards(contracts)
    if len(guards) > 1:
        yield f"steps[{names.index(guards[1])}]", "a flow has at most one guard step"
    screened: set[str] = set()  # steps that run after a guard
    for name in order:
        if graph[name] & (screened | set(guards)):
            screened.add(name)
    for index, step in enumerate(flow.steps):
        if step.text == REDACTED_TEXT and step.name not in screened and step.name not in guards:
            message = "redacted_text is there only 'after' a guard step"
            yield f"steps[{index}].input.{TEXT_KEY}", message


def _budget_problems(
    flow: Flow, order: Sequence[str], medians_ms: Mapping[str, float]
) -> Iterator[Problem]:
    """Yield a budget that the required steps cannot keep, one after the other, on a usual day."""
    longest: dict[str, tuple[float, tuple[str, ...]]] = {}
    for name in order:
        step = flow.step(name)
        before = (longest[one] for one in step.after if one in longest)
        total, path = max(before, default=(0.0, ()))
        own = medians_ms.get(step.service, 0.0)
        # an optional step is skipped before a required one has no time
        longest[name] = (total, path) if step.on_failure == "skip" else (total + own, (*path, name))
    total, path = max(longest.values(), default=(0.0, ()))
    if total > flow.latency_budget_ms > 0:
        yield (
            "latency_budget_ms",
            f"{flow.latency_budget_ms} ms are less than the {total:.1f} ms that its required steps"
            f" usually take: {' -> '.join(path)}",
        )


def _answer_problems(flow: Flow, contracts: Mapping[str, str]) -> Iterator[Problem]:
    if not flow.answer and flow.reasoner is None:
        yield "answer", "the flow has neither an answer nor a reasoner"
    for index, source in enumerate(flow.answer):
        place = f"answer[{index}]"
        chosen = [source.passage is not None, source.template is not None, source.signals]
        if sum(chosen) != 1:
            yield place, "an answer is exactly one of passage, template and signals"
        if source.passage is not None:
            yield from _passage_problems(f"{place}.passage", source.passage, flow, contracts)
        if source.template is not None:
            yield from _template_problems(f"{place}.template", source.template, flow, contracts)


def _passage_problems(
    place: str, passage: PassageAnswer, flow: Flow, contracts: Mapping[str, str]
) -> Iterator[Problem]:
    yield from step_is(f"{place}.step", passage.step, ("rank",), flow, contracts)
    limit = passage.probability_at_least
    if limit is not None and not 0 <= limit <= 1:
        yield f"{place}.probability_at_least", f"must be in [0, 1], is {limit:g}"
    if bool(passage.agrees_with) != bool(passage.passages_of):
        yield place, "'agrees_with' and 'passages_of' go together"
    if passage.agrees_with:
        there = f"{place}.agrees_with"
        yield from step_is(there, passage.agrees_with, ("classify",), flow, contracts)
    yield from _text_field_problems(f"{place}.introduction", passage.introduction, flow, contracts)


def _template_problems(
    place: str, template: TemplateAnswer, flow: Flow, contracts: Mapping[str, str]
) -> Iterator[Problem]:
    if template.by:
        yield from step_is(f"{place}.by", template.by, ("classify",), flow, contracts)
    elif template.texts:
        yield place, "'texts' needs 'by': the step whose label selects one"
    groups = {f"{place}.texts.{label}": texts for label, texts in template.texts.items()}
    groups[f"{place}.otherwise"] = template.otherwise
    if not any(groups.values()):
        yield place, "a template has at least one text"
    for group, texts in groups.items():
        yield from _text_field_problems(group, texts, flow, contracts)


def _text_field_problems(
    place: str, texts: Sequence[str], flow: Flow, contracts: Mapping[str, str]
) -> Iterator[Problem]:
    for index, text in enumerate(texts):
        where = f"{place}[{index}]"
        try:
            fields = fields_of(text)
        except ValueError as error:
            yield where, f"not a template: {error}"
            continue
        for step, _ in fields:
            yield from step_is(where, step, (), flow, contracts)


def _reasoner_problems(flow: Flow, contracts: Mapping[str, str]) -> Iterator[Problem]:
    reasoner = flow.reasoner
    if reasoner is None:
        return
    spoken = contracts.get(reasoner.service)
    if spoken != "reason":
        valid = [name for name, contract_name in contracts.items() if contract_name == "reason"]
        message = f"no reasoner '{reasoner.service}'{suggestion(reasoner.service, valid)}"
        yield "reasoner.service", message
    if not reasoner.instruction.strip():
        yield "reasoner.instruction", "the reasoner needs an instruction"
    for name in ("max_output_tokens", "expected_output_tokens", "timeout_ms"):
        if getattr(reasoner, name) <= 0:
            yield f"reasoner.{name}", f"must be above 0, is {getattr(reasoner, name)}"
    if reasoner.output_schema and (problem := _schema_problem(reasoner.output_schema)):
        yield "reasoner.output_schema", f"not a JSON Schema: {problem}"
    if not 0.0 <= reasoner.quality_floor <= 1.0:
        yield "reasoner.quality_floor", f"must be in [0, 1], is {reasoner.quality_floor:g}"
    for index, name in enumerate(reasoner.signals or ()):
        yield from step_is(f"reasoner.signals[{index}]", name, (), flow, contracts)
    if not flow.guards(contracts) and set(flow.data_classes) != {"public"}:
        yield (
            "reasoner",
            f"data of class {', '.join(flow.data_classes)} reaches the reasoner only through a"
            " guard step",
        )


def _schema_problem(schema: Mapping[str, Any]) -> str:
    try:
        from slmesh.mesh.json_schema import schema_problem
    except ModuleNotFoundError:
        return "the package jsonschema is missing; install slmesh[mesh]"
    return schema_problem(dict(schema))


def _text_problems(flow: Flow) -> Iterator[Problem]:
    if flow.refuse_when and not flow.refusal:
        yield "refuse_when", "a flow that refuses needs the text of its 'refusal'"
    if not flow.fallback and _may_fall_back(flow):
        yield "", "the flow can come to its 'fallback', so it needs the text of one"


def _may_fall_back(flow: Flow) -> bool:
    on_failure = {step.on_failure for step in flow.steps}
    if "degrade" in on_failure:
        return True
    if flow.reasoner is not None:
        return flow.reasoner.on_failure == "fallback"
    always_answers = any(source.signals for source in flow.answer)
    return bool(flow.escalate_when) or "escalate" in on_failure or not always_answers
