"""A record holds of a text what its tenant allows; a repeat gets its answer back from its own text."""

from __future__ import annotations

import json

import pytest
from google.protobuf import json_format

from slmesh.api.guard.v1 import guard_pb2
from slmesh.api.ledger.v1 import record_pb2
from slmesh.api.route.v1 import route_pb2
from slmesh.mesh.errors import FailedPrecondition
from slmesh.router.recorded_text import answered_again, withhold

NONE, REDACTED, FULL = 1, 2, 3
TEXT = "I am ann@x.org, refund £50 to Ann"
DOCUMENT = "from ann@x.org"
ANSWER = "We wrote to ANN@x.org about 50.00 GBP."


def segment(text, *values):
    found = guard_pb2.RedactedSegment()
    rest, done = text, ""
    for value, token in values:
        before, _, rest = rest.partition(value)
        placeholder = found.placeholders.add(token=token, kind="email")
        placeholder.original_span.start = len(text) - len(rest) - len(value)
        placeholder.original_span.end = len(text) - len(rest)
        done += before
        placeholder.redacted_span.start, placeholder.redacted_span.end = (
            len(done),
            len(done) + len(token),
        )
        done += token
    found.text = done + rest
    return found


def add_field(signal, name, text, start=None):
    field = signal.extraction.fields.add(name=name, text=text)
    field.span.start = TEXT.index(text) if start is None else start
    field.span.end = field.span.start + len(text)
    return field


def made(*, guard="ok", source=route_pb2.ANSWER_SOURCE_TEMPLATE, answer=ANSWER):
    request = route_pb2.RouteRequest(flow="desk", text=TEXT, documents=[DOCUMENT])
    decision = route_pb2.Decision(decision_id="d")
    decision.answer.text, decision.answer.source = answer, source
    if guard:
        state = 1 if guard == "ok" else 2
        signal = decision.steps.add(name="guard", state=state).signal
        redacted = [
            segment(TEXT, ("ann@x.org", "[EMAIL_1]"), ("Ann", "[NAME_1]")),
            segment(DOCUMENT, ("ann@x.org", "[EMAIL_1]")),
        ]
        signal.screening.redacted_segments.extend(redacted)
    signal = decision.steps.add(name="entities", state=1).signal
    email = add_field(signal, "email", "ann@x.org")
    email.value.email = "ann@x.org"
    money = add_field(signal, "amount", "£50").value.money
    money.currency_code, money.minor_units = "GBP", 5000
    explanation = route_pb2.ExplainResponse(decision=decision)
    return record_pb2.DecisionRecord(explanation=explanation, request=request)


def whole_request():
    return route_pb2.RouteRequest(flow="desk", text=TEXT, documents=[DOCUMENT])


def fields_of(explanation):
    return {field.name: field for field in explanation.decision.steps[-1].signal.extraction.fields}


def test_a_redacted_record_holds_no_value_that_the_guard_has_found():
    record = made()
    withhold(record, REDACTED)
    assert record.text_kept == REDACTED
    assert record.request.text == "I am [EMAIL_1], refund £50 to [NAME_1]"
    assert list(record.request.documents) == ["from [EMAIL_1]"]
    assert record.explanation.decision.answer.text == "We wrote to [EMAIL_1] about 50.00 GBP."
    data = record.SerializeToString().lower()
    assert b"ann" not in data
    assert b"x.org" not in data
    fields = fields_of(record.explanation)
    assert fields["email"].text == ""
    assert fields["amount"].value.money.minor_units == 5000


def test_a_record_without_text_holds_no_value_at_all():
    record = made()
    withhold(record, NONE)
    assert record.text_kept == NONE
    data = record.SerializeToString().lower()
    assert not [word for word in (b"ann", b"x.org", b"refund", b"50") if word in data]
    assert record.explanation.decision.answer.text.startswith("We wrote to [")


@pytest.mark.parametrize("guard", ["", "failed"])
def test_redacted_is_none_where_no_guard_has_redacted(guard):
    record = made(guard=guard)
    withhold(record, REDACTED)
    assert record.text_kept == NONE
    assert b"refund" not in record.SerializeToString()
    assert b"50.00" not in record.explanation.decision.answer.text.encode()


