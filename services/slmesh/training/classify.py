"""Makes the bundle of a classifier from its recipe.

Read, train both tiers, measure by the code that serves, write. It knows the shape of a classifier's
bundle; the fitting is elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slmesh.mesh.bundle import Bundle
from slmesh.training.evaluate import OUT_OF_SCOPE, Row
from slmesh.training.linear_alone import train_linear_alone
from slmesh.training.publish import Draft, Measured, classifier_measured, publish
from slmesh.training.recipe import Recipe
from slmesh.training.rows import LabelledRows, read_labelled
from slmesh.training.two_tiers import Examples, TrainedTiers, train_tiers
from slmesh.weights.compile import compile_backbone
from slmesh.weights.fetch import Progress

__all__ = [
    "data_entries",
    "examples_of",
    "measure_classifier",
    "ngram_numbers",
    "tier_entries",
    "train_classifier",
]


def train_classifier(recipe: Recipe, data_dir: Path, cache_dir: Path, progress: Progress) -> Bundle:
    """Train a classifier and write its bundle beside the recipe.

    A recipe without numbers of an encoder makes a bundle of the linear tier alone.

    Raises:
        FailedPrecondition: A data file is missing or not the pinned one.
    """
    train, validation = read_labelled(recipe, data_dir)
    labels = sorted(set(train.labels))
    examples = examples_of(labels, train, validation)
    backbone_digest = adapted_digest = ""
    if not recipe.encoder:
        tiers = train_linear_alone(recipe, examples, progress)
    elif "fine_tuning" in recipe.encoder:
        from slmesh.training.tuned_tiers import train_tuned_tiers  # needs torch

        tiers, encoder = train_tuned_tiers(recipe, examples, cache_dir, progress)
        backbone_digest, adapted_digest = encoder.backbone_digest, encoder.adapted_digest
    else:
        backbone_digest = compile_backbone(recipe.encoder["backbone"], cache_dir, progress).digest
        tiers = train_tiers(recipe, examples, cache_dir, backbone_digest, progress)
    draft = Draft(
        recipe,
        _content(recipe, labels, tiers, tier_entries(recipe, backbone_digest, adapted_digest)),
        tiers.tensors,
        _method(recipe, train, tiers),
        (recipe.folder / "golden.jsonl").read_text(encoding="utf-8"),
    )
    return publish(
        draft,
        lambda bundle: measure_classifier(bundle, validation, cache_dir),
        recipe.folder / recipe.version,
        progress,
    )


def examples_of(labels: Sequence[str], train: LabelledRows, validation: LabelledRows) -> Examples:
    """Return rows as training takes them, labels as columns."""
    column = {label: i for i, label in enumerate(labels)}
    return Examples(
        train.texts,
        np.array([column[label] for label in train.labels]),
        validation.texts,
        np.array([column[label] for label in validation.labels]),
        train.outside,
        validation.outside,
    )


def measure_classifier(bundle: Bundle, validation: LabelledRows, cache_dir: Path) -> Measured:
    """Measure a classifier's bundle on validation rows."""
    inside = [Row(t, label) for t, label in zip(validation.texts, validation.labels, strict=True)]
    outside = [Row(text, OUT_OF_SCOPE) for text in validation.outside]
    return classifier_measured(bundle, inside, outside, cache_dir)


def _content(
    recipe: Recipe, labels: list[str], tiers: TrainedTiers, entries: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "name": recipe.name,
        "version": recipe.version,
        "contract": "classify/v1",
        "label_set": {"labels": labels},
        **entries,
        "calibration": tiers.calibration,
        "thresholds": tiers.thresholds,
        "parameters": {"ngrams": ngram_numbers(recipe.linear)},
        "data": data_entries(recipe),
        "recipe_digest": recipe.digest,
    }


def tier_entries(recipe: Recipe, backbone_digest: str, adapted_digest: str = "") -> dict[str, Any]:
    """Return what a bundle says of its tiers; no backbone when its digest is empty.

    The digest of the adapted encoder is there when the bundle holds an adapter.
    """
    if not backbone_digest:
        return {"tiers": ["linear"], "backbone": None}
    backbone = {"name": recipe.encoder["backbone"], "digest": backbone_digest}
    if adapted_digest:
        backbone["adapted"] = adapted_digest
    return {"tiers": ["linear", "encoder"], "backbone": backbone}


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


def _encoder_method(recipe: Recipe) -> str:
    name, numbers = recipe.encoder["backbone"], recipe.encoder.get("fine_tuning")
    if numbers is None:
        return f"{name}, frozen, int8; a logistic head on its embedding"
    return (
        f"{name}, its last {numbers['layers']} layers fine-tuned through adapters of rank"
        f" {numbers['rank']} for {numbers['epochs']} epochs (weights averaged, label smoothing"
        f" {numbers['label_smoothing']}), merged and made int8; the head trained with it"
    )


def _neighbour_method(encoder: Mapping[str, Any]) -> str:
    if "neighbour_share" not in encoder:
        return "."
    return (
        f" and {encoder['neighbour_share']} times the votes of the training texts near it (a kernel of"
        f" width {encoder['neighbour_width']} in cosine)."
    )


def _scope_rows(recipe: Recipe) -> str:
    if "fine_tuning" in recipe.encoder:
        return "out of fold (linear) and on validation rows (encoder, which has seen the others)"
    return "out of fold"


def _method(recipe: Recipe, train: LabelledRows, tiers: TrainedTiers) -> list[str]:
    linear, encoder = tiers.calibration["linear"], tiers.calibration.get("encoder")
    sentences = [
        f"{len(train.texts):,} training rows, {len(set(train.labels))} labels;"
        f" {len(train.outside):,} rows out of scope.",
        f"linear: {len(tiers.tensors['linear.buckets']):,} hashed n-grams of words"
        f" {recipe.linear['word_sizes']} and characters {recipe.linear['char_sizes']}, one-against-"
        "rest margins, int8 weights.",
    ]
    if encoder:
        sentences.append(
            f"encoder: {_encoder_method(recipe)}, plus {encoder['linear_share']} times"
        )
        sentences[-1] += " the linear tier's scores" + _neighbour_method(encoder)
    temperatures = f"Temperatures on validation rows: {linear['temperature']:.3f} linear"
    sentences.append(
        temperatures + (f", {encoder['temperature']:.3f} encoder." if encoder else ".")
    )
    if not train.outside:
        sentences.append(
            "No rows out of scope were given, so every text with any content gets a label."
        )
    else:
        sentences += [
            "In scope or not: a logistic model a tier, on energy, nearest class centroid, highest"
            f" score and share of known n-grams, fitted {_scope_rows(recipe)}, calibrated on validation"
            " rows at their share of texts out of scope.",
            f"The scope thresholds lose at most {recipe.scope['most_right_answers_lost']:.1%} of"
            " right answers.",
        ]
    if encoder:
        sentences.append(
            "The linear tier answers alone where together with the encoder it loses at most"
            f" {recipe.scope['most_accuracy_lost_by_switch']:.1%} of accuracy."
        )
    return sentences
