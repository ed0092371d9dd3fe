"""Fitting: small problems whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from slmesh.tiers.calibration import softmax
from slmesh.tiers.classifier import EncoderHead, TierOutput
from slmesh.training.fit import (
    SwitchRows,
    best_linear_share,
    drawn_of_each,
    fit_head,
    fit_linear,
    fit_scope,
    linear_tier,
    scope_threshold,
    switch_threshold,
)

pytest.importorskip("sklearn")

NUMBERS = {
    "bits": 14,
    "word_sizes": [1, 2],
    "char_sizes": [3],
    "min_count": 1,
    "max_features": 60,
    "inverse_regularisation": 1.0,
    "class_weight": "none",
}
TEXTS = [f"{word} {i}" for word in ("red", "green", "blue") for i in range(10)]
LABELS = np.repeat([0, 1, 2], 10)


def test_of_each_label_some_rows_are_drawn_in_their_order() -> None:
    labels = np.array([0, 1] * 50 + [2])
    drawn = drawn_of_each(labels, 10, np.random.default_rng(1))
    assert np.bincount(labels[drawn]).tolist() == [10, 10, 1]
    assert (np.diff(drawn) > 0).all()
    assert drawn_of_each(labels, 50, np.random.default_rng(1)).tolist() == list(range(101))


@pytest.mark.parametrize("classes", [2, 3])
def test_the_linear_tier_learns_words(classes: int) -> None:
    texts, labels = TEXTS[: classes * 10], LABELS[: classes * 10]
    tier = linear_tier(fit_linear(texts, labels, NUMBERS), NUMBERS)
    scores = tier.scores(["red", "green", "blue"][:classes]).scores
    assert scores.shape == (classes, classes)
    assert scores.argmax(axis=1).tolist() == list(range(classes))


def test_no_more_features_are_kept_than_asked_for() -> None:
    arrays = fit_linear(TEXTS, LABELS, NUMBERS | {"max_features": 20})
    assert len(arrays["buckets"]) == 20
    assert (np.diff(arrays["buckets"].astype(int)) > 0).all()


@pytest.mark.parametrize("classes", [2, 3])
def test_the_head_gives_the_probabilities_of_a_logistic_model(classes: int) -> None:
    random = np.random.default_rng(2)
    centres = np.eye(classes, 8)
    labels = np.repeat(np.arange(classes), 40)
    embeddings = (centres[labels] + random.normal(scale=0.3, size=(len(labels), 8))).astype(
        np.float32
    )
    head = fit_head(embeddings, labels, {"inverse_regularisation": 1.0, "class_weight": "none"})
    model = EncoderHead(head["weights"], head["bias"], 0.0, head["centroids"])
    probabilities = softmax(model.logits(embeddings, np.zeros((len(labels), classes))))
    assert (probabilities.argmax(axis=1) == labels).mean() > 0.9
    # A logistic model with an intercept predicts each class as often as it occurs.
    np.testing.assert_allclose(probabilities.mean(axis=0), 1 / classes, atol=0.01)


def test_the_linear_share_that_helps_is_chosen() -> None:
    head = {"weights": np.zeros((4, 2)), "bias": np.zeros(2), "centroids": np.eye(2, 4)}
    labels = np.array([0, 1, 1])
    linear = np.eye(2)[labels]
    assert best_linear_share(head, np.zeros((3, 4)), linear, labels, [0.0, 1.0]) == 1.0


def test_scope_is_learnt_and_calibrated() -> None:
    random = np.random.default_rng(6)
    inside, outside = random.normal(2.0, 1.0, (4000, 4)), random.normal(0.0, 1.0, (4000, 4))
    scope = fit_scope(inside[::2], outside[::2], inside[1::2], outside[1::20])
    found = 1 / (1 + np.exp(-scope.scores(np.vstack([inside[1::2], outside[1::20]]))))
    assert found[:2000].mean() > 0.97
    assert found[2000:].mean() < 0.2
    # Calibrated at the validation rows' share of texts in scope.
    assert found.mean() == pytest.approx(2000 / 2200, abs=0.01)


def test_without_texts_out_of_scope_everything_is_in_scope() -> None:
    nothing = np.zeros((0, 4))
    scope = fit_scope(np.ones((3, 4)), nothing, np.ones((3, 4)), nothing)
    assert (scope.scores(np.array([[-100.0] * 4])) > 10).all()


def output(confidence: list[float]) -> TierOutput:
    """Return a tier's output whose top label has probability 1 and whose scope is given."""
    return TierOutput(np.tile([1.0, 0.0], (len(confidence), 1)), np.array(confidence))


def test_the_scope_threshold_loses_no_more_right_answers_than_allowed() -> None:
    inside = output([i / 100 for i in range(1, 101)])
    right = np.ones(100, bool)
    threshold = scope_threshold(inside, right, output([0.01, 0.04, 0.9]), most_lost=0.05)
    assert (inside.in_scope < threshold).mean() <= 0.05
    assert 0.04 < threshold <= 0.06


def test_the_scope_threshold_is_no_higher_than_it_must_be() -> None:
    inside = output([0.9, 0.95, 1.0])
    threshold = scope_threshold(inside, np.ones(3, bool), output([0.1]), most_lost=0.0)
    assert 0.1 < threshold < 0.11


def test_without_texts_out_of_scope_nothing_is_rejected() -> None:
    assert scope_threshold(output([0.5]), np.ones(1, bool), output([]), 0.5) == 0.0


def switch_rows(linear_right: list[bool], outside: list[float]) -> SwitchRows:
    return SwitchRows(
        linear=output([0.5, 0.7, 0.9, 0.95]),
        linear_right=np.array(linear_right),
        encoder_right=np.ones(4, bool),
        encoder_answers=np.ones(4, bool),
        linear_outside=output(outside),
        encoder_rejects=np.ones(len(outside), bool),
    )


@pytest.mark.parametrize(
    ("linear_right", "outside", "least", "most"),
    [
        pytest.param([True] * 4, [], 0.3, 0.31, id="always-right"),
        pytest.param([False, True, True, True], [], 0.5, 0.7, id="wrong-when-unsure"),
        pytest.param([True] * 4, [0.8, 0.1], 0.8, 0.9, id="lets-texts-in"),
        pytest.param([True, True, True, False], [], 0.95, 1.0, id="wrong-when-sure"),
    ],
)
def test_the_linear_tier_answers_as_much_as_it_may(linear_right, outside, least, most) -> None:
    threshold = switch_threshold(switch_rows(linear_right, outside), 0.0, 0.0)
    assert least <= threshold <= most
