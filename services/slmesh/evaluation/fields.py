"""Reads rows with marked fields as cases of the extract contract.

Where the service declares a field set named as the data set, the set's labels are asked for as they
are; otherwise the committed label map says which of the service's fields they stand for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from slmesh.api.extract.v1.extract_pb2 import ExtractRequest
from slmesh.evaluation.cases import Cases, ExpectedField, ExpectedFields, RequestCase
from slmesh.evaluation.field_values import golden_readings, nlupp_readings, recognizers_readings
from slmesh.evaluation.fields_specific import is_engine_specific
from slmesh.evaluation.formats import DataFile
from slmesh.evaluation.label_maps import label_map
from slmesh.evaluation.rows import Row
from slmesh.evaluation.subject import Subject
from slmesh.mesh.errors import InvalidArgument

__all__ = ["field_cases"]

_NLUPP_TIME = datetime(2022, 3, 15, 9, tzinfo=UTC)
"""Source: the README of NLU++; nine o'clock is where its relative times count from."""

_GOLDEN_KEYS = ("locale", "time_zone", "default_currency", "field_set")


@dataclass(frozen=True)
class _Span:
    """A marked span before its label is mapped."""

    label: str
    start: int
    end: int
    values: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Plan:
    """How a data set is asked of a service."""

    field_set: str
    fields: Mapping[str, str]
    joined: frozenset[str] = frozenset()
    where: Mapping[str, Sequence[str]] | None = None
    locale: str = ""
    own: bool = False
    asks: frozenset[str] | None = None


def field_cases(files: Sequence[DataFile], subject: Subject) -> Cases:
    """Return the cases of an extractor.

    Raises:
        InvalidArgument: A row is wrong, or the service has no field set for a data set.
    """
    cases: list[RequestCase] = []
    left_out: Counter[str] = Counter()
    for file in files:
        name = file.format.name
        if name == "golden_fields":
            cases += [_golden_case(row) for row in file.rows]
            continue
        for row in file.rows:
            plan = _plan(name, row, subject)
            reason = _left_out(name, row, plan)
            if reason:
                left_out[reason] += 1
            else:
                assert plan is not None
                cases.append(_case(name, row, plan))
    return Cases(tuple(cases), left_out)


def _plan(name: str, row: Row, subject: Subject) -> _Plan | None:
    """Return how to ask, or None where the row's kind has no field of ours."""
    mapped: Mapping[str, Any] = label_map("extract", name)
    model = row.text("model") if "models" in mapped else ""
    locale = mapped.get("locale", "")
    if name in subject.field_sets:
        labels = subject.field_sets[name]
        return _Plan(name, {label: label for label in labels}, locale=locale, own=True)
    if not subject.field_sets:
        known = subject.labels or {span.label for span in _spans(name, row)}
        # what may be asked for is what the service knows; what the row marks is not told
        marked = known | {span.label for span in _spans(name, row)}
        fields = {label: label for label in marked}
        return _Plan("", fields, locale=locale, own=True, asks=frozenset(known))
    field_set = mapped.get("field_sets", {}).get(model, "")
    if field_set not in subject.field_sets:
        field_set = mapped["field_set"]
    declared = subject.field_sets.get(field_set)
    if declared is None:
        raise InvalidArgument(
            f"the service '{subject.name}' declares no field set '{name}' nor '{field_set}'; it has"
            f" {', '.join(sorted(subject.field_sets))}",
            reason="NO_FIELD_SET",
        )
    named = mapped["models"].get(model) if model else mapped["fields"]
    if named is None:
        return None
    return _Plan(
        field_set,
        {label: field for label, field in named.items() if field in declared},
        frozenset(mapped.get("joined", ())),
        mapped.get("where"),
        locale,
    )


def _left_out(name: str, row: Row, plan: _Plan | None) -> str:
    if plan is None:
        return f"{name}: no field for {row.values['model']}"
    for column, values in (plan.where or {}).items():
        if row.values.get(column) not in values:
            return f"{name}: not all fields are marked where {column} is another"
    return ""


def _case(name: str, row: Row, plan: _Plan) -> RequestCase:
    text = _text(name, row)
    fields: list[ExpectedField] = []
    unjudged: list[tuple[int, int]] = []
    for span in _spans(name, row):
        start, end = _trimmed(text, span, row)
        field = plan.fields.get(span.label)
        if field is None:
            unjudged.append((start, end))
        else:
            fields.append(ExpectedField(field, start, end, span.values))
    joined = tuple(_joined(text, fields, plan.joined))
    expected = ExpectedFields(joined, tuple(unjudged), _is_engine_specific(name, row, plan))
    wanted = [] if plan.own else sorted(set(plan.fields.values()))
    request = ExtractRequest(text=text, field_set=plan.field_set, fields=wanted, locale=plan.locale)
    moment = _reference(name, row)
    if moment is not None:
        request.reference_time.FromDatetime(moment)
    return RequestCase(name, row.place, expected, (request, *_asked(name, row, plan, request)))


def _asked(name: str, row: Row, plan: _Plan, request: ExtractRequest) -> Iterator[ExtractRequest]:
    """Yield the request for what the system had asked for when the text was written.

    A bare "13" is a time or a number of people depending on it. What else the text says is found by
    the other request.
    """
    if name != "restaurant8k":
        return
    asked = {plan.fields[slot] for slot in row.items("requested_slots") if slot in plan.fields}
    if plan.asks is not None:
        asked &= plan.asks
    if asked:
        narrow = ExtractRequest()
        narrow.CopyFrom(request)
        narrow.fields[:] = sorted(asked)
        yield narrow


