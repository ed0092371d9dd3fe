"""The two tiers together: who answers, who abstains, and what happens without an encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.tiers.small_bundle import (
    LABELS,
    SURE,
    TEXTS,
    WordEncoder,
    calibration,
    classifier_bundle,
    tensors,
)

from slmesh.mesh.errors import FailedPrecondition
from slmesh.tiers.classifier import TIER_CHOICES, TwoTierClassifier

NEVER_SURE = {**SURE, "switch": 1.01}


def classifier(folder: Path, encoder: WordEncoder | None = None, **changes) -> TwoTierClassifier:
    return TwoTierClassifier.from_bundle(classifier_bundle(folder, **changes), encoder)


def only_card_in_scope() -> dict:
    """Return numbers by which a text is in scope as far as the linear tier scores high."""
    numbers = calibration()
    for tier in numbers.values():
        tier["scope_intercept"] = -4.0
    numbers["linear"]["scope_weights"] = [8.0, 0.0, 0.0, 0.0]
    numbers["encoder"]["scope_weights"] = [0.0, 0.0, 8.0, 0.0]
    return numbers


@pytest.mark.parametrize("choice", TIER_CHOICES)
def test_every_choice_of_tiers_knows_the_texts(tmp_path: Path, choice: str) -> None:
    model = classifier(tmp_path, WordEncoder(), thresholds=NEVER_SURE)
    for column, label in enumerate(LABELS):
        predictions = model.predict(TEXTS[label], choice)
        assert [prediction.top(1)[0] for prediction in predictions] == [column] * 4


def test_the_linear_tier_answers_what_it_is_sure_of(tmp_path: Path) -> None:
    encoder = WordEncoder()
    model = classifier(tmp_path, encoder, thresholds={**SURE, "switch": 0.9})
    sure, unsure = model.predict(["my card is lost, block the card", "the"])
    assert (sure.tier, unsure.tier) == ("linear", "encoder")
    assert encoder.texts == ["the"]


def test_without_an_encoder_the_linear_tier_answers_all(tmp_path: Path) -> None:
    model = classifier(tmp_path, None, thresholds=NEVER_SURE)
    assert [p.tier for p in model.predict(["my card", "the"])] == ["linear", "linear"]


def test_probabilities_add_up_to_one(tmp_path: Path) -> None:
    model = classifier(tmp_path, WordEncoder(), thresholds={**SURE, "switch": 0.9})
    for prediction in model.predict(["my card", "the", "", "loan transfer"]):
        assert prediction.probabilities.sum() == pytest.approx(1.0, abs=1e-5)
        assert 0.0 <= prediction.confidence <= 1.0


@pytest.mark.parametrize("encoder", [None, WordEncoder()], ids=["linear", "encoder"])
def test_a_text_below_the_scope_threshold_is_abstained_on(tmp_path: Path, encoder) -> None:
    thresholds = {"linear_scope": 0.5, "encoder_scope": 0.5, "switch": 1.01}
    model = classifier(tmp_path, encoder, thresholds=thresholds, calibration=only_card_in_scope())
    inside, outside = model.predict(["my card is lost", "zzzz"])
    assert not inside.abstains
    assert outside.abstains
    assert outside.in_scope < 0.5 < inside.in_scope


def test_a_text_without_content_is_never_encoded(tmp_path: Path) -> None:
    encoder = WordEncoder()
    (prediction,) = classifier(tmp_path, encoder, thresholds=NEVER_SURE).predict(["  \n"])
    assert prediction.abstains
    assert not prediction.has_content
    assert prediction.confidence == 0.0
    assert encoder.texts == []


def test_a_batch_is_answered_like_single_texts(tmp_path: Path) -> None:
    model = classifier(tmp_path, WordEncoder(), thresholds={**SURE, "switch": 0.9})
    texts = ["my card is lost", "the", "", "a loan", "zz"]
    for text, together in zip(texts, model.predict(texts), strict=True):
        (alone,) = model.predict([text])
        np.testing.assert_allclose(together.probabilities, alone.probabilities, atol=1e-6)
        assert together.tier == alone.tier


def test_the_cut_of_the_tier_that_answered_is_reported(tmp_path: Path) -> None:
    model = classifier(tmp_path, WordEncoder(), thresholds=NEVER_SURE)
    long_text = "card " * 60
    assert model.predict([long_text], "encoder")[0].truncated_at == 9
    assert model.predict([long_text], "linear")[0].truncated_at is None


def test_top_is_in_order_and_no_longer_than_the_labels(tmp_path: Path) -> None:
    (prediction,) = classifier(tmp_path).predict(["my card"])
    order = prediction.top(100)
    assert sorted(order) == [0, 1, 2]
    assert list(prediction.probabilities[order]) == sorted(prediction.probabilities, reverse=True)


def test_a_bundle_with_values_that_are_not_numbers_is_refused(tmp_path: Path) -> None:
    arrays = tensors()
    arrays["encoder.weights"][0, 0] = np.nan
    with pytest.raises(FailedPrecondition, match=r"encoder\.weights"):
        classifier(tmp_path, WordEncoder(), arrays=arrays)
