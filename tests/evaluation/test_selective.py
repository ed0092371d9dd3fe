"""Calls saved: a threshold comes from validation texts and is measured on others."""

from __future__ import annotations

import numpy as np
import pytest

from slmesh.budgets.simulation import Traffic
from slmesh.evaluation.selective import curve, least_sure, saved, saved_calls, sure_enough_for
from slmesh.mesh.errors import InvalidArgument
from slmesh.tiers.calibration import least_share


def traffic(*texts: tuple[float, bool]) -> Traffic:
    probability, right = zip(*texts, strict=True)
    return Traffic(np.array(probability), np.array(right), [""] * len(texts))


FIVE = traffic((0.9, True), (0.8, True), (0.8, False), (0.3, True), (0.0, False))


def test_a_text_at_the_threshold_is_answered_and_the_oracle_is_right_about_the_rest():
    found = saved(FIVE, 0.8)
    assert (found.removed, found.precision) == (0.6, pytest.approx(2 / 3))
    assert found.least_precision == least_share(2, 3)
    assert found.accuracy == pytest.approx(0.8)


def test_a_threshold_above_all_saves_nothing_and_loses_nothing():
    found = saved(FIVE, 0.95)
    assert (found.removed, found.precision, found.accuracy) == (0.0, 1.0, 1.0)
    assert found.least_precision == 0.0, "no answer proves nothing"


def test_the_bound_is_that_of_clopper_and_pearson():
    assert least_share(20, 20) == pytest.approx(0.05 ** (1 / 20))
    # P(X >= 8) of a binomial of 10 draws is 5 % at .4931
    assert least_share(8, 10) == pytest.approx(0.49310, abs=1e-5)


def sure_texts(count: int, wrong_below: float) -> Traffic:
    """Return texts of which the less sure are all wrong."""
    probability = (np.arange(count) + 1) / count
    return Traffic(probability, probability > wrong_below, [""] * count)


def test_the_threshold_leaves_room_for_what_the_sample_can_show():
    texts = sure_texts(1000, 0.1)
    few, many = least_sure(texts, 0.95, 200), least_sure(texts, 0.95, 100_000)
    assert few > many
    assert saved(texts, few).precision > 0.95
    # with endless texts the bound is the precision itself: 900 / 947 are right
    assert saved(texts, many).precision == pytest.approx(0.951, abs=0.001)


def test_as_many_texts_as_were_chosen_on_have_the_bound_itself():
    texts = sure_texts(1000, 0.1)
    threshold = least_sure(texts, 0.95, 1000)
    assert saved(texts, threshold).least_precision >= 0.95
    assert saved(texts, threshold - 0.002).least_precision < 0.95, "the next text is one too many"


def test_texts_of_one_probability_stay_together():
    texts = traffic(*[(0.9, True)] * 100, *[(0.5, True)] * 50, *[(0.5, False)] * 50)
    assert least_sure(texts, 0.9, 200) == 0.9


def test_an_abstention_is_never_answered():
    texts = traffic(*[(0.9, True)] * 100, *[(0.0, False)] * 2)
    assert least_sure(texts, 0.9, 102) == 0.9
    with pytest.raises(InvalidArgument, match="is not answered"):
        sure_enough_for(texts, 1.0)


def test_a_target_out_of_reach_is_an_error():
    with pytest.raises(InvalidArgument, match="no threshold reaches") as caught:
        least_sure(traffic((0.9, False), (0.8, True)), 0.99, 2)
    assert caught.value.reason == "TARGET_NOT_REACHED"


@pytest.mark.parametrize(
    ("share", "threshold"), [(0.2, 0.9), (0.21, 0.8), (0.6, 0.8), (0.61, 0.3), (0.8, 0.3)]
)
def test_a_share_is_reached_by_the_highest_threshold(share, threshold):
    assert sure_enough_for(FIVE, share) == threshold
    assert saved(FIVE, threshold).removed >= share


def test_the_threshold_of_validation_texts_is_used_on_the_others():
    other = traffic(*[(0.95, True)] * 30, (0.95, False), *[(0.1, False)] * 9)
    rows = saved_calls(sure_texts(1000, 0.1), other, (0.9,), (0.5,))
    assert [(row["chosen_for"], row["target"]) for row in rows] == [
        ("precision", 0.9),
        ("removed", 0.5),
    ]
    assert rows[0]["validation"]["threshold"] == rows[0]["test"]["threshold"]
    assert rows[1]["validation"]["removed"] == pytest.approx(0.5)
    assert rows[1]["test"]["removed"] == pytest.approx(31 / 40)
    assert rows[1]["test"]["precision"] == pytest.approx(30 / 31)


def test_the_curve_falls_in_coverage_as_the_threshold_rises():
    assert [(one.threshold, one.removed) for one in curve(FIVE)] == [
        (0.3, 0.8),
        (0.8, 0.6),
        (0.9, 0.2),
    ]
