"""Reads a user's file of texts and labels: CSV or JSON Lines, UTF-8, gzip or not.

Rows keep the number a user sees: of a CSV file the record, where the header is row 1, as in a
spreadsheet; of JSON Lines the line. It judges form, not content: what the texts and labels are like is
for ``slmesh.factory.inspection``.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmesh.mesh.errors import InvalidArgument
from slmesh.mesh.naming import suggestion

__all__ = ["Columns", "TableRow", "read_records", "read_table"]

_TEXT_NAMES = (
    "text", "utterance", "message", "sentence", "query", "question", "content", "body", "input",
)  # fmt: skip
_LABEL_NAMES = (
    "label", "intent", "category", "class", "topic", "tag", "target", "level", "labels", "output",
    "answer", "passage",
)  # fmt: skip
_SPLIT_NAMES = ("split", "fold", "partition")
_DELIMITERS = ",;\t|"
_FOREIGN = {
    b"PK\x03\x04": "a spreadsheet or another zip archive; export it as CSV",
    b"\xff\xfe": "UTF-16; save it as UTF-8",
    b"\xfe\xff": "UTF-16; save it as UTF-8",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet; export it as CSV",
    b"PAR1": "Parquet; export it as CSV or JSON Lines",
}


@dataclass(frozen=True)
class Columns:
    """Which columns to read; an empty name is guessed.

    Attributes:
        text: The column with the text.
        label: The column with the label.
        split: The column that says ``train`` or ``validation``, if the file is split already.
    """

    text: str = ""
    label: str = ""
    split: str = ""


@dataclass(frozen=True)
class TableRow:
    """One row.

    Attributes:
        number: Where a user finds it in the file, >= 1.
        text: The text, as it stands in the file.
        label: The label without white space around it; empty when there is none.
        split: What the split column says, in lower case; empty when there is none.
    """

    number: int
    text: str
    label: str
    split: str = ""


def read_table(path: Path, wanted: Columns, encoding: str = "utf-8") -> list[TableRow]:
    """Return all rows of a file, in order.

    Args:
        path: ``.csv``, ``.tsv``, ``.jsonl`` or ``.json`` (lines), each also with ``.gz``; any other
            name is told by its first character.
        wanted: The columns.
        encoding: Of the file; a byte order mark is skipped.

    Raises:
        InvalidArgument: The file is missing, not of these formats, not in this encoding, lacks a
            column or has a row of another shape; file, row and column are named.
    """
    records = read_records(path, encoding)
    known = dict.fromkeys(name for _, record in records for name in record)
    columns = _columns(path, list(known), wanted)
    return [_row(path, number, record, columns) for number, record in records]


def read_records(path: Path, encoding: str = "utf-8") -> list[tuple[int, Mapping[str, Any]]]:
    """Return all rows of a file with their numbers, columns by name.

    Args:
        path: See :func:`read_table`.
        encoding: Of the file.

    Raises:
        InvalidArgument: The file is missing, not of these formats, or not in this encoding.
    """
    text = _decoded(path, encoding)
    name = path.name.removesuffix(".gz")
    lines = name.endswith((".jsonl", ".json", ".ndjson"))
    if not lines and not name.endswith((".csv", ".tsv")):
        lines = text.lstrip().startswith("{")
    records = list(_json_lines(path, text) if lines else _csv_records(path, text))
    if not records:
        raise _wrong(f"{path} has no rows", reason="NO_ROWS")
    return records


def _decoded(path: Path, encoding: str) -> str:
    try:
        raw = path.read_bytes()
        if path.suffix == ".gz":
            raw = gzip.decompress(raw)
    except (OSError, EOFError) as error:
        raise _wrong(f"{path} cannot be read: {error}", reason="DATA_MISSING") from error
    for start, what in _FOREIGN.items():
        if raw.startswith(start) and encoding == "utf-8":
            raise _wrong(f"{path} is {what}", reason="WRONG_ENCODING")
    try:
        return raw.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise _wrong(
            f"{path}, line {line}: byte 0x{raw[error.start]:02x} is not {encoding.upper()}; save the"
            " file as UTF-8, or name its encoding with --encoding (latin-1, cp1252, ...)",
            reason="WRONG_ENCODING",
        ) from None
    except LookupError:
        raise _wrong(f"there is no encoding '{encoding}'", field="encoding") from None


def _json_lines(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    # Not splitlines: a string may hold other line separators than the line feed.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise _wrong(f"{path}, row {number}: not JSON: {error}") from None
        if not isinstance(row, dict):
            raise _wrong(f"{path}, row {number}: not an object with columns")
        yield number, row


def _csv_records(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise _wrong(f"{path}, line {line}: a zero byte; this is not a text file")
    header_line = text.split("\n", 1)[0]
    delimiter = max(_DELIMITERS, key=header_line.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    number = 0
    header: list[str] = []
    try:
        for number, fields in enumerate(reader, start=1):
            if number == 1:
                header = [name.strip() for name in fields]
                _check_header(path, header)
            elif any(field.strip() for field in fields):
                if len(fields) != len(header):
                    raise _wrong(
                        f"{path}, row {number}: {len(fields)} columns where the header has"
                        f" {len(header)}; quote texts that hold '{delimiter}'"
                    )
                yield number, dict(zip(header, fields, strict=True))
    except csv.Error as error:
        raise _wrong(f"{path}, row {number + 1}: {error}") from None


def _check_header(path: Path, header: Sequence[str]) -> None:
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise _wrong(f"{path}: the header has the column '{twice[0]}' twice")


def _columns(path: Path, known: Sequence[str], wanted: Columns) -> Columns:
    """Return the columns to read, all that were not named guessed."""
    for name in (wanted.text, wanted.label, wanted.split):
        if name and name not in known:
            raise _wrong(
                f"{path} has no column '{name}'{suggestion(name, known)}",
                reason="WRONG_COLUMNS",
            )
    split = wanted.split or _first(known, _SPLIT_NAMES)
    free = [name for name in known if name != split]
    text = wanted.text or _first([n for n in free if n != wanted.label], _TEXT_NAMES)
    label = wanted.label or _first([n for n in free if n != text], _LABEL_NAMES)
    if len(free) == 2:  # of two columns, one known tells the other
        text = text or next((n for n in free if label and n != label), "")
        label = label or next((n for n in free if text and n != text), "")
    for found, what in ((text, "text"), (label, "label")):
        if not found:
            raise _wrong(
                f"{path}: which column is the {what}? It has {_listed(known)}; name it with"
                f" --{what}-column",
                reason="WRONG_COLUMNS",
            )
    if text == label:
        raise _wrong(f"{path}: '{text}' cannot be text and label at once", reason="WRONG_COLUMNS")
    return Columns(text, label, split)


def _row(path: Path, number: int, record: Mapping[str, Any], columns: Columns) -> TableRow:
    for column in (columns.text, columns.label):
        if column not in record:
            raise _wrong(f"{path}, row {number}: no column '{column}'", reason="WRONG_COLUMNS")
    text = record[columns.text]
    if text is not None and not isinstance(text, str):
        raise _wrong(
            f"{path}, row {number}: column '{columns.text}' holds no text but {text!r}",
            reason="WRONG_COLUMNS",
        )
    label = record[columns.label]
    if isinstance(label, (list, dict)):
        raise _wrong(
            f"{path}, row {number}: column '{columns.label}' holds several labels; give one",
            reason="WRONG_COLUMNS",
        )
    split = record.get(columns.split) if columns.split else None
    return TableRow(number, text or "", _plain(label), _plain(split).lower())


def _plain(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _first(known: Sequence[str], names: Sequence[str]) -> str:
    """Return the first of some names that a file has, in any case."""
    by_lower = {name.lower(): name for name in reversed(known)}
    return next((by_lower[name] for name in names if name in by_lower), "")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _wrong(
    message: str, *, reason: str = "INVALID_DATA", field: str | None = None
) -> InvalidArgument:
    return InvalidArgument(message, reason=reason, field=field)
