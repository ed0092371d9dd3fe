"""Steps with a condition of their own, and steps with a value that stands in, over sockets."""

from __future__ import annotations

import pytest

from slmesh.api.route.v1 import route_pb2 as pb
from slmesh.mesh.catalog import discover
from slmesh.mesh.errors import FailedPrecondition
from slmesh.router.cascade import decide
from slmesh.router.flow_book import load_flow
from slmesh.router.trials import run_trials

FLOW = """\
name: cond
description: A flow of a test.
owner: tests
data_classes: [personal]
latency_budget_ms: 9000
steps:
  - {name: guard, service: guard, timeout_ms: 8000, on_failure: degrade}
  - name: intent
    service: intent
    after: [guard]
    timeout_ms: 8000
    on_failure: degrade
    value: {label: card_arrival}
  - name: entities
    service: entities
    after: [intent]
    run_if: intent.labels.labels[0].name == 'card_arrival' && request.tenant != 'small'
    timeout_ms: 8000
    on_failure: ON_FAILURE
  - name: triage
    service: triage
    after: [entities]
    run_if: "!entities.fields.exists(f, f.name == 'email')"
    timeout_ms: 8000
    on_failure: degrade
    value: {urgency: {low: 0, normal: 0, high: 0, critical: 1}}
escalate_when:
  - reason: MUCH_MONEY
    when: [{cel: "entities.fields.exists(f, f.value.money.minor_units > 10000)"}]
  - reason: URGENT
    when: [{step: triage, scale: urgency, level_at_least: high}]
answer:
  - template: {by: intent, otherwise: ["{intent.label} {entities.amount}", "{intent.label}"]}
reasoner: {service: reasoner, instruction: Be brief., timeout_ms: 8000}
fallback: Later.
"""


@pytest.fixture
def start(start_mesh, mesh_settings):
    async def started(on_failure="skip"):
        file = mesh_settings.flow_path[0] / "cond.yaml"
        file.write_text(FLOW.replace("ON_FAILURE", on_failure), encoding="utf-8")
        return await start_mesh()

    return started


async def explained(mesh, text):
    decision = await mesh.route(text, flow="cond", timeout_s=20)
    request = pb.ExplainRequest(decision_id=decision.decision_id)
    response = await mesh.client.explain(request)
    return response.decision, list(response.conditions)


def step(decision, name):
    return next(one for one in decision.steps if one.name == name)


def failures(mesh, name):
    labels = {"flow": "cond", "step": name}
    registry = mesh.metrics.registry
    return registry.get_sample_value("slmesh_conditions_not_evaluated_total", labels)


async def test_a_step_runs_when_its_condition_is_true(start):
    mesh = await start()
    decision, conditions = await explained(mesh, "arrive with £20")
    assert decision.answer.text == "card arrival 20.00 GBP"
    assert step(decision, "entities").run_if
    assert step(decision, "entities").HasField("start_offset")
    first = conditions[0]
    assert (first.code, first.step, first.held) == ("RUN_IF", "entities", True)
    assert first.threshold_source == "flow cond, steps[2].run_if"
    assert [(value.field, value.text) for value in first.values] == [
        ("intent.labels.labels[0].name", "card_arrival"), ("request.tenant", "default"),
    ]  # fmt: skip


async def test_a_step_whose_condition_is_false_is_skipped_and_the_answer_is_not_degraded(start):
    mesh = await start()
    decision, conditions = await explained(mesh, "change my pin, it costs £900")
    assert decision.path == pb.PATH_SMALL
    assert not decision.degradations
    skipped = step(decision, "entities")
    assert skipped.state == pb.STEP_STATE_SKIPPED
    assert skipped.HasField("run_if")
    assert not skipped.run_if
    assert not skipped.HasField("start_offset")
    # what reads its signal does not hold, be it a rule or the condition of the next step
    held = {(one.code, one.step): one.held for one in conditions}
    assert held["RUN_IF", "entities"] is held["RUN_IF", "triage"] is False
    assert held["MUCH_MONEY", "entities"] is False
    assert step(decision, "triage").state == pb.STEP_STATE_SKIPPED
    asked = [request.text for request in mesh.ingress.model("entities").requests]
    assert not any("pin" in text for text in asked)
    assert failures(mesh, "entities") is None


async def test_a_rule_in_cel_escalates_with_its_expression_as_the_reason(start):
    mesh = await start()
    decision, _ = await explained(mesh, "arrive with £200")
    assert decision.path == pb.PATH_ESCALATED
    assert decision.reasons[0].code == "MUCH_MONEY"
    assert "minor_units > 10000" in decision.reasons[0].description


async def test_a_condition_that_fails_is_a_failure_of_its_step(start):
    mesh = await start("escalate")
    decision, conditions = await explained(mesh, "something else")  # the intent abstains
    assert decision.path == pb.PATH_ESCALATED
    # the next step reads the signal that is missing, so its declared value stands in
    assert [one.code for one in decision.reasons][:2] == ["URGENT", "STEP_FAILED"]
    failed = step(decision, "entities")
    assert failed.state == pb.STEP_STATE_FAILED
    assert "an index is out of range" in failed.error.message
    assert not failed.HasField("run_if")
    told = {one.step: one.code for one in decision.degradations}
    assert told["entities"] == "CONDITION_NOT_EVALUATED"
    assert not conditions[0].held
    assert failures(mesh, "entities") >= 1


async def test_a_condition_that_fails_fails_the_request_where_the_flow_says_so(start):
    mesh = await start("fail")
    with pytest.raises(FailedPrecondition) as caught:
        await mesh.route("something else", flow="cond", timeout_s=20)
    assert caught.value.reason == "CONDITION_NOT_EVALUATED"
    assert caught.value.metadata["step"] == "entities"
    assert failures(mesh, "entities") == 1


async def test_a_declared_value_stands_in_for_a_service_that_fails(start):
    mesh = await start()
    decision, _ = await explained(mesh, "something intent:down")
    assert decision.path == pb.PATH_SMALL
    assert decision.answer.text == "card arrival"
    failed = step(decision, "intent")
    assert failed.state == pb.STEP_STATE_FAILED
    assert failed.signal.classification.provenance.tier == "declared"
    assert failed.signal.classification.provenance.service == "intent"
    # later conditions read it
    assert step(decision, "entities").run_if
    (degradation,) = decision.degradations
    assert (degradation.step, degradation.code) == ("intent", "SERVICE_UNAVAILABLE")
    assert "the value that the flow declares stands in" in degradation.description


async def test_a_declared_value_of_a_scale_is_compared_like_one_that_was_measured(start):
    mesh = await start()
    decision, _ = await explained(mesh, "arrive triage:down")
    assert decision.path == pb.PATH_ESCALATED
    assert [reason.code for reason in decision.reasons] == ["URGENT"]
    assert [one.step for one in decision.degradations] == ["triage"]


async def test_a_trial_is_decided_like_a_request(start, mesh_settings):
    await start()  # writes the flow
    contracts = {name: manifest.contract for name, manifest in discover(mesh_settings).items()}
    flow = load_flow(mesh_settings.flow_path[0] / "cond.yaml", contracts)
    rows = [("change my pin", "change_pin"), ("arrive with £200", "card_arrival")]
    skipped, rich = await run_trials(flow, rows, mesh_settings)
    for trial, path in ((skipped, pb.PATH_SMALL), (rich, pb.PATH_ESCALATED)):
        verdict = decide(flow, trial.signals, trial.failed, trial.scope)
        assert verdict.path == path
        assert not verdict.problems
    assert skipped.failed == {}
    assert skipped.scope.unwanted == {"entities", "triage"}