def _text(name: str, row: Row) -> str:
    return " ".join(map(str, row.items("tokens"))) if name == "wnut17" else row.text("text")


def _is_engine_specific(name: str, row: Row, plan: _Plan) -> bool:
    rule: Mapping[str, Any] | None = label_map("extract", name).get("engine_specific")
    if rule is None:
        return False
    return is_engine_specific(
        rule,
        (
            result
            for result in row.items("results")
            if result.get("typeName", result.get("typename", "")) in plan.fields
        ),
    )


def _spans(name: str, row: Row) -> list[_Span]:
    try:
        if name == "nlupp":
            return list(_nlupp_spans(row))
        if name == "recognizers_text":
            return list(_recognizers_spans(row))
        if name == "wnut17":
            return list(_tagged_spans(row))
        return [
            _Span(span["slot"], int(span["start"]), int(span["end"])) for span in row.items("spans")
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise row.wrong(f"a span cannot be read: {error!r}") from None


def _nlupp_spans(row: Row) -> Iterator[_Span]:
    for slot, found in row.values["slots"].items():
        start, end = found["span"]
        value = found.get("value", found.get("values"))
        values = nlupp_readings(row, slot, value) if value is not None else frozenset[str]()
        yield _Span(slot, int(start), int(end), values)


def _recognizers_spans(row: Row) -> Iterator[_Span]:
    text = row.text("text").lower()
    for result in row.items("results"):
        written = result["text"]
        # its offsets are inclusive, and missing where the text is found once
        start = int(result.get("start", text.find(written.lower())))
        if start < 0:
            raise row.wrong(f"the result '{written:.40}' is not in the text")
        end = int(result["end"]) + 1 if "end" in result else start + len(written)
        kind = result.get("typeName", result.get("typename", ""))
        yield _Span(kind, start, end, recognizers_readings({**result, "typeName": kind}))


def _tagged_spans(row: Row) -> Iterator[_Span]:
    """Yield the spans of words tagged B-label, I-label or O, the words joined by spaces."""
    tokens, tags = row.items("tokens"), row.items("tags")
    if len(tokens) != len(tags):
        raise row.wrong(f"{len(tokens)} tokens have {len(tags)} tags")
    span: _Span | None = None
    start = 0
    for token, tag in zip(tokens, tags, strict=True):
        end = start + len(token)
        if span is not None and tag == f"I-{span.label}":
            span = _Span(span.label, span.start, end)
        else:
            if span is not None:
                yield span
            span = None if tag == "O" else _Span(tag[2:], start, end)
        start = end + 1
    if span is not None:
        yield span


def _reference(name: str, row: Row) -> datetime | None:
    if name == "nlupp":
        return _NLUPP_TIME
    if name == "recognizers_text" and row.values.get("reference_datetime"):
        try:
            moment = datetime.fromisoformat(row.text("reference_datetime"))
        except ValueError as error:
            raise row.wrong(f"reference_datetime: {error}") from None
        return moment.replace(tzinfo=moment.tzinfo or UTC)
    return None


def _trimmed(text: str, span: _Span, row: Row) -> tuple[int, int]:
    """Return the span's range without white space at its ends, which is noise of marking."""
    start, end = span.start, span.end
    if not 0 <= start < end <= len(text):
        raise row.wrong(f"the span [{start}, {end}) is not in the text, which has {len(text)}")
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def _joined(
    text: str, fields: Sequence[ExpectedField], joined: frozenset[str]
) -> Iterator[ExpectedField]:
    """Yield the fields; neighbours of a joined name, with only a gap between them, are one."""
    last: ExpectedField | None = None
    for field in sorted(fields, key=lambda field: (field.name, field.start)):
        if (
            last is not None
            and field.name == last.name
            and field.name in joined
            and not text[last.end : field.start].strip(" ,")
        ):
            last = ExpectedField(field.name, last.start, field.end, last.values | field.values)
            continue
        if last is not None:
            yield last
        last = field
    if last is not None:
        yield last


def _golden_case(row: Row) -> RequestCase:
    text = row.text("text")
    fields = []
    for field in row.items("expected"):
        try:
            name, start, end = str(field["name"]), int(field["start"]), int(field["end"])
        except (KeyError, TypeError, ValueError):
            raise row.wrong("a field needs name, start and end") from None
        if not 0 <= start < end <= len(text):
            raise row.wrong(f"the field '{name}' is not in the text")
        fields.append(ExpectedField(name, start, end, golden_readings(row, field)))
    request = ExtractRequest(text=text)
    for key in _GOLDEN_KEYS:
        if row.values.get(key):
            setattr(request, key, row.text(key))
    if row.values.get("fields"):
        request.fields.extend(map(str, row.items("fields")))
    if row.values.get("reference_time"):
        try:
            request.reference_time.FromJsonString(row.text("reference_time"))
        except ValueError as error:
            raise row.wrong(f"reference_time: {error}") from None
    return RequestCase("golden_fields", row.place, ExpectedFields(tuple(fields)), (request,))
