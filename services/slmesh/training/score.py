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
    examples: dict[str, Examples] = {}
    held: dict[str, list[Row]] = {}
    for scale, levels in recipe.scales.items():
        train, held[scale] = read_scale(recipe, scale, data_dir)
        examples[scale] = scale_examples(levels, train, held[scale])
    trained, entries, adapter = _trained(recipe, examples, cache_dir, progress)
    draft = Draft(
        recipe,
        _content(recipe, trained, entries),
        {
            f"{scale}.{name}": array
            for scale, tiers in trained.items()
            for name, array in tiers.tensors.items()
        }
        | adapter,
        _method(recipe, trained, {scale: len(rows.texts) for scale, rows in examples.items()}),
        (recipe.folder / "golden.jsonl").read_text(encoding="utf-8"),
    )
    return publish(
        draft,
        lambda bundle: scorer_measured(bundle, held, cache_dir),
        recipe.folder / recipe.version,
        progress,
    )


def _trained(
    recipe: Recipe, examples: Mapping[str, Examples], cache_dir: Path, progress: Progress
) -> tuple[dict[str, TrainedTiers], dict[str, Any], dict[str, np.ndarray]]:
    """Return the tiers of each scale, what the bundle says of tiers, and the adapter's arrays."""

    def shown(scale: str) -> Progress:
        return lambda step, fraction: progress(f"{scale}: {step}", fraction)

    if not recipe.encoder:
        alone = {s: train_linear_alone(recipe, e, shown(s)) for s, e in examples.items()}
        return alone, tier_entries(recipe, ""), {}
    heads: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    adapter: dict[str, np.ndarray] = {}
    if "fine_tuning" in recipe.encoder:
        from slmesh.training.tuned_scales import tune_scales  # needs torch

        encoder, heads = tune_scales(recipe, examples, cache_dir, progress)
        digest, adapter = encoder.adapted_digest, encoder.arrays
        entries = tier_entries(recipe, encoder.backbone_digest, digest)
    else:
        digest = compile_backbone(recipe.encoder["backbone"], cache_dir, progress).digest
        entries = tier_entries(recipe, digest)
    tiers = {
        scale: train_tiers(recipe, rows, cache_dir, digest, shown(scale), heads.get(scale))
        for scale, rows in examples.items()
    }
    return tiers, entries, adapter


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
    recipe: Recipe, trained: Mapping[str, TrainedTiers], entries: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "name": recipe.name,
        "version": recipe.version,
        "contract": "score/v1",
        "label_set": {
            "labels": [f"{s}/{lv}" for s, levels in recipe.scales.items() for lv in levels]
        },
        **entries,
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
    frozen = "fine_tuning" not in recipe.encoder
    head = "a logistic head on" if frozen else "a head on the fine-tuned"
    sentences = [] if frozen else [_tuning_method(recipe)]
    for scale, tiers in trained.items():
        linear, encoder = tiers.calibration["linear"], tiers.calibration.get("encoder")
        sentence = (
            f"{scale} ({', '.join(recipe.scales[scale])}): {sizes[scale]:,} training rows;"
            f" {len(tiers.tensors['linear.buckets']):,} n-grams in the linear tier"
        )
        if encoder:
            sentence += (
                f"; the encoder tier is {head} {recipe.encoder['backbone']}, int8, plus"
                f" {encoder['linear_share']} times the linear tier's scores;"
                f" temperatures {linear['temperature']:.3f} and {encoder['temperature']:.3f}."
            )
        else:
            sentence += f"; temperature {linear['temperature']:.3f}."
        sentences.append(sentence)
    return sentences


def _tuning_method(recipe: Recipe) -> str:
    numbers = recipe.encoder["fine_tuning"]
    return (
        f"{recipe.encoder['backbone']} is fine-tuned on all scales together: its last"
        f" {numbers['layers']} layers through adapters of rank {numbers['rank']} for"
        f" {numbers['epochs']} epochs, levels of a scale weighted alike, weights averaged, merged and"
        " made int8."
    )
