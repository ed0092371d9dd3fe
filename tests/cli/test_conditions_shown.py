"""How conditions are shown: on the edges of a flow's graph, and in an explanation."""

from __future__ import annotations

from slmesh.api.route.v1 import route_pb2
from slmesh.cli.explaining import paths_not_taken, print_explanation
from slmesh.cli.output import console
from slmesh.cli.replay import differences
from slmesh.cli.routing import drawn
from slmesh.router.flow import Flow, Step

EXPRESSION = "intent.labels.labels[0].probability > 0.9"


def explained(held: bool, probability: float) -> route_pb2.ExplainResponse:
    response = route_pb2.ExplainResponse(decision={"path": route_pb2.PATH_SMALL})
    value = {"field": "intent.labels.labels[0].probability", "number": probability}
    response.conditions.add(
        code="SURE", step="intent", quantity=EXPRESSION, held=held, values=[value],
        path=route_pb2.PATH_ESCALATED,
    )  # fmt: skip
    response.conditions.add(code="RUN_IF", step="entities", quantity=EXPRESSION, held=held)
    return response


def test_a_condition_stands_on_the_edge_it_belongs_to():
    steps = (
        Step(name="guard", service="guard"),
        Step(name="intent", service="intent", after=("guard",)),
        Step(name="fields", service="fields", after=("guard", "intent"), run_if=EXPRESSION),
    )
    flow = Flow(
        name="f", description="", owner="", data_classes=(), latency_budget_ms=1, steps=steps
    )
    assert drawn(flow) == [
        "       ─▶ guard",
        "guard  ─▶ intent",
        f"guard  ─▶ fields  if {EXPRESSION}",
        f"intent ─▶ fields  if {EXPRESSION}",
    ]


def test_an_expression_is_printed_as_it_is_written_with_its_values():
    with console.capture() as captured:
        print_explanation(explained(held=False, probability=0.4))
    shown = "".join(captured.get().split())
    assert "labels[0].probability>0.9:intent.labels.labels[0].probability=0.4" in shown


def test_a_rule_with_an_expression_says_why_it_did_not_hold():
    why = dict(paths_not_taken(explained(held=False, probability=0.4)))
    assert why["escalated"] == f"no rule held: SURE ({EXPRESSION}: no)"


def test_a_replay_shows_the_values_that_an_expression_has_read():
    before, after = explained(held=False, probability=0.4), explained(held=True, probability=0.95)
    found = {what: (old, new) for what, old, new in differences(before, after)}
    assert found[f"SURE: intent {EXPRESSION}"] == (
        "intent.labels.labels[0].probability = 0.4, did not hold",
        "intent.labels.labels[0].probability = 0.95, held",
    )
