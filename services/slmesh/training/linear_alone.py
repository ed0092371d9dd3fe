"""Trains a classifier of one tier: linear, for where no encoder is wanted or there.

As with two tiers, weights come from training rows and everything else from validation rows. It knows
no data set and no bundle.
"""

from __future__ import annotations

import numpy as np

from slmesh.tiers.calibration import fit_temperature
from slmesh.tiers.classifier import LINEAR, linear_output, linear_scope_features
from slmesh.training.fit import fit_linear, fit_scope, linear_tier, scope_threshold
from slmesh.training.recipe import Recipe
from slmesh.training.two_tiers import Examples, TrainedTiers
from slmesh.weights.fetch import Progress

__all__ = ["train_linear_alone"]

_FOLDS = 3


def train_linear_alone(recipe: Recipe, examples: Examples, progress: Progress) -> TrainedTiers:
    """Train, calibrate and choose the threshold of scope.

    Args:
        recipe: The numbers.
        examples: The rows.
        progress: Told of each step.
    """
    progress("fitting the linear tier", 0.0)
    arrays = fit_linear(examples.texts, examples.labels, recipe.linear)
    tier = linear_tier(arrays, recipe.linear)
    held, outside = tier.scores(examples.held_texts), tier.scores(examples.held_outside)
    progress("fitting the scope model", 0.5)
    unseen = _unseen_features(recipe, examples)
    scope = fit_scope(*unseen, linear_scope_features(held), linear_scope_features(outside))
    calibration = {
        LINEAR: {
            "temperature": fit_temperature(held.scores, examples.held_labels),
            **scope.numbers(),
        }
    }
    output = linear_output(held, calibration[LINEAR])
    threshold = scope_threshold(
        output,
        output.probabilities.argmax(axis=1) == examples.held_labels,
        linear_output(outside, calibration[LINEAR]),
        float(recipe.scope["most_right_answers_lost"]),
    )
    tensors = {f"linear.{name}": array for name, array in arrays.items()}
    return TrainedTiers(tensors, calibration, {"linear_scope": threshold})


def _unseen_features(recipe: Recipe, examples: Examples) -> tuple[np.ndarray, np.ndarray]:
    """Return features of texts inside and outside, from models that never saw them."""
    if not len(examples.outside):
        return np.zeros((0, 4)), np.zeros((0, 4))
    folds = np.random.default_rng(recipe.seed).integers(0, _FOLDS, len(examples.texts))
    inside, outside = [], []
    for fold in range(_FOLDS):
        seen = np.flatnonzero(folds != fold).tolist()
        unseen = np.flatnonzero(folds == fold).tolist()
        arrays = fit_linear([examples.texts[i] for i in seen], examples.labels[seen], recipe.linear)
        tier = linear_tier(arrays, recipe.linear)
        inside.append(linear_scope_features(tier.scores([examples.texts[i] for i in unseen])))
        outside.append(linear_scope_features(tier.scores(examples.outside)))
    return np.vstack(inside), np.vstack(outside)
