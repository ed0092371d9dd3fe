"""Figures of a ranker: the order, when the first passage answers, and what is plotted."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")

from slmesh.training.ranking_data import OWN, PUBLIC, UNRELATED, Asked
from slmesh.training.ranking_figures import choose_words, fit_judge, measure, mrr

NUMBERS = {
    "words_tried": [0.0, 0.5],
    "most_lost": 0.002,
    "unrelated_answered": 0.05,
    "right_lost": 0.05,
}


def question(
    source: str, cosine: list[float], lexical: list[float], right: int, half: int
) -> Asked:
    answers = frozenset({right}) if right >= 0 else frozenset[int]()
    starts = np.arange(len(cosine))
    return Asked(source, np.array(cosine), np.array(lexical), starts, answers, half)


def questions() -> list[Asked]:
    """Return related questions with a clear first passage, and unrelated ones without."""
    draw = np.random.default_rng(4)
    asked = []
    for number in range(200):
        noise = draw.uniform(0, 0.2, 3)
        for source in (*PUBLIC, OWN):
            clear = [0.7 + noise[0], 0.2 + noise[1], 0.1]
            asked.append(question(source, clear, [0.5, 0.4, 0.0], 0, number % 2))
        vague = [0.2 + noise[1], 0.2 + noise[2], 0.1]
        asked.append(question(UNRELATED, vague, [0.1, 0.0, 0.0], -1, number % 2))
    return asked


def test_the_order_counts_the_place_of_the_first_right_passage() -> None:
    asked = [
        question("set", [0.1, 0.9, 0.5], [0, 0, 0], 1, 0),
        question("set", [0.1, 0.9, 0.5], [0, 0, 0], 2, 0),
    ]
    assert mrr(asked, 0.0) == pytest.approx((1 + 1 / 2) / 2)


def test_words_that_cost_one_set_too_much_are_not_chosen() -> None:
    helped = [question(name, [0.4, 0.5], [1, 0], 0, 0) for name in PUBLIC]
    assert choose_words([*helped, question(OWN, [0.4, 0.5], [1, 0], 0, 0)], NUMBERS)[0] == 0.5
    assert choose_words([*helped, question(OWN, [0.5, 0.4], [0, 1], 0, 0)], NUMBERS)[0] == 0.0


def test_unrelated_questions_are_abstained_from_and_others_answered() -> None:
    asked = questions()
    judge = fit_judge(asked, 0.0, NUMBERS)
    content = {
        "parameters": {"encoder": {"words": 0.0}},
        "calibration": {"encoder": judge.line},
        "thresholds": {"encoder": judge.least},
    }
    measured = measure(asked, "encoder", content)
    assert measured.figures[OWN]["answered"] == 1
    assert measured.figures[UNRELATED]["answered"] <= 0.12
    assert measured.figures[UNRELATED]["right_first"] == 0
    assert measured.figures["ece"] < 0.05
    assert measured.figures["mrr_10"] == dict.fromkeys((*PUBLIC, OWN), 1.0)
    assert set(measured.plots) == {"reliability.svg", "risk-coverage.svg"}
    assert "200 rows" in measured.plots["reliability.svg"]
