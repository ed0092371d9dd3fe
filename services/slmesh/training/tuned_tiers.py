"""Trains both tiers of a classifier whose encoder is fine-tuned.

Fine-tune, compile what serving will run, and fit the rest on that. The adapter travels in the bundle
beside the other arrays. It knows no data set.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from slmesh.mesh.bundle import digest_of
from slmesh.training.finetune import FineTuned, TuningRows, fine_tune
from slmesh.training.recipe import Recipe
from slmesh.training.two_tiers import Examples, TrainedTiers, train_tiers
from slmesh.weights.adapter import PREFIX
from slmesh.weights.compile import backbone_folder, compile_adapted
from slmesh.weights.fetch import Progress

__all__ = ["AdaptedEncoder", "train_tuned_tiers", "tune_encoder"]


def train_tuned_tiers(
    recipe: Recipe, examples: Examples, cache_dir: Path, progress: Progress
) -> tuple[TrainedTiers, AdaptedEncoder]:
    """Fine-tune the encoder, compile it, and train, calibrate and choose thresholds on it.

    A run that was ended goes on after its last whole epoch.

    Args:
        recipe: The numbers; those of the fine-tuning are ``encoder.fine_tuning``.
        examples: The rows.
        cache_dir: The folder of everything fetched or compiled, and of checkpoints.
        progress: Told of each step.

    Returns:
        Both tiers, with the adapter among the arrays, and what their encoder is.

    Raises:
        FailedPrecondition: A digest is wrong, or what it takes is not installed.
    """
    rows = TuningRows(
        examples.texts,
        examples.labels,
        examples.outside,
        examples.held_texts,
        examples.held_labels,
    )
    encoder = tune_encoder(recipe, rows, cache_dir, progress)
    head = (encoder.tuned.weights, encoder.tuned.bias)
    tiers = train_tiers(recipe, examples, cache_dir, encoder.adapted_digest, progress, head)
    tiers.tensors.update(encoder.arrays)
    return tiers, encoder


@dataclass(frozen=True)
class AdaptedEncoder:
    """A fine-tuned encoder, compiled.

    Attributes:
        backbone_digest: Digest of the backbone before fine-tuning.
        adapted_digest: What the fine-tuned encoder is compiled under.
        tuned: The fine-tuning.
    """

    backbone_digest: str
    adapted_digest: str
    tuned: FineTuned

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The adapter as a bundle holds it."""
        return {PREFIX + name: array for name, array in self.tuned.adapter.items()}


def tune_encoder(
    recipe: Recipe, rows: TuningRows, cache_dir: Path, progress: Progress
) -> AdaptedEncoder:
    """Fine-tune the encoder of a recipe and compile what serving will run.

    Args:
        recipe: The numbers; those of the fine-tuning are ``encoder.fine_tuning``.
        rows: The rows.
        cache_dir: The folder of everything fetched or compiled, and of checkpoints.
        progress: Told of each step.

    Raises:
        FailedPrecondition: A digest is wrong, or what it takes is not installed.
    """
    reference = recipe.encoder["backbone"]
    backbone = backbone_folder(reference, cache_dir, progress)
    checkpoint = cache_dir / "training" / recipe.name
    numbers = recipe.encoder["fine_tuning"]
    tuned = fine_tune(backbone, rows, numbers, recipe.seed, checkpoint, progress)
    name = f"{recipe.name} {recipe.version}"
    compiled = compile_adapted(reference, tuned.adapter, cache_dir, progress, name=name)
    return AdaptedEncoder(digest_of(backbone / "model.safetensors"), compiled.digest, tuned)
