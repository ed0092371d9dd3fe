"""What a record holds of a user's text, and how a repeat gets the values back that it does not hold.

The redacted form is the guard's: a value it has found is replaced by its placeholder in the text, in
every field that quotes it and in the answer. A repeat brings the same text again, so its answer is
restored from that, and the record needs no value. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from slmesh.api.extract.v1 import extract_pb2
from slmesh.api.guard.v1 import guard_pb2
from slmesh.api.ledger.v1 import record_pb2
from slmesh.api.route.v1 import route_pb2
from slmesh.mesh.errors import FailedPrecondition
from slmesh.mesh.redaction import restore
from slmesh.router.structured_answer import put_text
from slmesh.router.template import written

__all__ = ["answered_again", "withhold"]

_NONE, _REDACTED, _FULL = (
    record_pb2.TEXT_KEPT_NONE,
    record_pb2.TEXT_KEPT_REDACTED,
    record_pb2.TEXT_KEPT_FULL,
)
_FINISHED = (route_pb2.STEP_STATE_SUCCEEDED, route_pb2.STEP_STATE_CACHED)


def withhold(record: record_pb2.DecisionRecord, wanted: record_pb2.TextKept) -> None:
    """Take out of a record what it may not hold, and note what it holds.

    Args:
        record: A record with the whole request and explanation; it is changed.
        wanted: What may be held. Without a redacted text, as of a flow without a guard, ``redacted``
            is ``none``.
    """
    segments = _segments(record.explanation)
    kept = _NONE if wanted == _REDACTED and not segments else wanted
    record.text_kept = kept
    if kept == _FULL:
        return
    redacted = [segment.text for segment in segments]
    request, decision = record.request, record.explanation.decision
    original, answer = request.text, decision.answer.text
    spans = _placeholder_spans(segments)
    hidden = dict(_placeholder_values((original, *request.documents), segments)) if answer else {}
    for step in decision.steps:
        kind = step.signal.WhichOneof("answer")
        if kind == "extraction":
            for field in step.signal.extraction.fields:
                token = _token(field, original, redacted, spans, kept)
                if token:
                    hidden |= {field.text: token, written(field): token} if answer else {}
                    field.ClearField("text")
                    field.ClearField("value")
        elif kind == "screening":
            _clear_texts(step)
    if kept == _NONE and decision.answer.source == route_pb2.ANSWER_SOURCE_REASONER:
        decision.answer.text = ""
        decision.answer.ClearField("structured")
    elif answer:
        put_text(decision.answer, answer, lambda text: _replaced(text, hidden))
    request.text = redacted[0] if kept == _REDACTED else ""
    if request.documents:
        request.documents[:] = redacted[1:] if kept == _REDACTED else []


def answered_again(
    record: record_pb2.DecisionRecord, request: route_pb2.RouteRequest
) -> route_pb2.ExplainResponse:
    """Return a recorded explanation with the values of a repeat of its request.

    Normalised values of fields that the guard has redacted do not come back, their text does.

    Args:
        record: The record.
        request: A request with the record's digest: the same text.

    Raises:
        FailedPrecondition: The record does not hold the answer.
    """
    explanation = route_pb2.ExplainResponse()
    explanation.CopyFrom(record.explanation)
    decision = explanation.decision
    if record.text_kept == _FULL:
        return explanation
    withheld = decision.answer.source == route_pb2.ANSWER_SOURCE_REASONER
    if record.text_kept == _NONE and withheld:
        raise FailedPrecondition(
            "this request was answered before, and the ledger keeps no answers of models for its"
            " tenant: send it with another request_id to have it answered again",
            reason="ANSWER_NOT_KEPT",
            field="request_id",
        )
    segments = _segments(explanation)
    for original, segment in zip((request.text, *request.documents), segments, strict=False):
        put_text(decision.answer, decision.answer.text, partial(_restored, original, segment))
    for field in _fields(explanation):
        if not field.text:
            field.text = request.text[field.span.start : field.span.end]
            change = partial(_put_back, _field_token(field), field.text)
            put_text(decision.answer, decision.answer.text, change)
    return explanation


def _restored(original: str, segment: guard_pb2.RedactedSegment, text: str) -> str:
    return restore(text, original, segment)


def _put_back(token: str, value: str, text: str) -> str:
    return text.replace(token, value)


def _segments(explanation: route_pb2.ExplainResponse) -> Sequence[guard_pb2.RedactedSegment]:
    """Return what the guard has redacted; nothing when it did not run every check."""
    for step in explanation.decision.steps:
        if step.state in _FINISHED and step.signal.screening.redacted_segments:
            return step.signal.screening.redacted_segments
    return ()


def _clear_texts(step: route_pb2.Step) -> None:
    """Take redacted texts out of a guard's signal: they are in the request, or nowhere."""
    if step.state not in _FINISHED:
        step.signal.screening.ClearField("redacted_segments")  # of a guard that did not finish
    for segment in step.signal.screening.redacted_segments:
        segment.ClearField("text")


def _fields(explanation: route_pb2.ExplainResponse) -> Iterator[extract_pb2.Field]:
    for step in explanation.decision.steps:
        yield from step.signal.extraction.fields


def _placeholder_values(
    originals: Sequence[str], segments: Sequence[guard_pb2.RedactedSegment]
) -> Iterator[tuple[str, str]]:
    for original, segment in zip(originals, segments, strict=False):
        for start, end, token in _placeholder_spans((segment,)):
            yield original[start:end], token


def _placeholder_spans(
    segments: Sequence[guard_pb2.RedactedSegment],
) -> Sequence[tuple[int, int, str]]:
    """Return where placeholders stand in the first text: start, end, token."""
    found = []
    for placeholder in segments[0].placeholders if segments else ():
        span = placeholder.original_span
        found.append((span.start, span.end, placeholder.token))
    return found


def _token(
    field: extract_pb2.Field,
    original: str,
    redacted: Sequence[str],
    spans: Sequence[tuple[int, int, str]],
    kept: record_pb2.TextKept,
) -> str:
    """Return what stands for a field's words; empty when they may be held."""
    if kept == _NONE:
        return _field_token(field)
    span, text = field.span, field.text
    start, end = span.start, span.end
    if original[start:end] != text:
        # of the redacted text, which holds no value; anything else is of no text that we know
        return "" if any(text in one for one in redacted) else _field_token(field)
    for first, last, token in spans:
        if first < end and start < last:
            return token
    return ""


def _field_token(field: extract_pb2.Field) -> str:
    return f"[{field.name.upper()}@{field.span.start}]"


def _replaced(text: str, hidden: Mapping[str, str]) -> str:
    """Return a text with tokens in place of values, the longest value first, in any case."""
    folded = text.casefold()
    tokens = {value.casefold(): token for value, token in hidden.items() if value.strip()}
    tokens = {value: token for value, token in tokens.items() if value in folded}
    if not tokens:
        return text
    ordered = sorted(tokens, key=len, reverse=True)
    found = re.compile("|".join(re.escape(value) for value in ordered), re.IGNORECASE)
    return found.sub(lambda match: tokens.get(match[0].casefold(), "[WITHHELD]"), text)
