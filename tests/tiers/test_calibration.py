"""Calibration: on scores whose right temperature and curve are known."""

from __future__ import annotations

import numpy as np
import pytest

from slmesh.tiers.calibration import (
    expected_calibration_error,
    fit_logistic,
    fit_temperature,
    log_sum_exp,
    sigmoid,
    softmax,
)


def drawn(temperature: float, rows: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Return scores, and labels drawn from ``softmax(scores / temperature)``."""
    random = np.random.default_rng(3)
    scores = random.normal(scale=3.0, size=(rows, 5))
    cumulative = softmax(scores / temperature).cumsum(axis=1)
    return scores, (random.random((rows, 1)) > cumulative).sum(axis=1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_made_the_labels_is_found(temperature: float) -> None:
    assert fit_temperature(*drawn(temperature)) == pytest.approx(temperature, rel=0.05)


def test_the_curve_that_made_the_labels_is_found() -> None:
    random = np.random.default_rng(4)
    scores = random.normal(loc=5.0, scale=10.0, size=20_000)
    right = random.random(20_000) < sigmoid(0.3 * scores - 1.0)
    slope, intercept = fit_logistic(scores, right)
    assert slope == pytest.approx(0.3, rel=0.1)
    assert intercept == pytest.approx(-1.0, rel=0.1)


def test_a_perfect_separation_still_gives_finite_numbers() -> None:
    scores = np.array([0.0, 1.0, 10.0, 11.0])
    slope, intercept = fit_logistic(scores, scores > 5)
    assert np.isfinite([slope, intercept]).all()
    assert slope > 0


def test_true_probabilities_have_hardly_any_calibration_error() -> None:
    scores, labels = drawn(1.0)
    probabilities = softmax(scores)
    right = probabilities.argmax(axis=1) == labels
    assert expected_calibration_error(probabilities.max(axis=1), right) < 0.015


@pytest.mark.parametrize(
    ("confidences", "right", "error"),
    [
        pytest.param([1.0, 1.0], [True, False], 0.5, id="half-wrong"),
        pytest.param([0.5, 0.5], [True, False], 0.0, id="half-sure"),
        pytest.param([0.0], [True], 1.0, id="never-sure"),
        pytest.param([], [], 0.0, id="no-rows"),
    ],
)
def test_the_calibration_error_of_known_cases(confidences, right, error) -> None:
    found = expected_calibration_error(np.array(confidences), np.array(right, bool))
    assert found == pytest.approx(error)


def test_large_scores_do_not_overflow() -> None:
    scores = np.array([[1e4, 0.0], [-1e4, 0.0]])
    assert np.isfinite(softmax(scores)).all()
    assert np.isfinite(log_sum_exp(scores)).all()
    assert sigmoid(np.array([-1e9, 1e9])).tolist() == pytest.approx([0.0, 1.0])
