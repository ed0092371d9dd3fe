"""The linear tier: its scores, its arrays, and texts it knows nothing of."""

from __future__ import annotations

import numpy as np
import pytest
from tests.tiers.small_bundle import LABELS, NGRAMS, TEXTS, tensors

from slmesh.mesh.errors import FailedPrecondition
from slmesh.tiers.linear import LinearTier, quantise_columns


@pytest.fixture
def tier() -> LinearTier:
    return LinearTier.from_tensors(tensors(), NGRAMS)


def test_the_texts_it_was_made_from_score_highest_for_their_label(tier: LinearTier) -> None:
    for column, label in enumerate(LABELS):
        assert (tier.scores(TEXTS[label]).scores.argmax(axis=1) == column).all()


def test_a_batch_scores_like_single_texts(tier: LinearTier) -> None:
    texts = ["my card", "", "zzz qqq", "a loan and a transfer"]
    together = tier.scores(texts)
    for row, text in enumerate(texts):
        alone = tier.scores([text])
        np.testing.assert_array_equal(together.scores[row], alone.scores[0])
        assert together.known[row] == alone.known[0]


def test_rows_have_length_one(tier: LinearTier) -> None:
    rows = tier.features.rows(["my card is lost", "nothing known? xyz", "new loan"])
    for start, end in zip(rows.row_starts, rows.row_starts[1:], strict=False):
        if end > start:
            assert np.linalg.norm(rows.values[start:end]) == pytest.approx(1.0, abs=1e-5)


def test_a_text_of_unknown_ngrams_scores_the_bias(tier: LinearTier) -> None:
    scores = tier.scores(["ωψξ"])
    assert scores.scores[0].tolist() == [0.0, 0.0, 0.0]
    assert scores.known[0] == 0.0
    assert scores.has_content[0]


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_white_space_has_no_content(tier: LinearTier, text: str) -> None:
    assert not tier.scores([text]).has_content[0]


def test_a_text_beyond_the_limit_says_where_reading_stopped(tier: LinearTier) -> None:
    assert tier.scores(["x" * 100_001, "x"]).truncated_at == (100_000, None)


def test_a_missing_array_is_named() -> None:
    arrays = tensors()
    del arrays["linear.bias"]
    with pytest.raises(FailedPrecondition, match=r"linear\.bias"):
        LinearTier.from_tensors(arrays, NGRAMS)


def test_values_that_are_not_numbers_are_refused() -> None:
    arrays = tensors()
    arrays["linear.scales"][0] = np.nan
    with pytest.raises(FailedPrecondition, match=r"linear\.scales"):
        LinearTier.from_tensors(arrays, NGRAMS)


def test_rounding_to_int8_is_within_half_a_step() -> None:
    weights = np.random.default_rng(1).normal(size=(50, 4)) * [1.0, 10.0, 0.1, 0.0]
    rounded, scales = quantise_columns(weights)
    assert rounded.dtype == np.int8
    assert (np.abs(rounded * scales - weights) <= scales / 2 + 1e-9).all()
