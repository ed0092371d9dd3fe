"""Trains both tiers of a classifier whose encoder is fine-tuned.

Fine-tune, compile what serving will run, and fit the rest on that. The adapter travels in the bundle
beside the other arrays. It knows no data set.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from slmesh.mesh.bundle import digest_of
from slmesh.training.finetune import FineTuned, TuningRows, fine_tune
from slmesh.training.recipe import Recipe
from slmesh.training.two_tiers import Examples, TrainedTiers, train_tiers
from slmesh.weights.adapter import PREFIX
from slmesh.weights.compile import backbone_folder, compile_adapted
from slmesh.weights.fetch import Progress

__all__ = ["TunedTiers", "train_tuned_tiers"]


@dataclass(frozen=True)
class TunedTiers:
    """Both tiers, and what their encoder is.

    Attributes:
        tiers: With the adapter among the arrays.
        backbone_digest: Digest of the backbone before fine-tuning.
        adapted_digest: What the fine-tuned encoder is compiled under.
        tuned: The fine-tuning.
    """

    tiers: TrainedTiers
    backbone_digest: str
    adapted_digest: str
    tuned: FineTuned


def train_tuned_tiers(
    recipe: Recipe, examples: Examples, cache_dir: Path, progress: Progress
) -> TunedTiers:
    """Fine-tune the encoder, compile it, and train, calibrate and choose thresholds on it.

    A run that was ended goes on after its last whole epoch.

    Args:
        recipe: The numbers; those of the fine-tuning are ``encoder.fine_tuning``.
        examples: The rows.
        cache_dir: The folder of everything fetched or compiled, and of checkpoints.
        progress: Told of each step.

    Raises:
        FailedPrecondition: A digest is wrong, or what it takes is not installed.
    """
    reference = recipe.encoder["backbone"]
    backbone = backbone_folder(reference, cache_dir, progress)
    rows = TuningRows(
        examples.texts,
        examples.labels,
        examples.outside,
        examples.held_texts,
        examples.held_labels,
    )
    checkpoint = cache_dir / "training" / recipe.name
    numbers = recipe.encoder["fine_tuning"]
    tuned = fine_tune(backbone, rows, numbers, recipe.seed, checkpoint, progress)
    name = f"{recipe.name} {recipe.version}"
    compiled = compile_adapted(reference, tuned.adapter, cache_dir, progress, name=name)
    head = (tuned.weights, tuned.bias)
    tiers = train_tiers(recipe, examples, cache_dir, compiled.digest, progress, head)
    tiers.tensors.update({PREFIX + name: array for name, array in tuned.adapter.items()})
    digest = digest_of(backbone / "model.safetensors")
    return TunedTiers(tiers, digest, compiled.digest, tuned)
