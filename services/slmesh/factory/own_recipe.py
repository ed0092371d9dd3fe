"""Turns a user's inspected rows into a recipe with its data beside it, as every model here has.

The recipe, the rows and the golden rows lie in the model's folder, so that ``slmesh train`` makes the
same bundle again. The numbers are those that did well on public sets of short texts.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from slmesh.factory.inspection import Inspected
from slmesh.factory.table import TableRow
from slmesh.mesh.bundle import digest_of
from slmesh.mesh.errors import InvalidArgument

__all__ = ["Provided", "ordered_levels", "write_recipe"]

_GOLDEN_ROWS = 30
_FEW_TEXTS = 500
_LINEAR = {
    "bits": 18,
    "word_sizes": [1, 2],
    "char_sizes": [2, 3, 4, 5],
    "max_features": 12288,
    "inverse_regularisation": 0.5,
    "class_weight": "none",
}
_ENCODER = {
    "inverse_regularisation": 10,
    "class_weight": "none",
    "linear_shares": [0.0, 0.5, 1.0, 1.5, 2.0, 3.0],
}
_SCOPE = {
    "most_right_answers_lost": 0.01,
    "most_accuracy_lost_by_switch": 0.002,
    "most_outside_let_in_by_switch": 0.005,
}


@dataclass(frozen=True)
class Provided:
    """What the card says of a user's file, and which parts the model gets.

    Attributes:
        file: The file.
        description: One sentence on what the model is for.
        licence: Of the data.
        backbone: The encoder's name or folder; empty for the linear tier alone.
        seed: Of everything random.
        levels: For a scale, its levels, lowest first; empty for a classifier.
    """

    file: Path
    description: str
    licence: str
    backbone: str
    seed: int = 13
    levels: tuple[str, ...] = ()


def write_recipe(folder: Path, version: str, inspected: Inspected, provided: Provided) -> Path:
    """Write rows, golden rows and recipe into a model's folder, and return the recipe's path.

    Args:
        folder: The model's folder; its name is the model's.
        version: Of the bundle to make.
        inspected: The rows.
        provided: What is known besides.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = [
        _write_rows(folder, name, split, rows, provided, kind)
        for name, split, rows, kind in (
            ("train", "train", inspected.train, "in_scope"),
            ("validation", "validation", inspected.validation, "in_scope"),
            ("train-outside", "train", inspected.outside, "out_of_scope"),
            ("validation-outside", "validation", inspected.held_outside, "out_of_scope"),
        )
        if rows
    ]
    _write_golden(folder, inspected.validation, provided)
    few = len(inspected.train) < _FEW_TEXTS
    recipe: dict[str, Any] = {
        "name": folder.name,
        "version": version,
        "contract": "score" if provided.levels else "classify",
        "seed": provided.seed,
        "description": provided.description,
        "data": [
            {
                "name": folder.name,
                "source": provided.file.name,
                "commit": digest_of(provided.file),
                "licence": provided.licence,
                "attribution": "the owner of the file",
                "files": files,
            }
        ],
        # an n-gram of a single text teaches nothing but that text, unless texts are few
        "linear": _LINEAR | {"min_count": 1 if few else 2},
        "encoder": _ENCODER | {"backbone": provided.backbone} if provided.backbone else {},
        "scope": dict(_SCOPE),
        "limits": _limits(inspected),
    }
    if provided.levels:
        recipe["scales"] = {folder.name: list(provided.levels)}
    path = folder / "recipe.yaml"
    header = (
        "# Made from a user's file; `slmesh train` makes the bundle again from the rows here.\n"
    )
    text = yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True, width=100)
    path.write_text(header + text, encoding="utf-8")
    return path


def ordered_levels(labels: Iterable[str], given: Sequence[str]) -> tuple[str, ...]:
    """Return the levels of a scale, lowest first: as given, or numbers by their size.

    Raises:
        InvalidArgument: A level that occurs is not among those given, one given does not occur, or
            none are given and the labels are not numbers.
    """
    found = sorted(set(labels))
    if given:
        for level in found:
            if level not in given:
                raise InvalidArgument(
                    f"the level '{level}' occurs and is not among --levels", field="levels"
                )
        for level in given:
            if level not in found:
                raise InvalidArgument(
                    f"no usable row has the level '{level}' of --levels", field="levels"
                )
        return tuple(given)
    try:
        return tuple(sorted(found, key=float))
    except ValueError:
        names = ", ".join(found[:10])
        raise InvalidArgument(
            f"which order do the levels have ({names})? Give them with --levels, lowest first",
            field="levels",
        ) from None


def _write_rows(
    folder: Path, name: str, split: str, rows: Sequence[TableRow], provided: Provided, kind: str
) -> dict[str, Any]:
    """Write rows as JSON Lines, and return what a recipe says of the file."""
    path = folder / f"{name}.jsonl"
    lines = [
        json.dumps({"text": row.text, "label": row.label, "row": row.number}, ensure_ascii=False)
        for row in rows
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    entry: dict[str, Any] = {
        "path": f"./{path.name}",
        "sha256": digest_of(path).removeprefix("sha256:"),
        "split": split,
        "kind": folder.name if provided.levels else kind,
    }
    if kind == "in_scope":
        entry["label"] = "label"
    if provided.levels:
        entry["levels"] = {json.dumps(level): level for level in provided.levels}
    return entry


def _write_golden(folder: Path, rows: Sequence[TableRow], provided: Provided) -> None:
    """Write some validation rows, the labels in turn, as what the model should know for ever."""
    by_label: dict[str, list[TableRow]] = defaultdict(list)
    for row in random.Random(provided.seed).sample(list(rows), len(rows)):
        by_label[row.label].append(row)
    chosen: list[TableRow] = []
    while len(chosen) < _GOLDEN_ROWS and any(by_label.values()):
        chosen += [left.pop() for left in by_label.values() if left]
    scale = {"scale": folder.name} if provided.levels else {}
    lines = [
        json.dumps({"text": row.text, **scale, "label": row.label}, ensure_ascii=False)
        for row in chosen[:_GOLDEN_ROWS]
    ]
    (folder / "golden.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _limits(inspected: Inspected) -> list[str]:
    limits = ["It knows what one file taught it; other texts than those are answered less well."]
    if inspected.buckets:
        shown = ", ".join(map(str, inspected.buckets))
        limits.append(
            f"The file was split by the digest of its texts: buckets {shown} of 0 to 9 validate. Texts"
            " that are nearly the same may be on both sides, which flatters the figures."
        )
    limits.append(
        "The golden rows are validation rows of the same file, not written for the purpose."
    )
    return limits + [f"Of the file: {finding.message}." for finding in inspected.findings]
