"""Conditions over signals, and what the cascade makes of them. No server, no clock."""

from __future__ import annotations

import pytest

from slmesh.api.classify.v1 import classify_pb2
from slmesh.api.extract.v1 import extract_pb2
from slmesh.api.guard.v1 import guard_pb2
from slmesh.api.rank.v1 import rank_pb2
from slmesh.api.route.v1 import route_pb2
from slmesh.api.score.v1 import score_pb2
from slmesh.api.signal.v1.signal_pb2 import Signal
from slmesh.api.types.v1.abstention_pb2 import Abstention
from slmesh.router.cascade import decide, refusal
from slmesh.router.conditions import Scope, evaluate
from slmesh.router.expressions import types_of
from slmesh.router.flow import (
    AnswerSource,
    Condition,
    Flow,
    PassageAnswer,
    Reasoner,
    Rule,
    Step,
    TemplateAnswer,
)

ABSTAINED = Abstention(reason=1, confidence=0.2)


def labels(*pairs):
    found = [classify_pb2.Label(name=name, probability=p) for name, p in pairs]
    answer = classify_pb2.ClassifyResponse(labels=classify_pb2.Labels(labels=found))
    return Signal(step="s", classification=answer)


def passages(*rows):
    found = [rank_pb2.RankedPassage(id=i, text=f"text of {i}", probability=p) for i, p in rows]
    answer = rank_pb2.RankResponse(ranking=rank_pb2.Ranking(passages=found))
    return Signal(step="p", ranking=answer)


def scores(**levels):
    answer = score_pb2.ScoreResponse()
    for scale, pairs in levels.items():
        found = [score_pb2.Level(name=name, probability=p) for name, p in pairs]
        answer.scores.scores.add(scale=scale, levels=found)
    return Signal(step="s", scoring=answer)


SURE = labels(("card", 0.9), ("pin", 0.06))
BOTH = labels(("card", 0.5), ("pin", 0.45))
ALONE = labels(("card", 1.0))
SILENT = Signal(step="s", classification=classify_pb2.ClassifyResponse(abstention=ABSTAINED))
BARE = Signal(
    step="s",
    ranking=rank_pb2.RankResponse(ranking=rank_pb2.Ranking(passages=[{"id": "a", "score": 0.9}])),
)
GUARD = Signal(
    step="s",
    screening=guard_pb2.ScreenResponse(
        findings=[{"kind": "email"}, {"kind": "injection", "probability": 0.7}]
    ),
)
FIELDS = Signal(
    step="s", extraction=extract_pb2.ExtractResponse(fields=[{"name": "amount"}], truncated_at=9)
)
ANGRY = scores(urgency=[("low", 0.1), ("high", 0.3), ("critical", 0.6)])

CASES = [
    (SURE, {"abstained": True}, False, None, "answered-is-no-abstention"),
    (SILENT, {"abstained": True}, True, None, "abstention"),
    (SILENT, {"abstained": False}, False, None, "abstention-is-no-answer"),
    (SURE, {"probability_below": 0.9}, False, 0.9, "probability-at-the-threshold"),
    (SURE, {"probability_below": 0.91}, True, 0.9, "probability-below"),
    (SILENT, {"probability_below": 0.0}, True, None, "abstention-is-below-everything"),
    (passages(("a", 0.4)), {"probability_below": 0.5}, True, 0.4, "passage-probability"),
    (BARE, {"probability_below": 0.5}, True, None, "uncalibrated-is-not-high-enough"),
    (SURE, {"margin_below": 0.5}, False, 0.84, "margin"),
    (BOTH, {"margin_below": 0.1}, True, 0.05, "margin-below"),
    (ALONE, {"margin_below": 0.5}, False, 1.0, "one-label-leads-by-all"),
    (SILENT, {"margin_below": 0.0}, True, None, "abstention-has-no-margin"),
    (SURE, {"label_in": ("pin", "card")}, True, None, "label-in"),
    (SURE, {"label_in": ("pin",)}, False, None, "label-not-in"),
    (BOTH, {"labels_at_least": 2, "probability_at_least": 0.4}, True, 2, "several-labels"),
    (SURE, {"labels_at_least": 2, "probability_at_least": 0.4}, False, 1, "one-label"),
    (GUARD, {"finding": "injection"}, True, 0.7, "finding"),
    (GUARD, {"finding": "injection", "probability_at_least": 0.8}, False, 0.7, "unsure-finding"),
    (GUARD, {"finding": "email", "probability_at_least": 1}, True, 1, "a-rule-is-certain"),
    (GUARD, {"finding": "card", "probability_at_least": 0}, False, 0, "nothing-found"),
    (FIELDS, {"field_found": "amount"}, True, None, "field"),
    (FIELDS, {"field_found": "date"}, False, None, "no-field"),
    (FIELDS, {"truncated": True}, True, None, "truncated"),
    (SURE, {"truncated": True}, False, None, "read-whole"),
    (ANGRY, {"scale": "urgency", "level_at_least": "high"}, True, 0.9, "level-or-above"),
    (ANGRY, {"scale": "urgency", "level_at_most": "high"}, False, 0.4, "level-or-below"),
]


