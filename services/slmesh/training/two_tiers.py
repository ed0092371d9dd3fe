"""Trains both tiers of one classifier, calibrates them and chooses their thresholds.

Weights come from training rows; temperatures, shares and thresholds from validation rows. Test rows
are never read. It knows no data set and no bundle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slmesh.tiers.calibration import fit_temperature
from slmesh.tiers.classifier import (
    EncoderHead,
    TierOutput,
    encoder_output,
    encoder_scope_features,
    linear_output,
    linear_scope_features,
)
from slmesh.tiers.encoder import Encoded
from slmesh.tiers.linear import LinearScores
from slmesh.tiers.neighbours import neighbour_arrays
from slmesh.training.embeddings import embed
from slmesh.training.fit import (
    CENTRE_ROWS,
    SwitchRows,
    best_linear_share,
    drawn_of_each,
    fit_head,
    fit_linear,
    fit_scope,
    head_arrays,
    linear_tier,
    scope_threshold,
    switch_threshold,
)
from slmesh.training.recipe import Recipe
from slmesh.weights.fetch import Progress

__all__ = [
    "Examples",
    "TrainedTiers",
    "Views",
    "choose_thresholds",
    "encoder_features",
    "train_tiers",
]

_FOLDS = 3


@dataclass(frozen=True)
class Examples:
    """The rows of one classifier.

    Attributes:
        texts: Training texts in scope.
        labels: int (B,): their columns.
        held_texts: Validation texts in scope.
        held_labels: int (V,): their columns.
        outside: Training texts out of scope.
        held_outside: Validation texts out of scope.
    """

    texts: Sequence[str]
    labels: np.ndarray
    held_texts: Sequence[str]
    held_labels: np.ndarray
    outside: Sequence[str] = ()
    held_outside: Sequence[str] = ()


@dataclass(frozen=True)
class TrainedTiers:
    """What a bundle needs of a classifier.

    Attributes:
        tensors: Arrays by name, without the classifier's own prefix.
        calibration: Numbers of each tier.
        thresholds: Of scope for each tier, and of the switch between them.
    """

    tensors: dict[str, np.ndarray]
    calibration: dict[str, Any]
    thresholds: dict[str, float]


@dataclass(frozen=True)
class Views:
    """Texts as both tiers see them.

    Attributes:
        linear: The linear tier's scores.
        embeddings: (B, D).
    """

    linear: LinearScores
    embeddings: np.ndarray


def train_tiers(
    recipe: Recipe,
    examples: Examples,
    cache_dir: Path,
    encoder_digest: str,
    progress: Progress,
    tuned_head: tuple[np.ndarray, np.ndarray] | None = None,
) -> TrainedTiers:
    """Train, calibrate and choose thresholds.

    Args:
        recipe: The numbers.
        examples: The rows.
        cache_dir: The folder of everything fetched or compiled.
        encoder_digest: What the encoder is compiled under.
        progress: Told of each step.
        tuned_head: Weights (D, C) and bias (C,) trained together with the encoder; None fits a head
            on its embeddings.
    """
    read = _read_by_encoder(recipe, examples, tuned_head)
    texts = [examples.texts[i] for i in read.tolist()]
    groups = (texts, examples.held_texts, examples.outside, examples.held_outside)
    train, held, outside, held_outside = (
        embed(texts, cache_dir, encoder_digest, progress) if len(texts) else np.zeros((0, 1))
        for texts in groups
    )
    progress("fitting the linear tier", 0.0)
    arrays = fit_linear(examples.texts, examples.labels, recipe.linear)
    tier = linear_tier(arrays, recipe.linear)
    progress("fitting the encoder's head", 0.3)
    numbers = _neighbour_numbers(recipe)
    head = _head(recipe, train, examples.labels[read], tuned_head)
    held_views = Views(tier.scores(examples.held_texts), held)
    out_views = Views(tier.scores(examples.held_outside), held_outside)
    share = best_linear_share(
        head,
        held,
        held_views.linear.scores,
        examples.held_labels,
        recipe.encoder["linear_shares"],
        numbers,
    )
    numbers["linear_share"] = share
    model = EncoderHead.from_tensors(head, numbers)
    progress("fitting the scope models", 0.5)
    fixed = None if tuned_head is None else model
    unseen = _unseen_features(recipe, examples, (train, outside), numbers, fixed, progress)
    calibration = _calibrated(examples, model, numbers, (held_views, out_views), unseen, tuned_head)
    thresholds = choose_thresholds(recipe, examples, calibration, model, held_views, out_views)
    tensors = {f"linear.{name}": array for name, array in arrays.items()}
    tensors |= {f"encoder.{name}": array for name, array in head.items()}
    return TrainedTiers(tensors, calibration, thresholds)


def _read_by_encoder(
    recipe: Recipe, examples: Examples, tuned_head: tuple[np.ndarray, np.ndarray] | None
) -> np.ndarray:
    """Return the places of the training texts whose embeddings are needed: some, or all."""
    if tuned_head is None or len(examples.outside) or recipe.encoder.get("neighbours"):
        return np.arange(len(examples.texts))
    # Only the centroids are left to be made of them.
    return drawn_of_each(examples.labels, CENTRE_ROWS, np.random.default_rng(recipe.seed))


def _neighbour_numbers(recipe: Recipe) -> dict[str, float]:
    """Return what an encoder's calibration says of neighbours; nothing when it has none."""
    numbers = recipe.encoder.get("neighbours", {})
    return {f"neighbour_{name}": float(numbers[name]) for name in sorted(numbers)}


