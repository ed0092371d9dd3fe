"""Reads from a bundle what an exported graph needs: the classifiers in it and when they abstain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from slmesh.export.graph import Scale
from slmesh.mesh.bundle import Bundle
from slmesh.mesh.errors import FailedPrecondition
from slmesh.tiers.classifier import ENCODER, LINEAR

__all__ = ["LABEL", "described", "has_encoder", "labels_of", "scales_of"]

LABEL = "label"
"""The name of a classifier's one scale."""

_NEVER_SURE = 2.0  # a confidence is at most 1
_NEEDED = ("buckets", "rarity", "weights", "scales", "bias")


def labels_of(bundle: Bundle) -> dict[str, tuple[str, ...]]:
    """Return the labels of each scale, in the order of its columns; a classifier has one scale."""
    scales = bundle.parameters.get("scales")
    if scales is None:
        return {LABEL: bundle.labels}
    return {scale["name"]: tuple(scale["levels"]) for scale in scales}


def has_encoder(bundle: Bundle, choice: str) -> bool:
    """Return whether the encoder tier of a bundle may answer under a choice of tiers."""
    return choice != LINEAR and bundle.backbone is not None and ENCODER in bundle.tiers


def scales_of(bundle: Bundle, choice: str) -> list[Scale]:
    """Return the classifiers of a bundle.

    Args:
        bundle: Of the classify or the score contract.
        choice: Which tiers may answer, see ``tiers.classifier.TIER_CHOICES``.

    Raises:
        FailedPrecondition: The bundle has no linear tier as ``slmesh.tiers`` has it.
    """
    tensors, found = bundle.tensors(), []
    for name in labels_of(bundle):
        prefix = _prefix(name)
        own = {key.removeprefix(prefix): a for key, a in tensors.items() if key.startswith(prefix)}
        missing = [f"linear.{key}" for key in _NEEDED if f"linear.{key}" not in own]
        if missing:
            raise FailedPrecondition(
                f"bundle '{bundle.name}' lacks the arrays {', '.join(missing)}: only models with the"
                " tiers of slmesh.tiers can be exported",
                reason="NOT_EXPORTABLE",
            )
        switch = _NEVER_SURE if choice == ENCODER else _of(bundle.thresholds, name)["switch"]
        found.append(Scale(name, own, _of(bundle.calibration, name), switch))
    return found


def described(
    bundle: Bundle, scales: Sequence[Scale], *, with_encoder: bool
) -> list[dict[str, Any]]:
    """Return what ``model.json`` says of each scale: labels, calibration and thresholds."""
    rows = []
    for scale in scales:
        thresholds = _of(bundle.thresholds, scale.name)
        # As TwoTierClassifier.predict: with an encoder behind it, a sure linear tier never abstains.
        abstain_below = {LINEAR: 0.0 if with_encoder else thresholds["linear_scope"]}
        if with_encoder:
            abstain_below[ENCODER] = thresholds["encoder_scope"]
        tiers = (LINEAR, ENCODER) if with_encoder else (LINEAR,)
        rows.append(
            {
                "name": scale.name,
                "labels": list(labels_of(bundle)[scale.name]),
                "abstain_below": abstain_below,
                "switch": scale.switch,
                "calibration": {tier: dict(scale.calibration[tier]) for tier in tiers},
            }
        )
    return rows


def _prefix(name: str) -> str:
    return "" if name == LABEL else f"{name}."


def _of(values: Any, name: str) -> Any:
    return values if name == LABEL else values[name]
