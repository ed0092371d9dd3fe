"""Reads data files as the cases of a service: format, split, contract, limit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from slmesh.evaluation.cases import Cases
from slmesh.evaluation.fields import field_cases
from slmesh.evaluation.formats import FORMATS, DataFile, open_file, split_of
from slmesh.evaluation.labelled import label_cases, level_cases
from slmesh.evaluation.passages import question_cases
from slmesh.evaluation.screening import finding_cases
from slmesh.evaluation.splits import SPLITS, OwnSplits
from slmesh.evaluation.subject import Subject
from slmesh.mesh.errors import InvalidArgument
from slmesh.mesh.naming import suggestion

__all__ = ["read_cases"]

_READERS: Mapping[str, Callable[[Sequence[DataFile], Subject], Cases]] = {
    "classify": label_cases,
    "extract": field_cases,
    "guard": finding_cases,
    "rank": question_cases,
    "score": level_cases,
}


def read_cases(
    paths: Sequence[Path],
    subject: Subject,
    *,
    format_name: str = "",
    split: str = "all",
    limit: int | None = None,
) -> Cases:
    """Read the cases of a service from files.

    Args:
        paths: At least one file.
        subject: The service.
        format_name: The files' format; told by each file's columns when empty.
        split: One of ``all``, ``train``, ``validation``, ``test``.
        limit: The most cases, evenly spread over all; no limit when None.

    Raises:
        InvalidArgument: A file, a row or an argument is wrong; file, line and column are named.
    """
    reader = _READERS.get(subject.contract)
    if reader is None:
        raise InvalidArgument(
            f"service '{subject.name}' speaks the contract {subject.contract}, which has no figures",
            reason="NOT_EVALUATED",
        )
    if split not in SPLITS:
        raise InvalidArgument(f"no split '{split}'{suggestion(split, SPLITS)}", reason="USAGE")
    files = [_readable(open_file(path, format_name), subject) for path in paths]
    chosen = [replace(file, rows=split_of(file, split)) for file in files]
    cases = reader(chosen, subject)
    if not cases.cases:
        why = "; ".join(f"{count} rows: {reason}" for reason, count in cases.left_out.items())
        raise InvalidArgument(
            f"nothing to evaluate in {', '.join(map(str, paths))}, split {split}"
            f"{f' ({why})' if why else ''}",
            reason="NO_CASES",
        )
    notes = [*cases.notes, *_split_notes(chosen, split)]
    if limit is not None and limit < len(cases.cases):
        step = len(cases.cases) / limit
        kept = tuple(cases.cases[int(place * step)] for place in range(limit))
        notes.append(f"{limit} of {len(cases.cases)} cases, evenly spread")
        cases = replace(cases, cases=kept)
    return replace(cases, notes=tuple(notes))


def _readable(file: DataFile, subject: Subject) -> DataFile:
    if subject.contract in file.format.contracts:
        return file
    fitting = [known.name for known in FORMATS.values() if subject.contract in known.contracts]
    raise InvalidArgument(
        f"{file.path}: the format {file.format.name} has nothing for the contract"
        f" {subject.contract} of service '{subject.name}'; formats for it: {', '.join(fitting)}",
        reason="WRONG_FORMAT",
    )


def _split_notes(files: Sequence[DataFile], split: str) -> list[str]:
    if split != "all":
        return []
    whole = {
        file.format.name
        for file in files
        if file.format.splits is OwnSplits.NONE and not file.format.name.startswith("golden_")
    }
    return [
        f"{name} has no splits of its own: if the model was trained on its training part, ask for"
        " --split validation or test"
        for name in sorted(whole)
    ]
