"""Judges a user's rows before anything is trained on them, and splits what is fit to use.

Every finding names rows. What can be mended by leaving rows out is left out and said; what cannot is
an error. Rows are split by the bucket of their normalised text, as all data here are, unless the file
says which row is for what. It reads no file and trains nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from slmesh.factory.table import TableRow
from slmesh.mesh.errors import InvalidArgument
from slmesh.training.rows import bucket, normalised

__all__ = ["FEW_ROWS", "Finding", "Inspected", "found_rows", "inspect"]

FEW_ROWS = 5
"""A class with fewer rows is named: what it looks like cannot be learnt from them."""

_NAMED_ROWS = 5
_LEAST_VALIDATION = 10
_FEW_VALIDATION = 100
_BUCKETS = ((7,), (7, 8), (7, 8, 9))
"""Buckets that validate: one in ten, or two or three where one in ten is too few to choose by."""

_SPLITS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
}


@dataclass(frozen=True)
class Finding:
    """Something about the rows that their owner should know.

    Attributes:
        kind: One of ``empty-text``, ``no-label``, ``conflicting-labels``, ``duplicates``,
            ``overlapping-spans``, ``split-leakage``, ``few-rows``, ``similar-labels``,
            ``no-training-row``, ``few-validation-rows``, ``other-split``.
        message: A sentence, with the first rows by number.
        rows: The numbers of all rows it is about.
    """

    kind: str
    message: str
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Inspected:
    """Rows fit to train and validate on.

    Attributes:
        train: Rows in scope that train.
        validation: Rows in scope that validate.
        outside: Rows out of scope that train.
        held_outside: Rows out of scope that validate.
        buckets: The buckets that validate, or none where the file says which rows do.
        findings: What was found, worst first.
    """

    train: tuple[TableRow, ...]
    validation: tuple[TableRow, ...]
    outside: tuple[TableRow, ...]
    held_outside: tuple[TableRow, ...]
    buckets: tuple[int, ...]
    findings: tuple[Finding, ...]


def inspect(rows: Sequence[TableRow], file: str, outside_label: str = "") -> Inspected:
    """Check rows and split them.

    Args:
        rows: As they stand in the file.
        file: The file's name, for errors.
        outside_label: The label of rows that have none of the labels, if there are any.

    Raises:
        InvalidArgument: There are fewer than two labels, or too few rows to train and choose by.
    """
    findings: list[Finding] = []
    usable = _with_content(rows, findings)
    usable = _without_leaks(usable, findings)
    usable = _distinct(usable, findings)
    inside = [row for row in usable if row.label != outside_label or not outside_label]
    outside = [row for row in usable if outside_label and row.label == outside_label]
    by_label = _by_label(inside)
    if len(by_label) < 2:
        raise InvalidArgument(
            f"{file}: two labels or more are needed, all usable rows have {sorted(by_label) or 'none'}"
            + (f" (the first is row {inside[0].number})" if inside else ""),
            reason="ONE_CLASS_ONLY",
        )
    findings += _weak_labels(by_label)
    buckets = _buckets(inside, findings)
    train, validation = _split(inside, buckets, findings)
    if len(validation) < _LEAST_VALIDATION:
        raise InvalidArgument(
            f"{file}: {len(inside)} usable rows leave {len(validation)} to validate on, and"
            f" {_LEAST_VALIDATION} are the least that thresholds can be chosen by; give more rows",
            reason="TOO_FEW_ROWS",
        )
    if len(validation) < _FEW_VALIDATION:
        findings.append(
            Finding(
                "few-validation-rows",
                f"{len(validation)} rows validate: calibration and thresholds are rough, and each row"
                f" is {1 / len(validation):.1%} of every figure",
                (),
            )
        )
    outside_train = [row for row in outside if not _validates(row, buckets)]
    held_outside = [row for row in outside if _validates(row, buckets)]
    return Inspected(
        tuple(train),
        tuple(validation),
        tuple(outside_train),
        tuple(held_outside),
        buckets,
        tuple(findings),
    )


def _with_content(rows: Sequence[TableRow], findings: list[Finding]) -> list[TableRow]:
    """Leave out rows without a text, without a label, or of a split that is not read."""
    empty = [row for row in rows if not row.text.strip()]
    unlabelled = [row for row in rows if row.text.strip() and not row.label]
    if empty:
        findings.append(found_rows("empty-text", "without a text, left out", empty))
    if unlabelled:
        findings.append(found_rows("no-label", "without a label, left out", unlabelled))
    rest = [row for row in rows if row.text.strip() and row.label]
    other = [row for row in rest if row.split and row.split not in _SPLITS]
    if other:
        names = ", ".join(sorted({f"'{row.split}'" for row in other}))
        findings.append(found_rows("other-split", f"of the split {names}, left out", other))
    return [row for row in rest if row not in set(other)]


def _without_leaks(rows: Sequence[TableRow], findings: list[Finding]) -> list[TableRow]:
    """Leave out training rows whose text is in validation too; only a file's own split has any."""
    held = {normalised(row.text) for row in rows if _SPLITS.get(row.split) == "validation"}
    leaked = [
        row for row in rows if _SPLITS.get(row.split) == "train" and normalised(row.text) in held
    ]
    if leaked:
        what = "in training whose text validates too, left out of training"
        findings.append(found_rows("split-leakage", what, leaked))
    return [row for row in rows if row not in set(leaked)]


