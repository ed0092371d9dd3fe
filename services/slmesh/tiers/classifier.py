"""A classifier in two tiers: linear first, the encoder when the linear tier is not sure enough.

Each tier gives calibrated probabilities over the labels and an estimate of how likely the text is
in scope at all; the confidence of an answer is their product. Without a compiled encoder the linear
tier answers alone. This module knows nothing of requests and responses, and does not train.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from slmesh.mesh.bundle import Bundle
from slmesh.mesh.errors import FailedPrecondition
from slmesh.tiers.calibration import log_sum_exp, sigmoid, softmax
from slmesh.tiers.encoder import Encoded
from slmesh.tiers.linear import LinearScores, LinearTier
from slmesh.tiers.neighbours import Neighbours

__all__ = [
    "ENCODER",
    "LINEAR",
    "TIER_CHOICES",
    "Encoder",
    "EncoderHead",
    "Prediction",
    "ScopeModel",
    "TierOutput",
    "TwoTierClassifier",
    "encoder_output",
    "encoder_scope_features",
    "linear_output",
    "linear_scope_features",
]

LINEAR = "linear"
ENCODER = "encoder"
TIER_CHOICES = ("cascade", LINEAR, ENCODER)
"""What may answer: both tiers in turn, or one of them for every text."""


@dataclass(frozen=True)
class Prediction:
    """What the classifier makes of one text.

    Attributes:
        probabilities: float (C,): calibrated for texts in scope, adding up to 1.
        in_scope: Probability in [0, 1] that the text is in scope.
        confidence: Probability in [0, 1] that the most probable label is right.
        abstains: Whether the text is taken to be out of scope.
        has_content: Whether the text holds any word or mark.
        tier: The tier that decided.
        truncated_at: Offset in code points from which the text was not read, or None.
    """

    probabilities: np.ndarray
    in_scope: float
    confidence: float
    abstains: bool
    has_content: bool
    tier: str
    truncated_at: int | None

    def top(self, count: int) -> list[int]:
        """Return the columns of the most probable labels, in order of falling probability."""
        order = np.argsort(-self.probabilities, kind="stable")[:count]
        return [int(column) for column in order]


@dataclass(frozen=True)
class TierOutput:
    """What one tier makes of some texts, before any decision.

    Attributes:
        probabilities: float (B, C).
        in_scope: float (B,).
    """

    probabilities: np.ndarray
    in_scope: np.ndarray

    @property
    def confidence(self) -> np.ndarray:
        """Probability that the most probable label is right, (B,)."""
        product: np.ndarray = self.probabilities.max(axis=1) * self.in_scope
        return product


class ScopeModel:
    """Estimates how likely a text is in scope, from a few features.

    Args:
        weights: (F,), one for each feature.
        intercept: Added to the weighted sum; calibrated, see the bundle's card.
    """

    def __init__(self, weights: Sequence[float], intercept: float) -> None:
        """Keep the numbers."""
        self._weights = np.asarray(weights, np.float64)
        self._intercept = intercept

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Return P(in scope) for each row of (B, F)."""
        return sigmoid(features @ self._weights + self._intercept)


def linear_scope_features(linear: LinearScores) -> np.ndarray:
    """Return what the linear tier judges scope by, (B, 4).

    The highest score, the log-sum-exp of all ("energy", Liu et al., arXiv 2010.03759), the gap to the
    second, and the share of known n-grams.
    """
    top = np.sort(linear.scores, axis=1)[:, ::-1]
    second = top[:, 1] if top.shape[1] > 1 else np.zeros(len(top))
    energy = log_sum_exp(4.0 * linear.scores)
    return np.stack([top[:, 0], energy, top[:, 0] - second, linear.known], axis=1)


def encoder_scope_features(
    logits: np.ndarray, embeddings: np.ndarray, centroids: np.ndarray, linear: LinearScores
) -> np.ndarray:
    """Return what the encoder tier judges scope by, (B, 4).

    The log-sum-exp of its logits, the cosine with the nearest class centroid, and of the linear tier
    the highest score and the share of known n-grams.
    """
    nearest = (embeddings @ centroids.T).max(axis=1)
    energy = log_sum_exp(logits)
    return np.stack([energy, nearest, linear.scores.max(axis=1), linear.known], axis=1)


class EncoderHead:
    """The task head of the encoder tier: linear in the embedding, plus a share of the linear tier.

    Args:
        weights: (D, C).
        bias: (C,).
        linear_share: What the linear tier's scores are multiplied with before they are added.
        centroids: (C, D), each of length 1.
        neighbours: Training texts whose votes are added, or None.
    """

    def __init__(
        self,
        weights: np.ndarray,
        bias: np.ndarray,
        linear_share: float,
        centroids: np.ndarray,
        neighbours: Neighbours | None = None,
    ) -> None:
        """Keep the arrays in float32."""
        self._neighbours = neighbours
        self._weights = weights.astype(np.float32)
        self._bias = bias.astype(np.float32)
        self._linear_share = np.float32(linear_share)
        self.centroids = centroids.astype(np.float32)

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, np.ndarray], calibration: Mapping[str, Any], prefix: str = ""
    ) -> EncoderHead:
        """Return the head of a bundle.

        Args:
            tensors: ``weights``, ``bias``, ``centroids`` and perhaps those of
                ``neighbours.neighbour_arrays``, each under the prefix.
            calibration: Of the encoder tier.
            prefix: What the names of the arrays begin with.
        """
        return cls(
            tensors[f"{prefix}weights"],
            tensors[f"{prefix}bias"],
            calibration["linear_share"],
            tensors[f"{prefix}centroids"],
            Neighbours.from_tensors(tensors, calibration, prefix),
        )

    def logits(self, embeddings: np.ndarray, linear_scores: np.ndarray) -> np.ndarray:
        """Return logits (B, C) from embeddings (B, D) and the linear tier's scores (B, C)."""
        logits: np.ndarray = (
            embeddings @ self._weights + self._bias + self._linear_share * linear_scores
        )
        if self._neighbours is not None:
            logits += self._neighbours.logits(embeddings)
        return logits


