"""Makes the bundle of a scorer from its recipe: a two-tier classifier for each scale.

Read, train each scale, measure by the code that serves, write. It knows the shape of a scorer's
bundle; the fitting is elsewhere.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from slmesh.mesh.bundle import Bundle, write_bundle
from slmesh.mesh.errors import FailedPrecondition
from slmesh.tiers.answering import Scoring
from slmesh.tiers.classifier import TIER_CHOICES
from slmesh.tiers.encoder import load_encoder
from slmesh.training.card import write_card
from slmesh.training.classify import data_entries, ngram_numbers
from slmesh.training.evaluate import Row, evaluate_scale
from slmesh.training.recipe import DataFile, Recipe
from slmesh.training.rows import normalised, read_file, split_rows
from slmesh.training.two_tiers import Examples, TrainedTiers, train_tiers
from slmesh.weights.compile import compile_backbone
from slmesh.weights.fetch import Progress

__all__ = ["read_scale", "train_scorer"]


def train_scorer(recipe: Recipe, data_dir: Path, cache_dir: Path, progress: Progress) -> Bundle:
    """Train a scorer and write its bundle beside the recipe.

    Raises:
        FailedPrecondition: A data file is missing or not the pinned one, or a level has no rows.
    """
    backbone = compile_backbone(recipe.encoder["backbone"], cache_dir, progress)
    trained: dict[str, TrainedTiers] = {}
    held: dict[str, list[Row]] = {}
    sizes: dict[str, int] = {}
    for scale, levels in recipe.scales.items():
        train, held[scale] = read_scale(recipe, scale, data_dir)
        sizes[scale] = len(train)
        column = {level: i for i, level in enumerate(levels)}
        examples = Examples(
            [row.text for row in train],
            np.array([column[row.label] for row in train]),
            [row.text for row in held[scale]],
            np.array([column[row.label] for row in held[scale]]),
        )

        def show(step: str, fraction: float, scale: str = scale) -> None:
            progress(f"{scale}: {step}", fraction)

        trained[scale] = train_tiers(recipe, examples, cache_dir, backbone.digest, show)
    return _write(recipe, trained, held, sizes, cache_dir, backbone.digest, progress)


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


def _write(
    recipe: Recipe,
    trained: dict[str, TrainedTiers],
    held: dict[str, list[Row]],
    sizes: dict[str, int],
    cache_dir: Path,
    backbone_digest: str,
    progress: Progress,
) -> Bundle:
    tensors = {
        f"{scale}.{name}": array
        for scale, tiers in trained.items()
        for name, array in tiers.tensors.items()
    }
    content: dict[str, Any] = {
        "name": recipe.name,
        "version": recipe.version,
        "contract": "score/v1",
        "label_set": {
            "labels": [f"{s}/{lv}" for s, levels in recipe.scales.items() for lv in levels]
        },
        "tiers": ["linear", "encoder"],
        "backbone": {"name": recipe.encoder["backbone"], "digest": backbone_digest},
        "calibration": {scale: tiers.calibration for scale, tiers in trained.items()},
        "thresholds": {scale: tiers.thresholds for scale, tiers in trained.items()},
        "metrics": {},
        "parameters": {
            "ngrams": ngram_numbers(recipe.linear),
            # A list, because the keys of a bundle's mappings are sorted.
            "scales": [{"name": s, "levels": levels} for s, levels in recipe.scales.items()],
        },
        "data": data_entries(recipe),
        "recipe_digest": recipe.digest,
    }
    golden = (recipe.folder / "golden.jsonl").read_text(encoding="utf-8")
    progress("measuring", 0.0)
    with tempfile.TemporaryDirectory() as scratch:
        draft = write_bundle(Path(scratch), content, tensors, {"golden.jsonl": golden})
        figures = _figures(draft, held, cache_dir, backbone_digest)
        size = (Path(scratch) / "weights.safetensors").stat().st_size
    content |= {"metrics": figures}
    card = write_card(recipe, _method(recipe, trained, sizes), figures, content["thresholds"], size)
    progress("measuring", 1.0)
    texts = {"card.md": card, "golden.jsonl": golden}
    return write_bundle(recipe.folder / recipe.version, content, tensors, texts)


def _figures(
    bundle: Bundle, held: dict[str, list[Row]], cache_dir: Path, backbone_digest: str
) -> dict[str, Any]:
    """Return figures by scale and tier."""
    encoder = load_encoder(cache_dir, backbone_digest)
    serving = {
        choice: Scoring(bundle, encoder, bundle.name, choice).answer for choice in TIER_CHOICES
    }
    return {
        scale: {
            choice: evaluate_scale(serving[choice], scale, rows, time.process_time)
            for choice in TIER_CHOICES
        }
        for scale, rows in held.items()
    }


def _method(recipe: Recipe, trained: dict[str, TrainedTiers], sizes: dict[str, int]) -> list[str]:
    sentences = []
    for scale, tiers in trained.items():
        encoder = tiers.calibration["encoder"]
        sentences.append(
            f"{scale} ({', '.join(recipe.scales[scale])}): {sizes[scale]:,} training rows;"
            f" {len(tiers.tensors['linear.buckets']):,} n-grams in the linear tier; the encoder"
            f" tier is a logistic head on {recipe.encoder['backbone']}, frozen, int8, plus"
            f" {encoder['linear_share']} times the linear tier's scores; temperatures"
            f" {tiers.calibration['linear']['temperature']:.3f} and {encoder['temperature']:.3f}."
        )
    return sentences
