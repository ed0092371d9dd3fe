"""Makes the bundle of a classifier from its recipe.

Read, train both tiers, measure by the code that serves, write. It knows the shape of a classifier's
bundle; the fitting is elsewhere.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from slmesh.mesh.bundle import Bundle, write_bundle
from slmesh.tiers.answering import Classifying
from slmesh.tiers.classifier import TIER_CHOICES
from slmesh.tiers.encoder import load_encoder
from slmesh.training.card import write_card
from slmesh.training.evaluate import OUT_OF_SCOPE, Row, evaluate_classifier
from slmesh.training.recipe import Recipe
from slmesh.training.rows import LabelledRows, read_labelled
from slmesh.training.two_tiers import Examples, TrainedTiers, train_tiers
from slmesh.weights.compile import compile_backbone
from slmesh.weights.fetch import Progress

__all__ = ["train_classifier"]


def train_classifier(recipe: Recipe, data_dir: Path, cache_dir: Path, progress: Progress) -> Bundle:
    """Train a classifier and write its bundle beside the recipe.

    Raises:
        FailedPrecondition: A data file is missing or not the pinned one.
    """
    train, validation = read_labelled(recipe, data_dir)
    backbone = compile_backbone(recipe.encoder["backbone"], cache_dir, progress)
    labels = sorted(set(train.labels))
    column = {label: i for i, label in enumerate(labels)}
    examples = Examples(
        train.texts,
        np.array([column[label] for label in train.labels]),
        validation.texts,
        np.array([column[label] for label in validation.labels]),
        train.outside,
        validation.outside,
    )
    tiers = train_tiers(recipe, examples, cache_dir, backbone.digest, progress)
    content = _content(recipe, labels, tiers, backbone.digest)
    golden = (recipe.folder / "golden.jsonl").read_text(encoding="utf-8")
    progress("measuring", 0.0)
    with tempfile.TemporaryDirectory() as scratch:
        draft = write_bundle(Path(scratch), content, tiers.tensors, {"golden.jsonl": golden})
        figures = _figures(draft, validation, cache_dir, backbone.digest)
        size = (Path(scratch) / "weights.safetensors").stat().st_size
    content |= {"metrics": figures}
    card = write_card(
        recipe, _method(recipe, train, tiers), {"By tier": figures}, tiers.thresholds, size
    )
    progress("measuring", 1.0)
    return write_bundle(
        recipe.folder / recipe.version,
        content,
        tiers.tensors,
        {"card.md": card, "golden.jsonl": golden},
    )


def _content(
    recipe: Recipe, labels: list[str], tiers: TrainedTiers, backbone_digest: str
) -> dict[str, Any]:
    return {
        "name": recipe.name,
        "version": recipe.version,
        "contract": "classify/v1",
        "label_set": {"labels": labels},
        "tiers": ["linear", "encoder"],
        "backbone": {"name": recipe.encoder["backbone"], "digest": backbone_digest},
        "calibration": tiers.calibration,
        "thresholds": tiers.thresholds,
        "metrics": {},
        "parameters": {"ngrams": ngram_numbers(recipe.linear)},
        "data": data_entries(recipe),
        "recipe_digest": recipe.digest,
    }


def ngram_numbers(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Return what serving needs to hash as training did."""
    return {key: numbers[key] for key in ("bits", "word_sizes", "char_sizes")}


def data_entries(recipe: Recipe) -> list[dict[str, Any]]:
    """Return what a bundle says of the data it was made from."""
    return [
        {
            "name": data_set.name,
            "source": data_set.source,
            "commit": data_set.commit,
            "licence": data_set.licence,
            "attribution": data_set.attribution,
            "sha256": {file.path: file.sha256 for file in data_set.files},
        }
        for data_set in recipe.data
    ]


def _figures(
    bundle: Bundle, validation: LabelledRows, cache_dir: Path, backbone_digest: str
) -> dict[str, Any]:
    rows = [Row(t, label) for t, label in zip(validation.texts, validation.labels, strict=True)]
    rows += [Row(text, OUT_OF_SCOPE) for text in validation.outside]
    encoder = load_encoder(cache_dir, backbone_digest)
    figures = {}
    for choice in TIER_CHOICES:
        serving = Classifying(bundle, encoder, bundle.name, choice)
        figures[choice] = evaluate_classifier(serving.answer, rows, time.process_time)
    return figures


def _method(recipe: Recipe, train: LabelledRows, tiers: TrainedTiers) -> list[str]:
    encoder = tiers.calibration["encoder"]
    return [
        f"{len(train.texts):,} training rows, {len(set(train.labels))} labels;"
        f" {len(train.outside):,} rows out of scope.",
        f"linear: {len(tiers.tensors['linear.buckets']):,} hashed n-grams of words"
        f" {recipe.linear['word_sizes']} and characters {recipe.linear['char_sizes']}, one-against-"
        "rest margins, int8 weights.",
        f"encoder: {recipe.encoder['backbone']}, frozen, int8; a logistic head on its embedding"
        f" plus {encoder['linear_share']} times the linear tier's scores.",
        f"Temperatures on validation rows: {tiers.calibration['linear']['temperature']:.3f} linear,"
        f" {encoder['temperature']:.3f} encoder.",
        "In scope or not: a logistic model a tier, on energy, nearest class centroid, highest score"
        " and share of known n-grams, fitted out of fold, calibrated on validation rows at their"
        " share of texts out of scope.",
        f"The scope thresholds lose at most {recipe.scope['most_right_answers_lost']:.1%} of right"
        " answers; the linear tier answers alone where together with the encoder it loses at most"
        f" {recipe.scope['most_accuracy_lost_by_switch']:.1%} of accuracy.",
    ]
