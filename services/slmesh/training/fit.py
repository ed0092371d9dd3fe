"""Fits the parts of a two-tier model: linear weights, encoder head, scope model, thresholds.

Functions only; arrays in, arrays out. Needs scikit-learn. It knows no data set and no bundle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from slmesh.mesh.errors import FailedPrecondition
from slmesh.tiers.calibration import fit_logistic, fit_temperature, log_sum_exp
from slmesh.tiers.classifier import EncoderHead, TierOutput
from slmesh.tiers.linear import LinearFeatures, LinearTier, quantise_columns
from slmesh.tiers.ngrams import NgramHasher

__all__ = [
    "CENTRE_ROWS",
    "Scope",
    "SwitchRows",
    "best_linear_share",
    "drawn_of_each",
    "fit_head",
    "fit_linear",
    "fit_scope",
    "head_arrays",
    "linear_tier",
    "scope_threshold",
    "switch_threshold",
]

_ALWAYS_IN_SCOPE = 30.0
"""The intercept of a scope model without any text out of scope: P(in scope) is 1."""


CENTRE_ROWS = 500
"""Rows of a label that its centre is taken over: more do not move it, and are embedded for nothing."""

_NEVER = 1.01
_SWITCHES = np.round(
    np.concatenate((1 - np.logspace(-4, -2, 21), np.arange(0.985, 0.3, -0.005))), 5
)
"""Thresholds tried, falling; close together near 1, where most of the texts are."""


@dataclass(frozen=True)
class Scope:
    """A scope model: weights of the features, and an intercept."""

    weights: tuple[float, ...]
    intercept: float

    def numbers(self) -> dict[str, Any]:
        """Return what a bundle's calibration says of it."""
        return {"scope_weights": list(self.weights), "scope_intercept": self.intercept}

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Return log-odds of being in scope, (B, F) to (B,)."""
        scores: np.ndarray = features @ np.asarray(self.weights) + self.intercept
        return scores


def fit_linear(
    texts: Sequence[str], labels: np.ndarray, numbers: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Fit the linear tier: one-against-rest margins on the most useful n-grams.

    Args:
        texts: Training texts.
        labels: int (B,) in [0, C).
        numbers: ``bits``, ``word_sizes``, ``char_sizes``, ``min_count``, ``max_features``,
            ``inverse_regularisation`` and ``class_weight`` (``none`` or ``balanced``).

    Returns:
        The arrays of :meth:`LinearTier.from_tensors`, without the prefix.
    """
    svm = _require("sklearn.svm")
    hasher = NgramHasher(numbers["bits"], numbers["word_sizes"], numbers["char_sizes"])
    ngrams = hasher.transform(texts)
    buckets, frequency = np.unique(ngrams.buckets, return_counts=True)
    common = frequency >= numbers["min_count"]
    buckets, frequency = buckets[common], frequency[common]
    rarity = np.log((1 + len(texts)) / (1 + frequency)) + 1.0

    def fitted() -> tuple[Any, Any]:
        matrix = _matrix(LinearFeatures(hasher, buckets, rarity), texts)
        model = svm.LinearSVC(
            C=numbers["inverse_regularisation"],
            random_state=0,
            class_weight=_class_weight(numbers),
        )
        return matrix, model.fit(matrix, labels)

    matrix, model = fitted()
    if len(buckets) > numbers["max_features"]:
        # An n-gram is useful as far as its weights move scores on the texts that have it.
        power = np.asarray(matrix.multiply(matrix).mean(axis=0)).ravel()
        useful = (_coefficients(model) ** 2).sum(axis=1) * power
        kept = np.sort(np.argsort(-useful)[: numbers["max_features"]])
        buckets, rarity = buckets[kept], rarity[kept]
        _, model = fitted()
    weights, scales = quantise_columns(_coefficients(model))
    bias = model.intercept_ if len(model.classes_) > 2 else np.array([-1.0, 1.0]) * model.intercept_
    return {
        "buckets": buckets.astype(np.uint32),
        "rarity": rarity.astype(np.float16).astype(np.float32),
        "weights": weights,
        "scales": scales,
        "bias": np.asarray(bias, np.float32),
    }


