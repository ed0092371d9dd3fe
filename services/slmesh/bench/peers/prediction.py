"""The predict function that every peer serves: the same tiers on the same files as a replica of ours.

It runs in a peer's own environment, on numpy, onnxruntime, tokenizers, safetensors and protobuf.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slmesh.mesh.bundle import load_bundle
from slmesh.tiers.classifier import TwoTierClassifier
from slmesh.tiers.encoder import encoder_digest, load_encoder

__all__ = ["CONFIG_FILE", "Predictor", "read_config"]

CONFIG_FILE = "peer.json"
"""In the folder a peer is started in: what to serve and how."""

_LABELS = 3  # as many as a classify answer has when nothing is said


def read_config() -> dict[str, Any]:
    """Return the configuration in the folder this process was started in.

    It has ``bundle``, ``cache_dir``, ``tier``, ``threads``, ``batch_size``, ``batch_wait_ms`` and
    ``port``.
    """
    config: dict[str, Any] = json.loads(Path(CONFIG_FILE).read_text(encoding="utf-8"))
    return config


class Predictor:
    """Classifies texts as a replica does, and answers with values that JSON has.

    Args:
        config: See :func:`read_config`.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Load the model."""
        bundle = load_bundle(Path(config["bundle"]))
        assert bundle.backbone is not None
        digest = encoder_digest(bundle.backbone)
        encoder = load_encoder(Path(config["cache_dir"]), digest, config["threads"])
        self._classifier = TwoTierClassifier.from_bundle(bundle, encoder)
        self._labels = bundle.labels
        self._tier = config["tier"]

    def __call__(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """Return the most probable labels of each text, whether it abstains, and its tier."""
        return [
            {
                "labels": [
                    {"name": self._labels[i], "probability": float(prediction.probabilities[i])}
                    for i in prediction.top(_LABELS)
                ],
                "abstains": prediction.abstains,
                "tier": prediction.tier,
            }
            for prediction in self._classifier.predict(texts, self._tier)
        ]
