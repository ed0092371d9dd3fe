"""Reads a recipe: the data sets and the numbers a model is made from, and nothing else.

The rows of a data set never travel with the project; a recipe names each set's public source,
commit, licence and the digest of every file, and the caller says where the files lie.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from slmesh.mesh.bundle import digest_of
from slmesh.mesh.errors import FailedPrecondition
from slmesh.mesh.naming import suggestion

__all__ = ["DataFile", "DataSet", "Recipe", "load_recipe"]

_KEYS = ("name", "version", "contract", "seed", "description", "data", "linear", "encoder", "scope")
_OPTIONAL_KEYS = ("scales", "limits")
_SET_KEYS = ("name", "source", "commit", "licence", "attribution", "files")
_FILE_KEYS = (
    *("path", "sha256", "split", "kind", "text", "label", "skip", "rows", "levels"),
    *("asked", "about"),
)
_SPLITS = ("train", "validation", "bucket", "buckets")


@dataclass(frozen=True)
class DataFile:
    """One file of a data set, and what it is for.

    Attributes:
        path: Relative to the data folder, or to the recipe's folder when it starts with ``./``.
        sha256: Hexadecimal digest of its bytes.
        split: ``train``, ``validation``, or ``bucket``: rows in bucket 7 of the digest of their
            text validate, the others train; or ``buckets``: of a file with test rows too, buckets
            0 to 6 train, 7 validates, 8 and 9 are left alone.
        kind: What its rows are for: ``in_scope``, ``out_of_scope``, or the name of a scale; for an
            extractor ``in_scope``, or ``beside`` for fields that are learnt and forgotten.
        text: The column with the text.
        label: The column with the label, or "".
        skip: Columns and the values whose rows are left out.
        rows: How many rows to draw at most; all when 0.
        levels: For a scale, the level of each value of the label column, as JSON; rows with
            another value are left out. ``"*"`` is the level of all rows.
        asked: For an extractor, the column with the fields that had been asked for, or "".
        about: For an extractor, the column with the kind of text, told beside the fields, or "".
    """

    path: str
    sha256: str
    split: str
    kind: str
    text: str
    label: str
    skip: Mapping[str, list[str]]
    rows: int
    levels: Mapping[str, str]
    asked: str = ""
    about: str = ""


@dataclass(frozen=True)
class DataSet:
    """One data set with its origin and licence."""

    name: str
    source: str
    commit: str
    licence: str
    attribution: str
    files: tuple[DataFile, ...]


@dataclass(frozen=True)
class Recipe:
    """What a model is made from.

    Attributes:
        folder: Where the recipe lies; bundles are written beside it.
        digest: ``sha256:`` and the digest of the recipe file.
        name: The model's name.
        version: The version of the bundle it makes.
        contract: ``classify``, ``score`` or ``extract``.
        seed: Of everything random.
        description: One paragraph for the card.
        data: The data sets.
        linear: Numbers of the linear tier.
        encoder: Numbers of the encoder tier.
        scope: Numbers of the out-of-scope decision.
        scales: For a scorer, each scale with its levels, lowest first.
        limits: What the model is weak at, one sentence each, for the card.
    """

    folder: Path
    digest: str
    name: str
    version: str
    contract: str
    seed: int
    description: str
    data: tuple[DataSet, ...]
    linear: Mapping[str, Any]
    encoder: Mapping[str, Any]
    scope: Mapping[str, Any]
    scales: Mapping[str, list[str]]
    limits: tuple[str, ...]


def load_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        FailedPrecondition: The file cannot be read, or a key is missing or unknown.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise FailedPrecondition(f"{path}: {error}", reason="INVALID_RECIPE") from error
    _check_keys(str(path), content, _KEYS, _OPTIONAL_KEYS)
    data = tuple(_data_set(path, entry) for entry in content["data"])
    return Recipe(
        **{key: content[key] for key in _KEYS if key != "data"},
        folder=path.parent,
        digest=digest_of(path),
        data=data,
        scales=content.get("scales", {}),
        limits=tuple(content.get("limits", ())),
    )


def _data_set(path: Path, entry: Mapping[str, Any]) -> DataSet:
    where = f"{path}: data set '{entry.get('name', '?')}'"
    _check_keys(where, entry, _SET_KEYS)
    files = []
    for item in entry["files"]:
        _check_keys(where, item, ("path", "sha256", "split", "kind"), _FILE_KEYS)
        if item["split"] not in _SPLITS:
            raise FailedPrecondition(
                f"{where}: unknown split '{item['split']}'", reason="INVALID_RECIPE"
            )
        defaults: dict[str, Any] = {
            "text": "text",
            "label": "",
            "skip": {},
            "rows": 0,
            "levels": {},
        }
        files.append(DataFile(**defaults | item))
    return DataSet(**{key: entry[key] for key in _SET_KEYS if key != "files"}, files=tuple(files))


def _check_keys(
    where: str, content: Any, required: tuple[str, ...], optional: tuple[str, ...] = ()
) -> None:
    if not isinstance(content, Mapping):
        raise FailedPrecondition(f"{where}: not a mapping", reason="INVALID_RECIPE")
    for key in content:
        if key not in required and key not in optional:
            hint = suggestion(str(key), (*required, *optional))
            raise FailedPrecondition(f"{where}: unknown key '{key}'{hint}", reason="INVALID_RECIPE")
    missing = [key for key in required if key not in content]
    if missing:
        raise FailedPrecondition(
            f"{where}: the key '{missing[0]}' is missing", reason="INVALID_RECIPE"
        )