@pytest.mark.parametrize(
    ("signal", "test", "held", "value"), [pytest.param(*case[:4], id=case[4]) for case in CASES]
)
def test_a_condition_holds_or_not(signal, test, held, value):
    rule = Rule(reason="R", when=(Condition(step="s", **test),))
    evaluation = evaluate(rule, {"s": signal})
    assert evaluation.held is held
    (condition,) = evaluation.conditions
    assert condition.held is held
    found = condition.value if condition.HasField("value") else None
    assert found == (None if value is None else pytest.approx(value))
    assert not evaluation.problems


def test_a_condition_over_a_missing_signal_does_not_hold():
    rule = Rule(reason="R", when=(Condition(step="s", probability_below=1.0),))
    evaluation = evaluate(rule, {})
    assert not evaluation.held
    assert not evaluation.conditions[0].HasField("value")


def test_all_conditions_of_a_rule_must_hold():
    rule = Rule(
        reason="R",
        when=(Condition(step="s", abstained=True), Condition(step="s", probability_below=0.5)),
    )
    assert evaluate(rule, {"s": SILENT}).held
    assert not evaluate(rule, {"s": SURE}).held


DISAGREEMENTS = [
    (SURE, labels(("card", 0.4)), {}, False, "the-same-label"),
    (SURE, labels(("pin", 0.9)), {}, True, "another-label"),
    (
        SURE,
        labels(("cards", 0.9)),
        {"card": ("cards", "bank")},
        False,
        "a-label-that-belongs-to-it",
    ),
    (SURE, labels(("card", 0.9)), {"card": ("cards",)}, True, "the-mapping-comes-first"),
    (SURE, labels(("card", 0.9)), {"pin": ("pins",)}, False, "a-label-without-a-mapping"),
    (SURE, SILENT, {}, True, "the-other-abstains"),
    (SILENT, SURE, {}, True, "it-abstains"),
    (SILENT, SILENT, {}, True, "both-abstain"),
]


@pytest.mark.parametrize(
    ("signal", "other", "labels_of", "held"),
    [pytest.param(*case[:4], id=case[4]) for case in DISAGREEMENTS],
)
def test_two_signals_disagree_or_not(signal, other, labels_of, held):
    condition = Condition(step="s", disagrees_with="o", labels_of=labels_of)
    evaluation = evaluate(Rule(reason="R", when=(condition,)), {"s": signal, "o": other})
    assert evaluation.held is held
    (told,) = evaluation.conditions
    assert told.quantity == "disagreement with o"
    assert [value.field for value in told.values] == ["s.label", "o.label"]


def test_a_disagreement_is_explained_with_both_labels():
    rule = Rule(reason="R", when=(Condition(step="s", disagrees_with="o"),))
    assert evaluate(rule, {"s": SURE, "o": SILENT}).reason.description == (
        "s says card and o abstained"
    )
    assert not evaluate(rule, {"s": SURE}).held


def scope(*unwanted):
    types = types_of({"s": "classify", "e": "extract"})
    return Scope(types, route_pb2.RequestFacts(tenant="acme"), set(unwanted))


def test_an_expression_is_a_condition_like_another():
    rule = Rule(reason="R", when=(Condition(cel="s.labels.labels[0].probability < 0.95"),))
    evaluation = evaluate(rule, {"s": SURE}, scope())
    assert evaluation.held
    assert evaluation.reason.step == "s"
    assert evaluation.reason.description == (
        "'s.labels.labels[0].probability < 0.95' is true: s.labels.labels[0].probability = 0.9"
    )
    (condition,) = evaluation.conditions
    assert condition.quantity == "s.labels.labels[0].probability < 0.95"
    assert condition.values[0].number == 0.9


def test_an_expression_that_fails_does_not_hold_and_says_why():
    rule = Rule(reason="R", when=(Condition(cel="s.labels.labels[0].probability < 2.0"),))
    evaluation = evaluate(rule, {"s": SILENT}, scope())
    assert not evaluation.held
    assert evaluation.problems == (
        (
            "s",
            "'s.labels.labels[0].probability < 2.0' could not be evaluated: an index is out of range",
        ),
    )


