"""The figures of extractors: spans and values, from answers and what was expected. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from slmesh.api.extract.v1.extract_pb2 import ExtractResponse, Field
from slmesh.evaluation.cases import ExpectedField, ExpectedFields
from slmesh.evaluation.values import readings

__all__ = ["SpanCounts", "field_figures", "found_fields"]


class SpanCounts:
    """Counts spans that are right, found and expected, in all and by type."""

    def __init__(self) -> None:
        self._right: Counter[str] = Counter()
        self._found: Counter[str] = Counter()
        self._expected: Counter[str] = Counter()

    def add(
        self, expected: Iterable[tuple[str, int, int]], found: Iterable[tuple[str, int, int]]
    ) -> None:
        """Count the spans (type, start, end) of one text; a span is right when all three agree."""
        ours, theirs = set(found), set(expected)
        self._right.update(kind for kind, _, _ in ours & theirs)
        self._found.update(kind for kind, _, _ in ours)
        self._expected.update(kind for kind, _, _ in theirs)

    def figures(self) -> dict[str, Any]:
        """Return ``span_precision``, ``span_recall``, ``span_f1`` (micro) and ``span_f1_by_type``.

        Source: Tjong Kim Sang and De Meulder, Introduction to the CoNLL-2003 Shared Task, section 2:
        exact matches only. Nothing found and nothing expected is a precision or recall of 1.
        """
        totals = [counter.total() for counter in (self._right, self._found, self._expected)]
        precision, recall, f1 = _scores(*totals)
        kinds = sorted(self._found.keys() | self._expected.keys())
        return {
            "span_precision": precision,
            "span_recall": recall,
            "span_f1": f1,
            "span_f1_by_type": {
                kind: _scores(self._right[kind], self._found[kind], self._expected[kind])[2]
                for kind in kinds
            },
        }


def field_figures(
    expected: Sequence[ExpectedFields], answers: Sequence[Sequence[ExtractResponse]]
) -> dict[str, Any]:
    """Return the figures of an extractor.

    Args:
        expected: At least one.
        answers: As many; of several responses to a text the last one comes first, see
            :func:`found_fields`.

    Returns:
        The figures of :meth:`SpanCounts.figures`. Where values are expected: ``value_exact``, the
        share of fields whose value is right, a missed one being wrong; ``value_exact_by_type`` and
        ``value_n_by_type``. A field's value may be found anywhere over the field's span: whether the
        span is exact is the other figures' business. Where rows are specific to an engine,
        ``engine_specific`` is their share, and ``value_exact_else`` (``_by_type``) is without them.
    """
    figures = _span_figures(expected, answers)
    values = _values(expected, answers)
    if values:
        figures |= _value_figures(values)
    if values and any(item.engine_specific for item in expected):
        plain = [place for place, item in enumerate(expected) if not item.engine_specific]
        values = _values([expected[place] for place in plain], [answers[place] for place in plain])
        figures["engine_specific"] = 1 - len(plain) / len(expected)
        named = _value_figures(values)
        figures["value_exact_else"] = named["value_exact"]
        figures["value_exact_else_by_type"] = named["value_exact_by_type"]
    return figures


def _span_figures(
    expected: Sequence[ExpectedFields], answers: Sequence[Sequence[ExtractResponse]]
) -> dict[str, Any]:
    spans = SpanCounts()
    for item, responses in zip(expected, answers, strict=True):
        theirs = {(field.name, field.start, field.end) for field in item.fields}
        ours = {(field.name, field.span.start, field.span.end) for field in found_fields(responses)}
        spans.add(theirs, {span for span in ours if span in theirs or _judged(span, item.unjudged)})
    return spans.figures()


def _values(
    expected: Sequence[ExpectedFields], answers: Sequence[Sequence[ExtractResponse]]
) -> list[tuple[str, bool]]:
    """Return the name of each field with a value to judge, and whether it is right."""
    return [
        (
            field.name,
            any(_is_value_of(field, found, item.fields) for found in found_fields(responses)),
        )
        for item, responses in zip(expected, answers, strict=True)
        for field in item.fields
        if field.values
    ]


def _value_figures(values: Sequence[tuple[str, bool]]) -> dict[str, Any]:
    counts = Counter(name for name, _ in values)
    right = Counter(name for name, is_right in values if is_right)
    return {
        "value_exact": right.total() / max(1, counts.total()),
        "value_exact_by_type": {name: right[name] / n for name, n in sorted(counts.items())},
        "value_n_by_type": dict(sorted(counts.items())),
    }


def found_fields(responses: Sequence[ExtractResponse]) -> list[Field]:
    """Return the fields of all responses to one text.

    The last response answers the narrowest request, so its fields stand; of the others' fields those
    are added that overlap none of them.
    """
    fields = list(responses[-1].fields)
    for response in responses[-2::-1]:
        free = [field for field in response.fields if not any(_overlap(field, f) for f in fields)]
        fields += free
    return fields


def _overlap(left: Field, right: Field) -> bool:
    return left.span.start < right.span.end and right.span.start < left.span.end


def _judged(span: tuple[str, int, int], unjudged: Sequence[tuple[int, int]]) -> bool:
    return not any(start < span[2] and span[1] < end for start, end in unjudged)


def _is_value_of(
    expected: ExpectedField, found: Field, together: Sequence[ExpectedField] = ()
) -> bool:
    """Return whether a found field tells the value that is expected in its place.

    One end of a range is told by the range. A day and a time that are expected one beside the other
    are told by a date with a time over both. Any other value is told by a field of its own name only.
    """
    if not _meet(expected, found):
        return False
    shared = expected.values & readings(found)
    parts: tuple[str, ...] = ("from:", "to:")
    if sum(_meet(other, found) for other in together) > 1:
        parts += ("date:", "time:")
    return bool(shared) and (
        found.name == expected.name or any(item.startswith(parts) for item in shared)
    )


def _meet(expected: ExpectedField, found: Field) -> bool:
    return expected.start < found.span.end and found.span.start < expected.end


def _scores(right: int, found: int, expected: int) -> tuple[float, float, float]:
    precision = right / found if found else float(not expected)
    recall = right / expected if expected else 1.0
    both = precision + recall
    return precision, recall, 2 * precision * recall / both if both else 0.0
