"""Reads the rows of data sets, checks their digests and splits them the same way every time.

It knows columns and splits, and no model.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slmesh.mesh.bundle import digest_of
from slmesh.mesh.errors import FailedPrecondition
from slmesh.training.recipe import DataFile, Recipe

__all__ = [
    "LabelledRows",
    "bucket",
    "check_file",
    "normalised",
    "read_file",
    "read_labelled",
    "split_rows",
    "validates",
]

_VALIDATION_BUCKET = 7


@dataclass
class LabelledRows:
    """Texts with labels, and texts that have none of them.

    Attributes:
        texts: In scope.
        labels: As many as the texts.
        outside: Texts out of scope.
    """

    texts: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)


def normalised(text: str) -> str:
    """Return a text in lower case with single spaces: what makes two texts the same."""
    return " ".join(text.lower().split())


def bucket(group: str) -> int:
    """Return the bucket in [0, 9] of a group of rows that must not be separated."""
    return int(hashlib.sha256(group.encode()).hexdigest(), 16) % 10


def validates(text: str) -> bool:
    """Return whether a text of a set without a validation split is used to validate."""
    return bucket(normalised(text)) == _VALIDATION_BUCKET


def check_file(path: Path, sha256: str) -> None:
    """Refuse a data file that is missing, or not the one a recipe pins.

    Raises:
        FailedPrecondition: It is; the file is named.
    """
    if not path.is_file():
        raise FailedPrecondition(
            f"{path} is missing; --data-dir must hold the files the recipe names",
            reason="DATA_MISSING",
        )
    expected, found = "sha256:" + sha256, digest_of(path)
    if expected != found:
        raise FailedPrecondition(
            f"{path} is not the file of the recipe: expected {expected}, found {found}",
            reason="DIGEST_MISMATCH",
            metadata={"file": path.name, "expected": expected, "found": found},
        )


def read_file(recipe: Recipe, file: DataFile, data_dir: Path) -> list[dict[str, Any]]:
    """Return the rows of a file that are not skipped, in its order.

    Raises:
        FailedPrecondition: The file is missing, not the pinned one, or a row is not as expected; the
            file and the row are named.
    """
    path = recipe.folder / file.path if file.path.startswith("./") else data_dir / file.path
    check_file(path, file.sha256)
    text = _decoded(path)
    rows: list[dict[str, Any]] = []
    # Not splitlines: a string may hold other line separators than the line feed.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise FailedPrecondition(
                f"{path}, row {number}: not JSON: {error}", reason="INVALID_DATA"
            ) from error
        for column in filter(None, (file.text, file.label)):
            if column not in row:
                raise FailedPrecondition(
                    f"{path}, row {number}: no column '{column}'", reason="INVALID_DATA"
                )
        if not any(str(row.get(column)) in values for column, values in file.skip.items()):
            rows.append(row)
    if file.rows and len(rows) > file.rows:
        rows = random.Random(recipe.seed).sample(rows, file.rows)
    return rows


def _decoded(path: Path) -> str:
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        raise FailedPrecondition(f"{path}: {error}", reason="INVALID_DATA") from error
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        row = raw[: error.start].count(b"\n") + 1
        raise FailedPrecondition(
            f"{path}, row {row}: byte 0x{raw[error.start]:02x} is not UTF-8",
            reason="INVALID_DATA",
        ) from None


def split_rows(
    rows: Sequence[Mapping[str, Any]], file: DataFile
) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Return the rows that train and the rows that validate."""
    if file.split == "train":
        return list(rows), []
    if file.split == "validation":
        return [], list(rows)
    if file.split == "buckets":
        rows = [
            row for row in rows if bucket(normalised(str(row[file.text]))) <= _VALIDATION_BUCKET
        ]
    held = [validates(str(row[file.text])) for row in rows]
    train = [row for row, out in zip(rows, held, strict=True) if not out]
    return train, [row for row, out in zip(rows, held, strict=True) if out]


def read_labelled(recipe: Recipe, data_dir: Path) -> tuple[LabelledRows, LabelledRows]:
    """Return the training and the validation rows of a classifier's recipe.

    A text that is in both is taken out of the training rows.

    Raises:
        FailedPrecondition: See :func:`read_file`; or there is only one label.
    """
    train, validation = LabelledRows(), LabelledRows()
    for data_set in recipe.data:
        for file in data_set.files:
            for target, rows in zip(
                (train, validation),
                split_rows(read_file(recipe, file, data_dir), file),
                strict=True,
            ):
                texts = [str(row[file.text]) for row in rows]
                if file.kind == "out_of_scope":
                    target.outside.extend(texts)
                else:
                    target.texts.extend(texts)
                    target.labels.extend(str(row[file.label]) for row in rows)
    held = {normalised(text) for text in validation.texts + validation.outside}
    kept = [i for i, text in enumerate(train.texts) if normalised(text) not in held]
    train.texts = [train.texts[i] for i in kept]
    train.labels = [train.labels[i] for i in kept]
    train.outside = [text for text in train.outside if normalised(text) not in held]
    if len(set(train.labels)) < 2:
        raise FailedPrecondition(
            f"recipe '{recipe.name}': a classifier needs two labels or more, found"
            f" {sorted(set(train.labels))}",
            reason="INVALID_DATA",
        )
    return train, validation
