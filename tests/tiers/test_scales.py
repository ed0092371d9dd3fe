"""A scorer: one embedding for all scales, and places between the ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.tiers.small_bundle import WordEncoder, scorer_bundle

from slmesh.tiers.scales import ScaleScorer, expected_place


def test_a_text_is_encoded_once_for_all_scales(tmp_path: Path) -> None:
    encoder = WordEncoder()
    scorer = ScaleScorer(scorer_bundle(tmp_path), encoder)
    predictions = scorer.predict(["the card", "the card", "a loan"], ["size", "mood"])
    assert sorted(encoder.texts) == ["a loan", "the card"]
    assert [len(answers) for answers in predictions.values()] == [3, 3]


def test_nothing_is_remembered_between_calls(tmp_path: Path) -> None:
    encoder = WordEncoder()
    scorer = ScaleScorer(scorer_bundle(tmp_path), encoder)
    scorer.predict(["the card"], ["size"])
    scorer.predict(["the card"], ["size"])
    assert encoder.texts == ["the card", "the card"]


def test_only_the_scales_asked_for_are_answered(tmp_path: Path) -> None:
    scorer = ScaleScorer(scorer_bundle(tmp_path), None)
    assert list(scorer.predict(["the card"], ["mood"])) == ["mood"]


@pytest.mark.parametrize(
    ("probabilities", "place"),
    [
        pytest.param([1.0, 0.0, 0.0], 0.0, id="lowest"),
        pytest.param([0.0, 1.0, 0.0], 0.5, id="middle"),
        pytest.param([0.0, 0.0, 0.0, 1.0], 1.0, id="highest"),
        pytest.param([0.25, 0.25, 0.25, 0.25], 0.5, id="unknown"),
    ],
)
def test_the_place_is_the_mean_of_the_levels(probabilities: list[float], place: float) -> None:
    assert expected_place(np.array(probabilities)) == pytest.approx(place)
