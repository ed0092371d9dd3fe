"""RouteLLM's figures, against cases computed by hand, and what must hold for any router."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slmesh.evaluation.routing_figures import apgr, apgr_intervals, cpt, recovered, router_figures
from slmesh.mesh.errors import InvalidArgument

# four questions: only the strong model knows the first two, both know or miss the third, only the
# weak one knows the last. The gap is 1.
GAINS = np.array([1.0, 1.0, 0.0, -1.0])
BEST, WORST = np.array([4.0, 3.0, 2.0, 1.0]), np.array([1.0, 2.0, 3.0, 4.0])


def test_the_recovered_gap_goes_from_nothing_to_all():
    assert recovered(BEST, GAINS).tolist() == [0.0, 1.0, 2.0, 2.0, 1.0]
    assert recovered(WORST, GAINS).tolist() == [0.0, -1.0, -1.0, 0.0, 1.0]


def test_apgr_is_the_area_under_it():
    # trapezia of width 1/4: (0.5 + 1.5 + 2 + 1.5) / 4 and (-0.5 - 1 - 0.5 + 0.5) / 4
    assert apgr(BEST, GAINS) == pytest.approx(1.375)
    assert apgr(WORST, GAINS) == pytest.approx(-0.375)


def test_cpt_is_the_first_share_that_recovers_so_much():
    assert cpt(BEST, GAINS, 0.5) == pytest.approx(0.125)
    assert cpt(BEST, GAINS, 0.8) == pytest.approx(0.2)
    assert cpt(WORST, GAINS, 0.5) == pytest.approx(0.875)
    assert cpt(WORST, GAINS, 1.0) == 1.0


def test_questions_of_one_score_are_sent_at_random():
    same = np.zeros(4)
    assert recovered(same, GAINS).tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert router_figures(same, GAINS) == {
        "apgr": pytest.approx(0.5),
        "cpt_50": pytest.approx(0.5),
        "cpt_80": pytest.approx(0.8),
    }


def test_two_models_that_are_equally_good_have_no_gap():
    with pytest.raises(InvalidArgument, match="no gap"):
        apgr(np.arange(2.0), np.array([1.0, -1.0]))


GAIN_LISTS = st.lists(st.sampled_from([-1.0, 0.0, 0.0, 1.0, 1.0]), min_size=2, max_size=60).filter(
    lambda gains: sum(gains) > 0
)


@given(GAIN_LISTS, st.randoms(use_true_random=False))
def test_no_router_is_above_the_oracle(values, random):
    gains = np.array(values)
    scores = np.array([random.choice((0.0, 1.0, 2.0)) for _ in values])
    assert apgr(scores, gains) <= apgr(gains, gains) + 1e-9
    assert cpt(scores, gains, 0.5) >= cpt(gains, gains, 0.5) - 1e-9


@given(GAIN_LISTS)
def test_a_router_and_its_opposite_add_up_to_one(values):
    gains = np.array(values)
    scores = np.arange(len(gains), dtype=float)
    assert apgr(scores, gains) + apgr(-scores, gains) == pytest.approx(1.0)


@given(GAIN_LISTS, st.floats(0.1, 100), st.floats(-5, 5))
def test_only_the_order_of_scores_counts(values, factor, shift):
    gains = np.array(values)
    scores = np.arange(len(gains), dtype=float) % 7
    assert apgr(scores * factor + shift, gains) == pytest.approx(apgr(scores, gains))


def test_random_scores_are_about_one_half():
    random = np.random.default_rng(3)
    gains = random.choice([-1.0, 0.0, 1.0], size=5000, p=[0.05, 0.77, 0.18])
    found = [apgr(random.random(5000), gains) for _ in range(20)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.02)


def test_intervals_hold_the_figure_and_pair_the_draws():
    random = np.random.default_rng(4)
    gains = random.choice([-1.0, 0.0, 1.0], size=400, p=[0.05, 0.75, 0.2])
    better = gains + random.normal(0, 1, 400)
    routers = {"better": better, "random": random.random(400)}
    found = apgr_intervals(routers, gains, "random", seed=1)
    assert found["better"]["low"] < apgr(better, gains) < found["better"]["high"]
    assert found["random"]["difference_low"] == found["random"]["difference_high"] == 0.0
    assert found["better"]["difference_low"] > 0.0
    assert found == apgr_intervals(routers, gains, "random", seed=1)
