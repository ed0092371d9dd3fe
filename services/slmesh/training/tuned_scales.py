"""Fine-tunes one encoder for all scales of a scorer together, each with a head of its own.

One encoder serves all scales of a request, so it is tuned on the rows of all. It knows no data set.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from slmesh.training.column_groups import balanced_weights
from slmesh.training.finetune import TuningRows
from slmesh.training.fit import drawn_of_each
from slmesh.training.recipe import Recipe
from slmesh.training.tuned_tiers import AdaptedEncoder, tune_encoder
from slmesh.training.two_tiers import Examples
from slmesh.weights.fetch import Progress

__all__ = ["tune_scales"]


def tune_scales(
    recipe: Recipe, examples: Mapping[str, Examples], cache_dir: Path, progress: Progress
) -> tuple[AdaptedEncoder, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Fine-tune the encoder on the rows of all scales.

    Args:
        recipe: The numbers; of ``encoder.fine_tuning``, ``repeats`` says how often the rows of a
            small scale are read in an epoch, 1 where it does not name the scale, and ``most_rows``
            how many rows of one level are drawn, all without it.
        examples: The rows of each scale.
        cache_dir: The folder of everything fetched or compiled, and of checkpoints.
        progress: Told of each step.

    Returns:
        The encoder, and the head of each scale: weights (D, C) and bias (C,) of its levels.
    """
    numbers = recipe.encoder["fine_tuning"]
    random = np.random.default_rng(recipe.seed)
    texts: list[str] = []
    held_texts: list[str] = []
    labels, held_labels, sizes = [], [], []
    first = 0
    for scale, rows in examples.items():
        count = len(recipe.scales[scale])
        drawn = drawn_of_each(rows.labels, numbers.get("most_rows", len(rows.labels)), random)
        for _ in range(numbers.get("repeats", {}).get(scale, 1)):
            texts += [rows.texts[i] for i in drawn.tolist()]
            labels.append(rows.labels[drawn] + first)
        held_texts += rows.held_texts
        held_labels.append(rows.held_labels + first)
        sizes.append(count)
        first += count
    groups = np.repeat(np.arange(len(sizes)), sizes)
    columns = np.concatenate(labels)
    weights = balanced_weights(np.bincount(columns, minlength=first).tolist(), groups)
    tuning = TuningRows(
        texts,
        columns,
        held_texts=held_texts,
        held_labels=np.concatenate(held_labels),
        groups=groups,
        weights=weights,
    )
    encoder = tune_encoder(recipe, tuning, cache_dir, progress)
    heads = {
        scale: (encoder.tuned.weights[:, groups == place], encoder.tuned.bias[groups == place])
        for place, scale in enumerate(examples)
    }
    return encoder, heads
