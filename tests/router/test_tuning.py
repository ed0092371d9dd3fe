"""Choosing a threshold: the whole decision is made anew for each, on validation data only."""

from __future__ import annotations

import pytest

from slmesh.api.classify.v1 import classify_pb2
from slmesh.api.signal.v1 import signal_pb2
from slmesh.mesh.errors import InvalidArgument
from slmesh.router.flow import AnswerSource, Condition, Flow, Reasoner, Rule, Step, TemplateAnswer
from slmesh.router.trials import refuse_test_data
from slmesh.router.tuning import Trial, chosen, curve, deciding_step, with_threshold


def make_flow(**values) -> Flow:
    declared = {
        "name": "desk",
        "description": "A flow of a test.",
        "owner": "tests",
        "data_classes": ("public",),
        "latency_budget_ms": 100,
        "steps": (Step(name="intent", service="intent"),),
        "escalate_when": (
            Rule(reason="UNSURE", when=(Condition(step="intent", probability_below=0.5),)),
            Rule(reason="NEVER", when=(Condition(step="intent", label_in=("never",)),)),
        ),
        "answer": (AnswerSource(template=TemplateAnswer(by="intent", otherwise=("Yes.",))),),
        "reasoner": Reasoner(service="reasoner", instruction="Answer."),
        "fallback": "Later.",
    }
    return Flow(**(declared | values))


def trial(probability: float, label: str = "a", truth: str = "a", cost: int = 10) -> Trial:
    labels = classify_pb2.Labels(labels=[classify_pb2.Label(name=label, probability=probability)])
    response = classify_pb2.ClassifyResponse(labels=labels)
    signal = signal_pb2.Signal(step="intent", classification=response)
    return Trial(truth, {"intent": signal}, {}, cost)


TRIALS = [trial(0.95), trial(0.9), trial(0.8, "b"), trial(0.6), trial(0.55, "b"), trial(0.3, "b")]


def test_a_threshold_trades_coverage_for_precision():
    points = {point.threshold: point for point in curve(make_flow(), TRIALS)}
    assert (points[0.0].answered, points[0.0].right) == (6, 3)
    assert (points[0.5].answered, points[0.5].right) == (5, 3)
    assert (points[0.85].answered, points[0.85].right) == (2, 2)
    assert points[0.85].usd_micros == pytest.approx(4 * 10 / 6)
    assert points[0.99].precision == 1.0


def test_the_lower_bound_is_that_of_clopper_and_pearson():
    # 20 of 20: 0.05 ** (1 / 20)
    point = curve(make_flow(), [trial(0.9)] * 20, [0.5])[0]
    assert point.least_precision == pytest.approx(0.8609, abs=1e-4)
    assert curve(make_flow(), [trial(0.9, "b")], [0.5])[0].least_precision == 0.0


def test_the_most_coverage_that_reaches_the_precision_is_chosen():
    points = curve(make_flow(), TRIALS)
    assert chosen(points, precision=1.0).answered == 2
    # of two thresholds that answer the same, the stricter one
    assert chosen(points, precision=1.0).threshold == 0.9
    assert chosen(points, precision=0.6).answered == 5
    assert chosen(points, precision=0.9, bound=True) is None


def test_a_cost_is_a_target_too():
    points = curve(make_flow(), TRIALS)
    best = chosen(points, usd_micros=4.0)
    assert best.usd_micros <= 4.0
    assert best.answered == 4


def test_other_rules_of_the_flow_hold():
    never = trial(0.99, "never", "never")
    assert curve(make_flow(), [never], [0.0])[0].answered == 0


def test_only_thresholds_of_the_step_are_changed():
    other = Rule(reason="OTHER", when=(Condition(step="other", probability_below=0.1),))
    flow = make_flow(escalate_when=(*make_flow().escalate_when, other))
    changed = with_threshold(flow, "intent", 0.9)
    assert changed.escalate_when[0].when[0].probability_below == 0.9
    assert changed.escalate_when[2] == other


def test_a_flow_without_a_threshold_has_nothing_to_tune():
    with pytest.raises(InvalidArgument, match="'desk' has nothing to tune") as caught:
        deciding_step(make_flow(escalate_when=()))
    assert caught.value.reason == "NOTHING_TO_TUNE"


@pytest.mark.parametrize(
    ("names", "split"),
    [(["rows.jsonl"], "test"), (["test.jsonl"], "validation"), (["a_TEST.jsonl.gz"], "all")],
)
def test_test_data_is_refused(names, split):
    with pytest.raises(InvalidArgument, match="marked as test data"):
        refuse_test_data(names, split)


def test_validation_data_is_not_refused():
    refuse_test_data(["train.jsonl.gz", "latest.jsonl"], "validation")
