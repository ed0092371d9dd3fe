"""Reads a user's file of texts with marked spans, and judges them.

Spans stand in a column ``spans`` (a list of objects with ``start``, ``end`` and ``label``, in code
points), or in the text itself as ``[fifty dollars](amount)``, which a CSV file can hold. It knows no
model.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from slmesh.factory.inspection import FEW_ROWS, Finding, found_rows
from slmesh.factory.table import Columns, TableRow, read_records
from slmesh.mesh.errors import InvalidArgument
from slmesh.training.rows import normalised
from slmesh.training.tagging_data import MarkedText

__all__ = ["InspectedSpans", "inspect_spans", "read_marked"]

_MARKUP = re.compile(r"\[([^\[\]]+)\]\(([^()\s]+)\)")
_SPAN_NAMES = ("spans", "entities", "labels")


@dataclass(frozen=True)
class _Row:
    """One text with its spans, where a user finds it."""

    number: int
    marked: MarkedText


@dataclass(frozen=True)
class InspectedSpans:
    """Texts fit to train and validate on.

    Attributes:
        texts: Each once.
        labels: Of their spans, sorted.
        findings: What was found.
    """

    texts: tuple[MarkedText, ...]
    labels: tuple[str, ...]
    findings: tuple[Finding, ...]


def read_marked(path: Path, wanted: Columns, encoding: str = "utf-8") -> list[_Row]:
    """Return the texts of a file with their spans.

    Raises:
        InvalidArgument: The file cannot be read, lacks a column, or a span is none of its text; file,
            row and column are named.
    """
    records = read_records(path, encoding)
    known = list(dict.fromkeys(name for _, record in records for name in record))
    text_column = wanted.text or next(
        (n for n in ("text", "utterance", "message") if n in known), ""
    )
    if text_column not in known:
        raise InvalidArgument(
            f"{path}: no column of the text; name it with --text-column (there are"
            f" {', '.join(known)})",
            reason="WRONG_COLUMNS",
        )
    span_column = wanted.label or next((n for n in _SPAN_NAMES if n in known), "")
    rows = []
    for number, record in records:
        where = f"{path}, row {number}"
        text = record.get(text_column) or ""
        if not isinstance(text, str):
            raise _wrong(f"{where}: column '{text_column}' holds no text: {text!r}")
        if span_column:
            spans = _checked(text, _listed(record.get(span_column), where), where)
        else:
            text, spans = _from_markup(text)
        rows.append(_Row(number, MarkedText(text, spans, "own")))
    return rows


def inspect_spans(rows: Sequence[_Row], file: Path) -> InspectedSpans:
    """Check texts and their spans.

    Raises:
        InvalidArgument: No text has a span.
    """
    findings: list[Finding] = []
    empty = [row for row in rows if not row.marked.text.strip()]
    overlapping = [row for row in rows if _overlaps(row)]
    left_out = {row.number for row in empty + overlapping}
    by_text: dict[str, list[_Row]] = defaultdict(list)
    for row in rows:
        if row.number not in left_out:
            by_text[normalised(row.marked.text)].append(row)
    groups = list(by_text.values())
    torn = [g for g in groups if len({_names(row) for row in g}) > 1]
    kept = [g for g in groups if len({_names(row) for row in g}) == 1]
    for kind, what, wrong in (
        ("empty-text", "without a text, left out", empty),
        ("overlapping-spans", "with spans that overlap, left out", overlapping),
        (
            "conflicting-labels",
            "with a text that is marked in two ways, left out",
            [r for g in torn for r in g],
        ),
        (
            "duplicates",
            "with the text of an earlier row, left out",
            [r for g in kept for r in g[1:]],
        ),
    ):
        if wrong:
            findings.append(found_rows(kind, what, _numbered(wrong)))
    by_label: dict[str, list[_Row]] = defaultdict(list)
    for group in kept:
        for label, _, _ in group[0].marked.spans:
            by_label[label].append(group[0])
    if not by_label:
        raise InvalidArgument(
            f"{file}: no usable row has a marked span; mark them as [fifty dollars](amount), or give a"
            " column 'spans'",
            reason="NO_SPANS",
        )
    for label, found in sorted(by_label.items()):
        if len(found) < FEW_ROWS:
            what = f"with '{label}': fewer than {FEW_ROWS} teach little"
            findings.append(found_rows("few-rows", what, _numbered(found)))
    return InspectedSpans(
        tuple(group[0].marked for group in kept), tuple(sorted(by_label)), tuple(findings)
    )


def _names(row: _Row) -> tuple[tuple[str, str], ...]:
    """Return what is marked as what, wherever it stands: spacing may differ."""
    text = row.marked.text
    return tuple((label, normalised(text[start:end])) for label, start, end in row.marked.spans)


def _numbered(rows: Sequence[_Row]) -> list[TableRow]:
    return sorted((TableRow(row.number, "", "") for row in rows), key=lambda row: row.number)


def _listed(value: Any, where: str) -> list[Any]:
    if isinstance(value, str) and value.strip():  # a CSV file holds them as JSON
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            raise _wrong(f"{where}: the spans are no JSON: {value[:60]!r}") from None
    if value in (None, ""):
        return []
    if not isinstance(value, list):
        raise _wrong(f"{where}: the spans are no list")
    return value


def _checked(text: str, spans: Sequence[Any], where: str) -> tuple[tuple[str, int, int], ...]:
    found: list[tuple[str, int, int]] = []
    for span in spans:
        try:
            start, end, label = int(span["start"]), int(span["end"]), str(span["label"]).strip()
        except (TypeError, KeyError, ValueError):
            raise _wrong(f"{where}: a span must have start, end and label, is {span!r}") from None
        if not 0 <= start < end <= len(text) or not text[start:end].strip() or not label:
            raise _wrong(
                f"{where}: the span {start} to {end} '{label}' is none of a text of {len(text)} code"
                " points"
            )
        found.append((label, start, end))
    return tuple(sorted(found, key=lambda span: span[1]))


def _overlaps(row: _Row) -> bool:
    spans = row.marked.spans
    return any(start < end for (_, _, end), (_, start, _) in pairwise(spans))


def _wrong(message: str) -> InvalidArgument:
    return InvalidArgument(message, reason="INVALID_DATA")


def _from_markup(text: str) -> tuple[str, tuple[tuple[str, int, int], ...]]:
    """Return the text without markup, and the spans that it marked."""
    plain, spans, at = "", [], 0
    for found in _MARKUP.finditer(text):
        plain += text[at : found.start()]
        spans.append((found[2], len(plain), len(plain) + len(found[1])))
        plain += found[1]
        at = found.end()
    return plain + text[at:], tuple(spans)