def test_the_signal_of_a_step_that_its_condition_has_skipped_is_not_missed():
    rule = Rule(reason="R", when=(Condition(cel="e.fields.size() == 0"),))
    assert evaluate(rule, {}, scope()).problems
    evaluation = evaluate(rule, {}, scope("e"))
    assert (evaluation.held, evaluation.problems) == (False, ())


@pytest.mark.parametrize(
    ("scale", "level", "sentence"),
    [
        ("urgncy", "high", "there is no scale 'urgncy'; did you mean 'urgency'?"),
        ("urgency", "hi", "scale 'urgency' has no level 'hi'"),
    ],
)
def test_a_condition_that_cannot_be_evaluated_says_why(scale, level, sentence):
    rule = Rule(reason="R", when=(Condition(step="s", scale=scale, level_at_least=level),))
    evaluation = evaluate(rule, {"s": ANGRY})
    assert not evaluation.held
    assert sentence in evaluation.problems[0][1]


def flow(**changes):
    agreeing = PassageAnswer(
        step="p",
        agrees_with="s",
        passages_of={"card": ("c1", "c2")},
        probability_at_least=0.3,
        introduction=("Hm, {s.nothing}: ", "About {s.label}: "),
    )
    values = {
        "name": "f", "description": "d", "owner": "o", "data_classes": ("public",),
        "latency_budget_ms": 100,
        "steps": (Step(name="s", service="s"), Step(name="p", service="p")),
        "refuse_when": (Rule(reason="BAD", when=(Condition(step="s", label_in=("evil",)),)),),
        "escalate_when": (Rule(reason="LOW", when=(Condition(step="s", probability_below=0.6),)),),
        "answer": (
            AnswerSource(passage=agreeing),
            AnswerSource(template=TemplateAnswer(by="s", texts={"pin": ("Pin.",)})),
        ),
        "reasoner": Reasoner(service="r", instruction="i"), "refusal": "no", "fallback": "later",
    }  # fmt: skip
    return Flow(**(values | changes))


def codes(verdict):
    return [reason.code for reason in verdict.reasons]


def test_the_best_passage_of_the_intent_answers():
    found = passages(("x", 0.9), ("c2", 0.5))
    verdict = decide(flow(), {"s": SURE, "p": found}, {})
    assert verdict.path == route_pb2.PATH_SMALL
    assert verdict.answer.text == "About card: text of c2"
    assert verdict.answer.source == route_pb2.ANSWER_SOURCE_PASSAGE


def test_signals_that_disagree_are_escalated():
    verdict = decide(flow(), {"s": SURE, "p": passages(("x", 0.9))}, {})
    assert verdict.path == route_pb2.PATH_ESCALATED
    assert codes(verdict) == ["SIGNALS_DISAGREE", "NO_TEMPLATE"]


def test_a_passage_that_is_not_sure_enough_is_no_answer():
    verdict = decide(flow(), {"s": SURE, "p": passages(("c1", 0.2))}, {})
    assert codes(verdict)[0] == "PASSAGE_UNCERTAIN"


def test_a_template_answers_where_no_passage_does_and_the_reason_stays():
    verdict = decide(flow(), {"s": labels(("pin", 0.9)), "p": passages(("x", 0.9))}, {})
    assert verdict.answer.text == "Pin."
    assert codes(verdict) == ["SMALL_MODELS_SUFFICE", "SIGNALS_DISAGREE"]


def test_a_reason_to_refuse_stands_above_all_others():
    verdict = decide(flow(), {"s": labels(("evil", 0.1))}, {})
    assert verdict.path == route_pb2.PATH_REFUSED
    assert codes(verdict) == ["BAD"]
    assert [condition.code for condition in verdict.conditions] == ["BAD", "LOW"]
    assert refusal(flow(), {"s": SURE}) is None


@pytest.mark.parametrize(
    ("failed", "changes", "path"),
    [
        pytest.param({"p": "skip"}, {}, route_pb2.PATH_ESCALATED, id="skip"),
        pytest.param({"p": "escalate"}, {}, route_pb2.PATH_ESCALATED, id="escalate"),
        pytest.param({"p": "degrade"}, {}, route_pb2.PATH_FALLBACK, id="degrade"),
        pytest.param({"p": "skip"}, {"reasoner": None}, route_pb2.PATH_FALLBACK, id="no-reasoner"),
    ],
)
def test_what_follows_a_missing_signal(failed, changes, path):
    assert decide(flow(**changes), {"s": SURE}, failed).path == path


def test_signals_can_be_the_answer():
    verdict = decide(flow(answer=(AnswerSource(signals=True),)), {"s": SURE}, {})
    assert verdict.answer.source == route_pb2.ANSWER_SOURCE_SIGNALS
    assert verdict.answer.text == ""
