"""Turns scores into probabilities that can be believed, and measures how far they can.

Pure functions: temperatures for scores of many classes, a logistic curve for one score, the expected
calibration error, and the least share of right answers that a count proves. It knows no model.
"""

from __future__ import annotations

import numpy as np

__all__ = [
    "expected_calibration_error",
    "fit_logistic",
    "fit_temperature",
    "least_share",
    "log_sum_exp",
    "sigmoid",
    "softmax",
]

_ITERATIONS = 60


def softmax(scores: np.ndarray) -> np.ndarray:
    """Return probabilities over the last axis."""
    shifted = np.exp(scores - scores.max(axis=-1, keepdims=True))
    probabilities: np.ndarray = shifted / shifted.sum(axis=-1, keepdims=True)
    return probabilities


def log_sum_exp(scores: np.ndarray) -> np.ndarray:
    """Return the logarithm of the sum of exponentials over the last axis, (B, C) to (B,)."""
    top = scores.max(axis=-1)
    total: np.ndarray = top + np.log(np.exp(scores - top[..., None]).sum(axis=-1))
    return total


def sigmoid(values: np.ndarray) -> np.ndarray:
    """Return the logistic function of each value."""
    # two comparisons cost a small array less than np.clip does
    clipped: np.ndarray = 1.0 / (1.0 + np.exp(-np.minimum(np.maximum(values, -60.0), 60.0)))
    return clipped


def fit_temperature(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature with the least negative log-likelihood of ``softmax(scores / t)``.

    Args:
        scores: (B, C).
        labels: int (B,): the right column of each row.

    Source: Guo et al., On Calibration of Modern Neural Networks, arXiv 1706.04599; found by golden
    section on the logarithm of the temperature in [0.01, 100].
    """
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        scaled = scores / np.exp(log_temperature)
        return float((log_sum_exp(scaled) - scaled[rows, labels]).mean())

    ratio = (np.sqrt(5.0) - 1.0) / 2.0
    low, high = np.log(0.01), np.log(100.0)
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    left_loss, right_loss = loss(left), loss(right)
    for _ in range(_ITERATIONS):
        if left_loss < right_loss:
            high, right, right_loss = right, left, left_loss
            left = high - ratio * (high - low)
            left_loss = loss(left)
        else:
            low, left, left_loss = left, right, right_loss
            right = low + ratio * (high - low)
            right_loss = loss(right)
    return float(np.exp((low + high) / 2.0))


def fit_logistic(scores: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """Return slope and intercept of ``sigmoid(slope * score + intercept)`` as P(right).

    Args:
        scores: (B,).
        right: bool (B,).

    Source: Platt, Probabilistic Outputs for Support Vector Machines, 1999, with his smoothed
    targets; by Newton's method.
    """
    positives, negatives = int(right.sum()), int((~right).sum())
    targets = np.where(right, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    centre, spread = float(scores.mean()), float(scores.std()) or 1.0
    design = np.stack([(scores - centre) / spread, np.ones(len(scores))], axis=1)  # (B, 2)
    weights = np.zeros(2)
    for _ in range(_ITERATIONS):
        predicted = sigmoid(design @ weights)
        gradient = design.T @ (predicted - targets)
        curvature = (design * (predicted * (1 - predicted))[:, None]).T @ design
        step = np.linalg.solve(curvature + 1e-6 * np.eye(2), gradient)
        weights -= np.clip(step, -2.0, 2.0)  # a full step may overshoot where classes separate
    slope = float(weights[0]) / spread
    return slope, float(weights[1]) - slope * centre


def expected_calibration_error(confidences: np.ndarray, right: np.ndarray, bins: int = 15) -> float:
    """Return the mean gap between confidence and accuracy over equal-width bins.

    Args:
        confidences: (B,) in [0, 1].
        right: bool (B,).
        bins: How many bins, >= 1.

    Returns:
        A fraction in [0, 1]; 0 for no rows.
    """
    if not len(confidences):
        return 0.0
    places = np.minimum((confidences * bins).astype(int), bins - 1)
    sizes = np.bincount(places, minlength=bins)
    gaps = np.bincount(places, weights=confidences - right, minlength=bins)
    return float(np.abs(gaps[sizes > 0]).sum() / len(confidences))


def least_share(right: int, total: int, confidence: float = 0.95) -> float:
    """Return the one-sided lower bound of a share that was seen as a count.

    Args:
        right: Of those, >= 0.
        total: At least as many.
        confidence: How surely the true share is above, in (0, 1).

    Source: Clopper and Pearson, Biometrika 26, 1934.
    """
    from scipy.stats import beta

    return float(beta.ppf(1.0 - confidence, right, total - right + 1)) if right else 0.0
