"""Conditions in CEL: checked against the types of what they read, and evaluated over it."""

from __future__ import annotations

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from slmesh.api.classify.v1 import classify_pb2
from slmesh.api.extract.v1 import extract_pb2
from slmesh.api.guard.v1 import guard_pb2
from slmesh.api.route.v1 import route_pb2
from slmesh.api.score.v1 import score_pb2
from slmesh.router.condition_values import written_values
from slmesh.router.expressions import ExpressionError, compiled, names_in, types_of

TYPES = types_of(
    {
        "intent": "classify", "entities": "extract", "triage": "score", "passages": "rank",
        "guard": "guard", "int": "classify",
    }
)  # fmt: skip

INTENT = classify_pb2.ClassifyResponse(
    labels={"labels": [{"name": "card", "probability": 0.9}, {"name": "pin", "probability": 0.06}]}
)
SILENT = classify_pb2.ClassifyResponse(abstention={"reason": 1, "confidence": 0.2})
ENTITIES = extract_pb2.ExtractResponse(
    fields=[
        {
            "name": "amount",
            "text": "£20",
            "value": {"money": {"currency_code": "GBP", "minor_units": 2000}},
            "probability": 0.5,
        }
    ]
)
TRIAGE = score_pb2.ScoreResponse(
    scores={"scores": [{"scale": "urgency", "levels": [{"name": "high", "probability": 1.0}]}]}
)
GUARD = guard_pb2.ScreenResponse(findings=[{"kind": "email"}], redacted_segments=[{"text": "[E]"}])
FACTS = route_pb2.RequestFacts(
    tenant="acme", locale="en-GB", reference_time=Timestamp(seconds=1_750_000_000)
)
THERE = {
    "intent": INTENT, "entities": ENTITIES, "triage": TRIAGE, "guard": GUARD, "request": FACTS,
}  # fmt: skip
FIRST = "intent.labels.labels[0]"

RIGHT = [
    (f"{FIRST}.probability > 0.8 && {FIRST}.name in ['card', 'pin']", True, "comparison"),
    ("has(intent.labels) && !has(intent.abstention)", True, "has"),
    ("intent.labels.labels.exists(l, l.name == 'pin' && l.probability > 0.5)", False, "exists"),
    ("intent.labels.labels.all(l, l.probability > 0.05)", True, "all"),
    ("entities.fields.exists(f, has(f.value.money) && f.value.money.minor_units > 1)", True, "value"),
    ("triage.scores.scores.filter(s, s.scale == 'urgency')[0].levels.size() == 1", True, "filter"),
    ("guard.findings.size() == 0", False, "size"),
    ("request.tenant == 'acme' && request.document_count == 0", True, "request"),
    ("request.reference_time.getFullYear() == 2025", True, "time"),
    ("passages.ranking.passages.size() > 0 || request.tenant == 'acme'", True, "or-without-signal"),
    ("passages.ranking.passages.size() > 0 && request.tenant == 'x'", False, "and-without-signal"),
    ("has(request.default_currency)", False, "unset-fact"),
    ("intent.labels.labels[0].name == 'intnt.lables' ? false : true", True, "name-in-a-text"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "held"), [pytest.param(*case[:2], id=case[2]) for case in RIGHT]
)
def test_an_expression_is_true_or_not(source, held):
    outcome = compiled(source, TYPES).evaluate(THERE)
    assert outcome.problem == ""
    assert outcome.held is held


WRONG = [
    ("intent.lables.labels.size() > 0", "ClassifyResponse has no field 'lables'; did you mean"
     " 'labels'? (column 7)", "field"),
    ("intent.labels.labels\n  .exists(l, l.nam == 'a')", "Label has no field 'nam'; did you mean"
     " 'name'? (line 2 of it, column 15)", "field-in-a-macro"),
    ("intnt.labels.labels.size() > 0", "there is no 'intnt' to read; did you mean 'intent'?", "name"),
    ("request.tennant == 'a'", "RequestFacts has no field 'tennant'; did you mean 'tenant'?", "fact"),
    ("request.text == 'a'", "RequestFacts has no field 'text'", "the-text-is-no-fact"),
    (f"{FIRST}.probability > 1", "'>' does not go with double and int; write a whole number as 1.0",
     "whole-number"),
    (f"{FIRST}.name > 0.5", "'>' does not go with string and double", "types"),
    (f"{FIRST}.probability", "a condition is true or false, this is double", "no-condition"),
    ("intent.abstention", "a condition is true or false, this is", "message"),
    ("likely(intent)", "there is no function 'likely'", "function"),
    ("1 +", "not an expression: mismatched input '<EOF>' (column 4)", "syntax"),
    ("", "not an expression", "empty"),
    ("int.labels.labels.size() > 0", "'int' is a word of CEL; give the step another name", "word"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "message"), [pytest.param(*case[:2], id=case[2]) for case in WRONG]
)
def test_a_wrong_expression_is_refused_with_place_and_nearest_name(source, message):
    with pytest.raises(ExpressionError) as caught:
        compiled(source, TYPES)
    assert message in str(caught.value)
    assert "INVALID_ARGUMENT" not in str(caught.value)


FAILING = [
    (f"{FIRST}.name == 'a'", {"intent": SILENT}, "an index is out of range", "index"),
    (f"{FIRST}.name == 'a'", {}, "intent gave no signal", "no-signal"),
    ("1 / entities.fields[0].span.start == 1", THERE, "it divides by zero", "division"),
    ("int(entities.fields[0].text) == 1", THERE, "a value cannot be converted", "conversion"),
    ("{'a': 1}[entities.fields[0].text] == 1", THERE, "a key is not there", "key"),
]


@pytest.mark.parametrize(
    ("source", "messages", "problem"), [pytest.param(*case[:3], id=case[3]) for case in FAILING]
)
def test_an_expression_that_fails_says_why_without_a_word_of_the_text(source, messages, problem):
    outcome = compiled(source, TYPES).evaluate(messages)
    assert outcome.held is False
    assert outcome.problem == problem
    assert "£20" not in str(outcome)


def test_the_values_it_reads_are_told_with_the_result():
    source = f"{FIRST}.probability > 0.95 || {FIRST}.name.startsWith('x') || request.tenant == 'b'"
    outcome = compiled(source, TYPES).evaluate(THERE)
    assert not outcome.held
    assert written_values(outcome.values) == (
        f"{FIRST}.probability = 0.9, {FIRST}.name = card, request.tenant = acme"
    )


def test_no_value_that_quotes_the_text_is_told():
    source = (
        "entities.fields[0].text == '£20' && entities.fields[0].value.money.minor_units == 2000"
        " && guard.redacted_segments[0].text != '' && entities.fields[0].name == 'amount'"
    )
    outcome = compiled(source, TYPES).evaluate(THERE)
    assert outcome.held
    assert written_values(outcome.values) == "entities.fields[0].name = amount"


def test_names_in_texts_and_comments_are_not_read():
    source = "guard.findings.size() > 0 && 'triage.x' != \"intent\" // passages"
    valid = ["guard", "triage", "intent", "passages"]
    assert names_in(source, valid) == ("guard",)
