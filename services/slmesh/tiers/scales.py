"""A scorer: one two-tier classifier for each scale, sharing one embedding of each text.

A text is encoded at most once, and only when a scale's linear tier is not sure enough. This module
knows nothing of requests and responses, and does not train.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from slmesh.mesh.bundle import Bundle
from slmesh.tiers.classifier import Encoder, Prediction, TwoTierClassifier
from slmesh.tiers.encoder import Encoded

__all__ = ["ScaleScorer", "expected_place"]


class ScaleScorer:
    """Places texts on scales.

    Args:
        bundle: A bundle whose ``parameters["scales"]`` lists each scale's ``name`` and ``levels``,
            lowest first.
        encoder: The encoder the heads were trained on, or None when it is not compiled here.

    Raises:
        FailedPrecondition: The bundle lacks something, or holds values that are not numbers.
    """

    def __init__(self, bundle: Bundle, encoder: Encoder | None) -> None:
        """Build a classifier for each scale."""
        self.levels: Mapping[str, tuple[str, ...]] = {
            scale["name"]: tuple(scale["levels"]) for scale in bundle.parameters["scales"]
        }
        self._memory = _RememberingEncoder(encoder) if encoder is not None else None
        self._classifiers = {
            scale: TwoTierClassifier(bundle, self._memory, f"{scale}.") for scale in self.levels
        }

    def predict(
        self, texts: Sequence[str], scales: Sequence[str], choice: str = "cascade"
    ) -> dict[str, list[Prediction]]:
        """Return for each scale asked for one prediction a text, in order."""
        try:
            return {scale: self._classifiers[scale].predict(texts, choice) for scale in scales}
        finally:
            if self._memory is not None:
                self._memory.forget()


class _RememberingEncoder:
    """An encoder that encodes no text twice until told to forget."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._known: dict[str, tuple[np.ndarray, int | None]] = {}

    def encode_with_cuts(self, texts: Sequence[str]) -> Encoded:
        """Return embeddings, and for each text where reading stopped."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            encoded = self._encoder.encode_with_cuts(new)
            pairs = zip(encoded.embeddings, encoded.truncated_at, strict=True)
            self._known.update(zip(new, pairs, strict=True))
        return Encoded(
            np.stack([self._known[text][0] for text in texts]),
            tuple(self._known[text][1] for text in texts),
        )

    def forget(self) -> None:
        """Let go of all texts."""
        self._known.clear()


def expected_place(probabilities: np.ndarray) -> float:
    """Return the mean place in [0, 1] of levels evenly spaced from 0 to 1, (L,) to one number."""
    return float(probabilities @ np.linspace(0.0, 1.0, len(probabilities)))
