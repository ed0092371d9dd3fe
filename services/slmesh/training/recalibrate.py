"""Calibrates a trained classifier anew: temperatures, scope and thresholds, weights as they are.

For validation rows that are nearer to what the model meets than those it was made with. It knows no
bundle and no file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from slmesh.tiers.calibration import fit_logistic, fit_temperature
from slmesh.tiers.classifier import (
    ENCODER,
    LINEAR,
    EncoderHead,
    linear_output,
    linear_scope_features,
)
from slmesh.tiers.linear import LinearTier
from slmesh.training.embeddings import embed
from slmesh.training.fit import Scope, scope_threshold
from slmesh.training.recipe import Recipe
from slmesh.training.two_tiers import (
    Examples,
    TrainedTiers,
    Views,
    choose_thresholds,
    encoder_features,
)
from slmesh.weights.fetch import Progress

__all__ = ["recalibrate"]


def recalibrate(
    recipe: Recipe,
    fitted: TrainedTiers,
    examples: Examples,
    cache_dir: Path,
    encoder_digest: str,
    progress: Progress,
) -> TrainedTiers:
    """Return a classifier with the same weights, calibrated on other validation rows.

    Args:
        recipe: What may be lost by thresholds, and how texts are hashed.
        fitted: The classifier.
        examples: Of it, the validation rows. Without any out of scope, the scope model stays.
        cache_dir: The folder of everything fetched or compiled.
        encoder_digest: What the encoder is compiled under; empty for a linear tier alone.
        progress: Told of each step.
    """
    tier = LinearTier.from_tensors(fitted.tensors, recipe.linear, prefix="linear.")
    held, outside = tier.scores(examples.held_texts), tier.scores(examples.held_outside)
    scope = _scope(
        fitted.calibration[LINEAR], linear_scope_features(held), linear_scope_features(outside)
    )
    temperature = fit_temperature(held.scores, examples.held_labels)
    calibration: dict[str, Any] = {LINEAR: {"temperature": temperature, **scope.numbers()}}
    if not encoder_digest:
        output = linear_output(held, calibration[LINEAR])
        threshold = scope_threshold(
            output,
            output.probabilities.argmax(axis=1) == examples.held_labels,
            linear_output(outside, calibration[LINEAR]),
            float(recipe.scope["most_right_answers_lost"]),
        )
        return replace(fitted, calibration=calibration, thresholds={"linear_scope": threshold})
    model = EncoderHead.from_tensors(fitted.tensors, fitted.calibration[ENCODER], f"{ENCODER}.")
    views, out_views = (
        Views(
            scores,
            embed(texts, cache_dir, encoder_digest, progress) if texts else np.zeros((0, 1)),
        )
        for scores, texts in ((held, examples.held_texts), (outside, examples.held_outside))
    )
    logits = model.logits(views.embeddings, held.scores)
    scope = _scope(
        fitted.calibration[ENCODER],
        encoder_features(model, views),
        encoder_features(model, out_views),
    )
    calibration[ENCODER] = {
        **fitted.calibration[ENCODER],
        "temperature": fit_temperature(logits, examples.held_labels),
        **scope.numbers(),
    }
    thresholds = choose_thresholds(recipe, examples, calibration, model, views, out_views)
    return replace(fitted, calibration=calibration, thresholds=thresholds)


def _scope(numbers: Mapping[str, Any], inside: np.ndarray, outside: np.ndarray) -> Scope:
    """Return a scope model with the same direction, its slope and intercept fitted again."""
    weights = tuple(numbers["scope_weights"])
    before = Scope(weights, numbers["scope_intercept"])
    if not len(outside) or not any(weights):
        return before
    scores = np.concatenate([before.scores(inside), before.scores(outside)])
    slope, intercept = fit_logistic(scores, np.arange(len(scores)) < len(inside))
    return Scope(
        tuple(float(weight * slope) for weight in weights),
        float(numbers["scope_intercept"] * slope + intercept),
    )