def drawn_of_each(labels: np.ndarray, most: int, random: np.random.Generator) -> np.ndarray:
    """Return places of at most so many rows of each label, in their order."""
    kept = [
        random.permutation(np.flatnonzero(labels == label))[:most] for label in np.unique(labels)
    ]
    return np.sort(np.concatenate(kept))


def _class_weight(numbers: Mapping[str, Any]) -> str | None:
    weight = str(numbers["class_weight"])
    return None if weight == "none" else weight


def _coefficients(model: Any) -> np.ndarray:
    """Return weights (K, C); of two classes the second is the mirror of the first."""
    weights: np.ndarray = model.coef_.T
    return weights if weights.shape[1] > 1 else np.hstack([-weights, weights])


def _matrix(features: LinearFeatures, texts: Sequence[str]) -> Any:
    sparse = _require("scipy.sparse")
    rows = features.rows(texts)
    shape = (len(texts), len(features.rarity))
    matrix = sparse.csr_matrix((rows.values, rows.columns, rows.row_starts), shape=shape)
    return matrix.astype(np.float64)


def fit_head(
    embeddings: np.ndarray, labels: np.ndarray, numbers: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Fit the encoder's head: multinomial logistic regression on frozen embeddings.

    Args:
        embeddings: float32 (B, D).
        labels: int (B,) in [0, C).
        numbers: ``inverse_regularisation`` and ``class_weight`` (``none`` or ``balanced``).

    Returns:
        ``weights`` float16 (D, C), ``bias`` float32 (C,), ``centroids`` float16 (C, D).
    """
    linear_model = _require("sklearn.linear_model")
    model = linear_model.LogisticRegression(
        C=numbers["inverse_regularisation"], max_iter=500, class_weight=_class_weight(numbers)
    ).fit(embeddings, labels)
    bias = model.intercept_
    if len(model.classes_) == 2:  # softmax of (-s/2, s/2) is the logistic function of s
        bias = np.array([-0.5, 0.5]) * bias
    weights = _coefficients(model) * (0.5 if len(model.classes_) == 2 else 1.0)
    return head_arrays(weights, bias, embeddings, labels)


def head_arrays(
    weights: np.ndarray, bias: np.ndarray, embeddings: np.ndarray, labels: np.ndarray
) -> dict[str, np.ndarray]:
    """Return a head as a bundle holds it.

    Args:
        weights: (D, C).
        bias: (C,).
        embeddings: float32 (B, D) of training texts, which give the class centroids.
        labels: int (B,) in [0, C).

    Returns:
        ``weights`` float16 (D, C), ``bias`` float32 (C,), ``centroids`` float16 (C, D).
    """
    centroids = np.stack([embeddings[labels == c].mean(axis=0) for c in range(labels.max() + 1)])
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    return {
        "weights": weights.astype(np.float16, order="C"),  # files hold rows
        "bias": np.asarray(bias, np.float32),
        "centroids": centroids.astype(np.float16),
    }


def best_linear_share(
    head: Mapping[str, np.ndarray],
    embeddings: np.ndarray,
    linear_scores: np.ndarray,
    labels: np.ndarray,
    candidates: Sequence[float],
    neighbours: Mapping[str, float] = MappingProxyType({}),
) -> float:
    """Return the share of the linear tier with the least log-loss among the most accurate ones.

    Args:
        head: See :func:`fit_head`, and ``tiers.neighbours.neighbour_arrays`` where it has some.
        embeddings: (B, D) of validation texts.
        linear_scores: (B, C).
        labels: int (B,).
        candidates: Shares to try.
        neighbours: ``neighbour_width`` and ``neighbour_share`` of a head with neighbours.
    """
    found: list[tuple[float, float, float]] = []
    for share in candidates:
        model = EncoderHead.from_tensors(head, {**neighbours, "linear_share": share})
        logits = model.logits(embeddings, linear_scores)
        accuracy = float((logits.argmax(axis=1) == labels).mean())
        scaled = logits / fit_temperature(logits, labels)
        loss = float((log_sum_exp(scaled) - scaled[np.arange(len(labels)), labels]).mean())
        found.append((-accuracy, loss, float(share)))
    return min(found)[2]


def fit_scope(
    inside: np.ndarray,
    outside: np.ndarray,
    held_inside: np.ndarray,
    held_outside: np.ndarray,
) -> Scope:
    """Fit P(in scope): weights on training features, slope and intercept on validation ones.

    Args:
        inside: (B, F) of training texts in scope, computed by models that have not seen them.
        outside: (O, F) of training texts out of scope.
        held_inside: (V, F) of validation texts in scope.
        held_outside: (W, F) of validation texts out of scope.

    Returns:
        The model; one that says 1 when there are no texts out of scope.
    """
    if not len(outside) or not len(held_outside):
        return Scope((0.0,) * inside.shape[1], _ALWAYS_IN_SCOPE)
    linear_model = _require("sklearn.linear_model")
    features = np.vstack([inside, outside])
    target = np.arange(len(features)) < len(inside)
    centre, spread = features.mean(axis=0), features.std(axis=0) + 1e-9
    model = linear_model.LogisticRegression(class_weight="balanced", max_iter=500)
    model.fit((features - centre) / spread, target)
    weights = model.coef_[0] / spread
    raw = Scope(tuple(weights), 0.0)
    held = np.concatenate([raw.scores(held_inside), raw.scores(held_outside)])
    slope, intercept = fit_logistic(held, np.arange(len(held)) < len(held_inside))
    return Scope(tuple(float(w) for w in weights * slope), intercept)


def scope_threshold(
    inside: TierOutput, right: np.ndarray, outside: TierOutput, most_lost: float
) -> float:
    """Return the P(in scope) below which a tier abstains.

    It rejects as many texts out of scope as it can while at most a share ``most_lost`` of the texts
    in scope that would have been answered right is rejected with them.

    Args:
        inside: On validation texts in scope.
        right: bool (V,): whether the most probable label is right.
        outside: On validation texts out of scope.
        most_lost: In [0, 1].
    """
    if not len(outside.in_scope):
        return 0.0
    limit = float(np.quantile(inside.in_scope[right], most_lost))
    # No higher than it must be: the least value that still rejects the same texts.
    rejected = outside.in_scope[outside.in_scope < limit]
    return float(np.nextafter(rejected.max(), 1.0)) if len(rejected) else 0.0


@dataclass(frozen=True)
class SwitchRows:
    """Validation rows that decide when the linear tier answers alone.

    Attributes:
        linear: The linear tier, on texts in scope.
        linear_right: bool (V,): whether its label is right.
        encoder_right: bool (V,): whether the encoder's label is right.
        encoder_answers: bool (V,): whether the encoder tier does not abstain.
        linear_outside: The linear tier, on texts out of scope.
        encoder_rejects: bool (W,): whether the encoder tier abstains on those.
    """

    linear: TierOutput
    linear_right: np.ndarray
    encoder_right: np.ndarray
    encoder_answers: np.ndarray
    linear_outside: TierOutput
    encoder_rejects: np.ndarray


def switch_threshold(rows: SwitchRows, most_lost: float, most_let_in: float) -> float:
    """Return the confidence from which the linear tier answers without the encoder.

    Args:
        rows: Validation rows.
        most_lost: Accuracy that both tiers together may lose against the encoder alone, with and
            without rejection.
        most_let_in: Share of all texts out of scope that the encoder would have rejected and the
            linear tier may answer.

    Returns:
        The least threshold that keeps both, as all higher ones do; above 1 when none does.
    """
    accepted = rows.encoder_right & rows.encoder_answers
    found = _NEVER
    for threshold in _SWITCHES:
        sure = rows.linear.confidence >= threshold
        right = np.where(sure, rows.linear_right, accepted).mean()
        forced = np.where(sure, rows.linear_right, rows.encoder_right).mean()
        let_in = 0.0
        if len(rows.encoder_rejects):
            sure_outside = rows.linear_outside.confidence >= threshold
            let_in = float((sure_outside & rows.encoder_rejects).mean())
        if (
            right < accepted.mean() - most_lost
            or forced < rows.encoder_right.mean() - most_lost
            or let_in > most_let_in
        ):
            break
        found = float(threshold)
    return found


def _require(module: str) -> Any:
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError:
        raise FailedPrecondition(
            f"training needs {module.split('.')[0]}: pip install 'slmesh[train]'",
            reason="EXTRA_NOT_INSTALLED",
        ) from None


def linear_tier(arrays: Mapping[str, np.ndarray], numbers: Mapping[str, Any]) -> LinearTier:
    """Return the tier that will serve these arrays."""
    return LinearTier.from_tensors(arrays, numbers, prefix="")
