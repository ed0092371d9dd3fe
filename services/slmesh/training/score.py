"""Makes the bundle of a scorer from its recipe: a two-tier classifier for each scale.

Read, train each scale, measure by the code that serves, write. It knows the shape of a scorer's
bundle; the fitting is elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slmesh.mesh.bundle import Bundle
from slmesh.mesh.errors import FailedPrecondition
from slmesh.training.classify import data_entries, ngram_numbers, tier_entries
from slmesh.training.evaluate import Row
from slmesh.training.linear_alone import train_linear_alone
from slmesh.training.publish import Draft, publish, scorer_measured
from slmesh.training.recipe import DataFile, Recipe
from slmesh.training.rows import normalised, read_file, split_rows
from slmesh.training.two_tiers import Examples, TrainedTiers, train_tiers
from slmesh.weights.compile import compile_backbone
from slmesh.weights.fetch import Progress

__all__ = ["read_scale", "scale_examples", "train_scorer"]


def train_scorer(recipe: Recipe, data_dir: Path, cache_dir: Path, progress: Progress) -> Bundle:
    """Train a scorer and write its bundle beside the recipe.

    Raises:
        FailedPrecondition: A data file is missing or not the pinned one, or a level has no rows.
    """
    backbone_digest = ""
    if recipe.encoder:
        backbone_digest = compile_backbone(recipe.encoder["backbone"], cache_dir, progress).digest
    trained: dict[str, TrainedTiers] = {}
    held: dict[str, list[Row]] = {}
    sizes: dict[str, int] = {}
    for scale, levels in recipe.scales.items():
        train, held[scale] = read_scale(recipe, scale, data_dir)
        sizes[scale] = len(train)
        examples = scale_examples(levels, train, held[scale])

        def show(step: str, fraction: float, scale: str = scale) -> None:
            progress(f"{scale}: {step}", fraction)

        if backbone_digest:
            trained[scale] = train_tiers(recipe, examples, cache_dir, backbone_digest, show)
        else:
            trained[scale] = train_linear_alone(recipe, examples, show)
    draft = Draft(
        recipe,
        _content(recipe, trained, backbone_digest),
        {
            f"{scale}.{name}": array
            for scale, tiers in trained.items()
            for name, array in tiers.tensors.items()
        },
        _method(recipe, trained, sizes),
        (recipe.folder / "golden.jsonl").read_text(encoding="utf-8"),
    )
    return publish(
        draft,
        lambda bundle: scorer_measured(bundle, held, cache_dir),
        recipe.folder / recipe.version,
        progress,
    )


def scale_examples(levels: Sequence[str], train: Sequence[Row], held: Sequence[Row]) -> Examples:
    """Return rows as training takes them, levels as columns."""
    column = {level: i for i, level in enumerate(levels)}
    return Examples(
        [row.text for row in train],
        np.array([column[row.label] for row in train]),
        [row.text for row in held],
        np.array([column[row.label] for row in held]),
    )


def read_scale(recipe: Recipe, scale: str, data_dir: Path) -> tuple[list[Row], list[Row]]:
    """Return the training and the validation rows of one scale.

    Raises:
        FailedPrecondition: A level of the scale has no training or no validation row.
    """
    train: list[Row] = []
    held: list[Row] = []
    for data_set in recipe.data:
        for file in data_set.files:
            if file.kind != scale:
                continue
            parts = split_rows(read_file(recipe, file, data_dir), file)
            for target, part in zip((train, held), parts, strict=True):
                labelled = ((str(row[file.text]), _level(row, file)) for row in part)
                target.extend(Row(text, level) for text, level in labelled if level is not None)
    known = {normalised(row.text) for row in held}
    train = [row for row in train if normalised(row.text) not in known]
    for name, rows in (("training", train), ("validation", held)):
        for level in recipe.scales[scale]:
            if not any(row.label == level for row in rows):
                raise FailedPrecondition(
                    f"recipe '{recipe.name}': no {name} row of level '{level}' of '{scale}'",
                    reason="INVALID_DATA",
                )
    return train, held


def _level(row: Any, file: DataFile) -> str | None:
    if "*" in file.levels:
        return file.levels["*"]
    return file.levels.get(json.dumps(row[file.label]))


def _content(
    recipe: Recipe, trained: Mapping[str, TrainedTiers], backbone_digest: str
) -> dict[str, Any]:
    return {
        "name": recipe.name,
        "version": recipe.version,
        "contract": "score/v1",
        "label_set": {
            "labels": [f"{s}/{lv}" for s, levels in recipe.scales.items() for lv in levels]
        },
        **tier_entries(recipe, backbone_digest),
        "calibration": {scale: tiers.calibration for scale, tiers in trained.items()},
        "thresholds": {scale: tiers.thresholds for scale, tiers in trained.items()},
        "parameters": {
            "ngrams": ngram_numbers(recipe.linear),
            # A list, because the keys of a bundle's mappings are sorted.
            "scales": [{"name": s, "levels": levels} for s, levels in recipe.scales.items()],
        },
        "data": data_entries(recipe),
        "recipe_digest": recipe.digest,
    }


def _method(recipe: Recipe, trained: dict[str, TrainedTiers], sizes: dict[str, int]) -> list[str]:
    sentences = []
    for scale, tiers in trained.items():
        linear, encoder = tiers.calibration["linear"], tiers.calibration.get("encoder")
        sentence = (
            f"{scale} ({', '.join(recipe.scales[scale])}): {sizes[scale]:,} training rows;"
            f" {len(tiers.tensors['linear.buckets']):,} n-grams in the linear tier"
        )
        if encoder:
            sentence += (
                f"; the encoder tier is a logistic head on {recipe.encoder['backbone']}, frozen,"
                f" int8, plus {encoder['linear_share']} times the linear tier's scores;"
                f" temperatures {linear['temperature']:.3f} and {encoder['temperature']:.3f}."
            )
        else:
            sentence += f"; temperature {linear['temperature']:.3f}."
        sentences.append(sentence)
    return sentences
