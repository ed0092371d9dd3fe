"""Reads rows with labels as cases of the classify and score contracts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from slmesh.api.classify.v1.classify_pb2 import ClassifyRequest
from slmesh.api.score.v1.score_pb2 import ScoreRequest
from slmesh.evaluation.cases import OUT_OF_SCOPE, Cases, ExpectedLabel, ExpectedLevel, RequestCase
from slmesh.evaluation.formats import DataFile
from slmesh.evaluation.label_maps import label_map
from slmesh.evaluation.rows import Row
from slmesh.evaluation.subject import Subject
from slmesh.mesh.naming import nearest

__all__ = ["label_cases", "level_cases"]

_OWN = "golden_labels"
"""The format of files written for the service itself, which may not be out of its scope."""


def label_cases(files: Sequence[DataFile], subject: Subject) -> Cases:
    """Return the cases of a classifier.

    A set of which the service knows at least half of the labels is in its scope; any other set is out
    of its scope, all of it.

    Raises:
        InvalidArgument: A row is wrong, or a set in scope has a label the service does not know.
    """
    cases: list[RequestCase] = []
    left_out: Counter[str] = Counter()
    notes: list[str] = []
    by_set: dict[str, list[tuple[Row, str]]] = {}
    for file in files:
        for row in file.rows:
            label = _label(file.format.name, row)
            by_set.setdefault(file.format.name, []).append((row, label))
    for name, rows in by_set.items():
        inside = _in_scope(name, rows, subject)
        if not inside:
            notes.append(f"{name}: its labels are not those of '{subject.name}': out of scope")
        for row, label in rows:
            reason = "" if inside else _near(name, row, subject)
            if reason:
                left_out[reason] += 1
                continue
            expected = ExpectedLabel(label if inside else OUT_OF_SCOPE)
            request = ClassifyRequest(text=row.text("text"), top_k=1)
            cases.append(RequestCase(name, row.place, expected, (request,)))
    return Cases(tuple(cases), left_out, tuple(notes))


def level_cases(files: Sequence[DataFile], _: Subject) -> Cases:
    """Return the cases of a scorer, one for each text and scale.

    Raises:
        InvalidArgument: A row is wrong.
    """
    cases: list[RequestCase] = []
    left_out: Counter[str] = Counter()
    for file in files:
        name = file.format.name
        for row in file.rows:
            expected = _level(name, row)
            if expected is None:
                left_out[f"{name}: not exactly one level of the scale"] += 1
                continue
            text = row.text(file.format.text)
            request = ScoreRequest(text=text, scales=[expected.scale])
            cases.append(RequestCase(name, row.place, expected, (request,)))
    return Cases(tuple(cases), left_out)


def _label(name: str, row: Row) -> str:
    if name == "goemotions":  # has no intents: nothing in it is in a classifier's scope
        return OUT_OF_SCOPE
    return row.text("label" if name == _OWN else "intent")


def _in_scope(name: str, rows: Sequence[tuple[Row, str]], subject: Subject) -> bool:
    labels = {label for _, label in rows} - {OUT_OF_SCOPE}
    if not subject.labels or not labels:
        return True
    unknown = labels - subject.labels
    if len(unknown) > len(labels) / 2 and name != _OWN:
        return False
    if unknown:
        label = min(unknown)
        row = next(row for row, found in rows if found == label)
        more = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
        raise row.wrong(
            f"the service '{subject.name}' has no label '{label}'{more}"
            f"{_hint(label, subject)}; a text out of scope has the label '{OUT_OF_SCOPE}'"
        )
    return True


def _hint(label: str, subject: Subject) -> str:
    near = nearest(label, subject.labels)
    return f"; did you mean '{near}'?" if near else ""


def _near(name: str, row: Row, subject: Subject) -> str:
    """Return why a row of a set out of scope may be in scope after all, or nothing."""
    for rule in label_map("classify", name) or ():
        if rule["label"] not in subject.labels:
            continue
        for column, values in rule["leave_out"].items():
            if row.values.get(column) in values:
                return f"{name}: {column} {row.values[column]} may be in scope"
    return ""


def _level(name: str, row: Row) -> ExpectedLevel | None:
    mapped: Mapping[str, Any] | None = label_map("score", name)
    if mapped is None:
        return ExpectedLevel(row.text("scale"), row.text("label"))
    column = mapped["column"]
    if "named" in mapped:
        level = mapped["named"].get(row.values.get(column))
    elif isinstance(row.values.get(column), list):
        named = row.items(column)
        level = named[0] if len(named) == 1 else None
    else:
        level = row.text(column)
    if level is None or level not in mapped.get("levels", (level,)):
        return None
    return ExpectedLevel(mapped["scale"], str(level))