def _distinct(rows: Sequence[TableRow], findings: list[Finding]) -> list[TableRow]:
    """Keep each text once, and none that has two labels."""
    by_text: dict[str, list[TableRow]] = defaultdict(list)
    for row in rows:
        by_text[normalised(row.text)].append(row)
    groups = list(by_text.values())
    torn = [group for group in groups if len({row.label for row in group}) > 1]
    if torn:
        first = torn[0]
        labels = " and ".join(f"'{label}'" for label in dict.fromkeys(row.label for row in first))
        what = f"with a text that stands under two labels ({labels}, ...), left out"
        findings.append(found_rows("conflicting-labels", what, _flat(torn)))
    kept = [group for group in groups if len({row.label for row in group}) == 1]
    repeated = _flat(group[1:] for group in kept)
    if repeated:
        findings.append(
            found_rows("duplicates", "with the text of an earlier row, left out", repeated)
        )
    return [group[0] for group in kept]


def _weak_labels(by_label: dict[str, list[TableRow]]) -> list[Finding]:
    """Name labels with hardly any rows, and labels that differ in spelling only."""
    findings = []
    for label, rows in sorted(by_label.items()):
        if len(rows) < FEW_ROWS:
            what = f"of label '{label}': fewer than {FEW_ROWS} teach little"
            findings.append(found_rows("few-rows", what, rows))
    spellings: dict[str, list[str]] = defaultdict(list)
    for label in sorted(by_label):
        spellings[label.lower().replace("_", " ").replace("-", " ")].append(label)
    for names in spellings.values():
        if len(names) > 1:
            rarest = min(names, key=lambda name: len(by_label[name]))
            listed = ", ".join(f"'{name}'" for name in names)
            what = f"with the label '{rarest}'; {listed} are taken for different labels"
            findings.append(found_rows("similar-labels", what, by_label[rarest]))
    return findings


def _buckets(rows: Sequence[TableRow], findings: list[Finding]) -> tuple[int, ...]:
    """Return the buckets that validate; none where rows say so themselves."""
    if any(row.split for row in rows):
        unsaid = [row for row in rows if not row.split]
        if unsaid:
            findings.append(
                found_rows("other-split", "without a split, taken for training", unsaid)
            )
        return ()
    for buckets in _BUCKETS:
        if sum(_validates(row, buckets) for row in rows) >= _FEW_VALIDATION:
            return buckets
    return _BUCKETS[-1] if len(rows) < 4 * _FEW_VALIDATION else _BUCKETS[1]


def _split(
    rows: Sequence[TableRow], buckets: tuple[int, ...], findings: list[Finding]
) -> tuple[list[TableRow], list[TableRow]]:
    """Return the rows that train and those that validate; a label always trains."""
    train = [row for row in rows if not _validates(row, buckets)]
    known = {row.label for row in train}
    moved = [row for row in rows if _validates(row, buckets) and row.label not in known]
    if moved:
        what = "with a label that no other row trains, taken for training instead of validation"
        findings.append(found_rows("no-training-row", what, moved))
    chosen = set(moved)
    validation = [row for row in rows if _validates(row, buckets) and row not in chosen]
    return train + moved, validation


def _validates(row: TableRow, buckets: tuple[int, ...]) -> bool:
    if not buckets:
        return _SPLITS.get(row.split) == "validation"
    return bucket(normalised(row.text)) in buckets


def _by_label(rows: Iterable[TableRow]) -> dict[str, list[TableRow]]:
    by_label: dict[str, list[TableRow]] = defaultdict(list)
    for row in rows:
        by_label[row.label].append(row)
    return dict(by_label)


def _flat(groups: Iterable[Sequence[TableRow]]) -> list[TableRow]:
    return sorted((row for group in groups for row in group), key=lambda row: row.number)


def found_rows(kind: str, what: str, rows: Sequence[TableRow]) -> Finding:
    """Return a finding about rows that counts them and names the first."""
    numbers = tuple(row.number for row in rows)
    named = ", ".join(map(str, numbers[:_NAMED_ROWS])) + (
        ", ..." if len(rows) > _NAMED_ROWS else ""
    )
    noun = "row" if len(rows) == 1 else "rows"
    return Finding(kind, f"{len(rows)} {noun} {what}: {noun} {named}", numbers)