def _head(
    recipe: Recipe,
    embeddings: np.ndarray,
    labels: np.ndarray,
    tuned: tuple[np.ndarray, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Return the arrays of the encoder's head, fitted where it was not trained with the encoder."""
    if tuned is None:
        arrays = fit_head(embeddings, labels, recipe.encoder)
    else:
        arrays = head_arrays(*tuned, embeddings, labels)
    if recipe.encoder.get("neighbours"):
        arrays |= neighbour_arrays(embeddings, labels)
    return arrays


def _calibrated(
    examples: Examples,
    model: EncoderHead,
    numbers: Mapping[str, float],
    views: tuple[Views, Views],
    unseen: list[tuple[np.ndarray, np.ndarray]],
    tuned_head: tuple[np.ndarray, np.ndarray] | None,
) -> dict[str, Any]:
    """Return temperatures and scope models of both tiers, from validation views in and out of scope."""
    held, outside = views
    logits = model.logits(held.embeddings, held.linear.scores)
    held_features = (linear_scope_features(held.linear), encoder_features(model, held))
    out_features = (linear_scope_features(outside.linear), encoder_features(model, outside))
    if tuned_head is not None and len(examples.outside):
        # The encoder has seen every training text, so its scope is fitted on validation texts.
        unseen[1] = (held_features[1], out_features[1])
    scopes = [
        fit_scope(unseen[i][0], unseen[i][1], held_features[i], out_features[i]) for i in (0, 1)
    ]
    return {
        "linear": {
            "temperature": fit_temperature(held.linear.scores, examples.held_labels),
            **scopes[0].numbers(),
        },
        "encoder": {
            "temperature": fit_temperature(logits, examples.held_labels),
            **numbers,
            **scopes[1].numbers(),
        },
    }


def encoder_features(model: EncoderHead, views: Views) -> np.ndarray:
    """Return the scope features of the encoder tier, (B, F)."""
    if not len(views.linear.scores):
        return np.zeros((0, 4))
    logits = model.logits(views.embeddings, views.linear.scores)
    return encoder_scope_features(logits, views.embeddings, model.centroids, views.linear)


def _unseen_features(
    recipe: Recipe,
    examples: Examples,
    embeddings: tuple[np.ndarray, np.ndarray],
    numbers: Mapping[str, float],
    fixed: EncoderHead | None,
    progress: Progress,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return, for each tier, features of texts inside and outside from models that never saw them.

    With a ``fixed`` head, which was trained on all texts, that holds for the linear tier alone.
    """
    train, outside = embeddings
    if not len(examples.outside):
        nothing = (np.zeros((0, 4)), np.zeros((0, 4)))
        return [nothing, nothing]
    folds = np.random.default_rng(recipe.seed).integers(0, _FOLDS, len(examples.texts))
    inside_parts: list[list[np.ndarray]] = [[], []]
    outside_parts: list[list[np.ndarray]] = [[], []]
    for fold in range(_FOLDS):
        progress("fitting the scope models", 0.5 + 0.4 * fold / _FOLDS)
        seen = np.flatnonzero(folds != fold).tolist()
        unseen = np.flatnonzero(folds == fold).tolist()
        arrays = fit_linear([examples.texts[i] for i in seen], examples.labels[seen], recipe.linear)
        tier = linear_tier(arrays, recipe.linear)
        model = fixed
        if model is None:
            head = _head(recipe, train[seen], examples.labels[seen])
            model = EncoderHead.from_tensors(head, numbers)
        for parts, texts, seen_as in (
            (inside_parts, [examples.texts[i] for i in unseen], train[unseen]),
            (outside_parts, examples.outside, outside),
        ):
            views = Views(tier.scores(texts), seen_as)
            parts[0].append(linear_scope_features(views.linear))
            parts[1].append(encoder_features(model, views))
    return [(np.vstack(inside_parts[i]), np.vstack(outside_parts[i])) for i in (0, 1)]


def choose_thresholds(
    recipe: Recipe,
    examples: Examples,
    calibration: Mapping[str, Any],
    model: EncoderHead,
    held: Views,
    outside: Views,
) -> dict[str, float]:
    """Return the thresholds of scope for each tier, and of the switch between them.

    Args:
        recipe: What may be lost.
        examples: The rows; of them the validation labels.
        calibration: Of each tier.
        model: The encoder tier's head.
        held: Validation texts in scope.
        outside: Validation texts out of scope.
    """
    first, first_out = (linear_output(v.linear, calibration["linear"]) for v in (held, outside))
    second = _encoder_output(held, model, calibration)
    second_out = _encoder_output(outside, model, calibration)
    right = [
        output.probabilities.argmax(axis=1) == examples.held_labels for output in (first, second)
    ]
    lost = float(recipe.scope["most_right_answers_lost"])
    encoder_scope = scope_threshold(second, right[1], second_out, lost)
    return {
        "linear_scope": scope_threshold(first, right[0], first_out, lost),
        "encoder_scope": encoder_scope,
        "switch": switch_threshold(
            SwitchRows(
                linear=first,
                linear_right=right[0],
                encoder_right=right[1],
                encoder_answers=second.in_scope >= encoder_scope,
                linear_outside=first_out,
                encoder_rejects=second_out.in_scope < encoder_scope,
            ),
            float(recipe.scope["most_accuracy_lost_by_switch"]),
            float(recipe.scope["most_outside_let_in_by_switch"]),
        ),
    }


def _encoder_output(views: Views, model: EncoderHead, calibration: Mapping[str, Any]) -> TierOutput:
    if not len(views.linear.scores):
        return TierOutput(np.zeros((0, 1)), np.zeros(0))
    encoded = Encoded(views.embeddings, (None,) * len(views.embeddings))
    return encoder_output(encoded, views.linear, model, calibration["encoder"])