def test_a_full_record_is_as_it_was():
    record = made()
    withhold(record, FULL)
    expected = made()
    expected.text_kept = FULL
    assert record == expected
    assert answered_again(record, whole_request()) == expected.explanation


@pytest.mark.parametrize("source", [1, 3], ids=["template", "reasoner"])
def test_a_repeat_of_a_redacted_record_gets_the_answer_and_the_fields_back(source):
    answer = "We wrote to ann@x.org, Ann."
    record = made(source=source, answer=answer)
    withhold(record, REDACTED)
    assert "ann" not in record.explanation.decision.answer.text.lower()
    again = answered_again(record, whole_request())
    assert again.decision.answer.text == answer
    assert fields_of(again)["email"].text == "ann@x.org"


def test_a_repeat_of_a_record_without_text_gets_a_template_back():
    record = made(answer="We wrote to ann@x.org about £50.")
    withhold(record, NONE)
    again = answered_again(record, whole_request())
    assert again.decision.answer.text == "We wrote to ann@x.org about £50."


def test_what_a_model_wrote_is_not_kept_without_text_and_a_repeat_is_told():
    record = made(source=route_pb2.ANSWER_SOURCE_REASONER)
    withhold(record, NONE)
    assert record.explanation.decision.answer.text == ""
    with pytest.raises(FailedPrecondition) as caught:
        answered_again(record, whole_request())
    assert caught.value.reason == "ANSWER_NOT_KEPT"


def test_a_field_of_the_redacted_text_is_kept_as_it_is():
    record = made()
    signal = record.explanation.decision.steps[-1].signal
    del signal.extraction.fields[:]
    add_field(signal, "email", "[EMAIL_1]", start=5)
    withhold(record, REDACTED)
    assert fields_of(record.explanation)["email"].text == "[EMAIL_1]"
    assert fields_of(answered_again(record, whole_request()))["email"].text == "[EMAIL_1]"


def test_words_of_no_text_that_is_known_are_withheld():
    record = made(answer="Dear Zed")
    signal = record.explanation.decision.steps[-1].signal
    add_field(signal, "name", "Zed", start=3)
    withhold(record, REDACTED)
    assert b"Zed" not in record.SerializeToString()


def test_a_longer_value_is_replaced_before_a_shorter_one_within_it():
    record = made(answer="Ann at ann@x.org")
    withhold(record, REDACTED)
    assert record.explanation.decision.answer.text == "[NAME_1] at [EMAIL_1]"


def test_the_texts_of_a_structured_answer_are_redacted_and_restored_one_by_one():
    value = {"to": 'ann@x.org, "at once"', "amounts": ["50.00 GBP"], "pages": 3}
    record = made(source=route_pb2.ANSWER_SOURCE_REASONER, answer=json.dumps(value))
    answer = record.explanation.decision.answer
    json_format.ParseDict(value, answer.structured)
    withhold(record, REDACTED)
    assert json.loads(answer.text) == value | {"to": '[EMAIL_1], "at once"'}
    assert answer.structured.struct_value["to"] == '[EMAIL_1], "at once"'
    again = answered_again(record, whole_request()).decision.answer
    assert json.loads(again.text) == value
    assert json_format.MessageToDict(again.structured) == value


def test_a_record_without_texts_has_no_structured_answer():
    record = made(source=route_pb2.ANSWER_SOURCE_REASONER, answer='{"to": "ann@x.org"}')
    record.explanation.decision.answer.structured.SetInParent()
    withhold(record, NONE)
    assert not record.explanation.decision.answer.HasField("structured")


def test_a_repeat_of_an_answer_is_redacted_like_the_first():
    first, repeat = made(), made()
    for step in repeat.explanation.decision.steps:
        step.state = route_pb2.STEP_STATE_CACHED
    for record in (first, repeat):
        withhold(record, REDACTED)
    assert repeat.request == first.request
    assert repeat.explanation.decision.answer == first.explanation.decision.answer
    assert b"ann@x.org" not in repeat.SerializeToString().lower()