class Encoder(Protocol):
    """What the classifier needs of an encoder; ``SentenceEncoder`` is one."""

    def encode_with_cuts(self, texts: Sequence[str]) -> Encoded:
        """Return embeddings, and for each text where reading stopped."""


class TwoTierClassifier:
    """Classifies texts with one or two tiers.

    Args:
        bundle: A bundle with a linear tier and perhaps an encoder head.
        encoder: The encoder the head was trained on, or None when it is not compiled here.
        prefix: What the names of the bundle's arrays and numbers begin with: "" for a classifier,
            ``<scale>.`` for one of several scales.

    Raises:
        FailedPrecondition: The bundle lacks something, or holds values that are not numbers.
    """

    def __init__(self, bundle: Bundle, encoder: Encoder | None, prefix: str = "") -> None:
        """Read arrays, temperatures, scope models and thresholds."""
        key = prefix.removesuffix(".")
        calibration = bundle.calibration[key] if key else bundle.calibration
        thresholds = bundle.thresholds[key] if key else bundle.thresholds
        tensors = _finite(bundle, prefix)
        self._linear = LinearTier.from_tensors(
            tensors, bundle.parameters["ngrams"], prefix + "linear."
        )
        self._encoder = encoder if prefix + "encoder.weights" in tensors else None
        self._head: EncoderHead | None = None
        if self._encoder is not None:
            self._head = EncoderHead.from_tensors(
                tensors, calibration[ENCODER], f"{prefix}{ENCODER}."
            )
        self._calibration = calibration
        self._thresholds = thresholds

    @classmethod
    def from_bundle(cls, bundle: Bundle, encoder: Encoder | None) -> TwoTierClassifier:
        """Return the classifier of a bundle of the classify contract."""
        return cls(bundle, encoder)

    def predict(self, texts: Sequence[str], choice: str = "cascade") -> list[Prediction]:
        """Classify texts.

        Args:
            texts: What to classify.
            choice: One of :data:`TIER_CHOICES`.

        Returns:
            One prediction for each text, in order.
        """
        linear = self._linear.scores(texts)
        first = linear_output(linear, self._calibration[LINEAR])
        if self._head is None or self._encoder is None or choice == LINEAR:
            threshold = self._thresholds["linear_scope"]
            return _predictions(first, threshold, LINEAR, linear, linear.truncated_at)
        sure = ~linear.has_content
        if choice != ENCODER:
            sure |= first.confidence >= self._thresholds["switch"]
        predictions = _predictions(first, 0.0, LINEAR, linear, linear.truncated_at)
        unsure = np.flatnonzero(~sure).tolist()
        if not len(unsure):
            return predictions
        encoded = self._encoder.encode_with_cuts([texts[i] for i in unsure])
        chosen = _chosen(linear, unsure)
        second = encoder_output(encoded, chosen, self._head, self._calibration[ENCODER])
        threshold = self._thresholds["encoder_scope"]
        answers = _predictions(second, threshold, ENCODER, chosen, encoded.truncated_at)
        for place, answer in zip(unsure, answers, strict=True):
            predictions[place] = answer
        return predictions


def linear_output(linear: LinearScores, calibration: Mapping[str, Any]) -> TierOutput:
    """Return what the linear tier makes of its scores."""
    scope = ScopeModel(calibration["scope_weights"], calibration["scope_intercept"])
    return TierOutput(
        softmax(linear.scores / calibration["temperature"]),
        scope.probabilities(linear_scope_features(linear)),
    )


def encoder_output(
    encoded: Encoded, linear: LinearScores, head: EncoderHead, calibration: Mapping[str, Any]
) -> TierOutput:
    """Return what the encoder tier makes of embeddings and the linear tier's scores."""
    logits = head.logits(encoded.embeddings, linear.scores)
    features = encoder_scope_features(logits, encoded.embeddings, head.centroids, linear)
    scope = ScopeModel(calibration["scope_weights"], calibration["scope_intercept"])
    return TierOutput(softmax(logits / calibration["temperature"]), scope.probabilities(features))


def _predictions(
    output: TierOutput,
    threshold: float,
    tier: str,
    linear: LinearScores,
    cuts: Sequence[int | None],
) -> list[Prediction]:
    confidence = output.confidence
    return [
        Prediction(
            probabilities=output.probabilities[i],
            in_scope=float(output.in_scope[i]),
            confidence=float(confidence[i]) if linear.has_content[i] else 0.0,
            abstains=bool(output.in_scope[i] < threshold) or not linear.has_content[i],
            has_content=bool(linear.has_content[i]),
            tier=tier,
            truncated_at=cuts[i],
        )
        for i in range(len(cuts))
    ]


def _chosen(linear: LinearScores, places: list[int]) -> LinearScores:
    return LinearScores(
        linear.scores[places],
        linear.known[places],
        linear.has_content[places],
        tuple(linear.truncated_at[i] for i in places),
    )


def _finite(bundle: Bundle, prefix: str) -> Mapping[str, np.ndarray]:
    """Return the arrays under a prefix, once no value among them is not a number."""
    tensors = {name: array for name, array in bundle.tensors().items() if name.startswith(prefix)}
    for name, array in tensors.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise FailedPrecondition(
                f"bundle '{bundle.name}': the array {name} holds values that are not numbers",
                reason="INVALID_BUNDLE",
            )
    return tensors
