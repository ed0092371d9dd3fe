"""The pacer: what it lets through when the budget is short, and when it is not."""

from __future__ import annotations

import random

import pytest

from slmesh.budgets.pacing import Pacer


def _seen(pacer: Pacer, gains: list[float]) -> Pacer:
    for gain in gains:
        pacer.observe(gain)
    return pacer


def _history(count: int = 100) -> Pacer:
    return _seen(Pacer(), [place / count for place in range(count)])


def test_a_budget_that_suffices_lets_everything_through() -> None:
    assert _history().pace(0.0, 100.0, 0, 100).least_gain == 0.0


def test_a_short_budget_is_kept_for_the_largest_gains() -> None:
    # 100 are expected, less one standard deviation of sqrt(100 + 100^2/100): 86
    pace = _history().pace(0.0, 43.0, 0, 100)
    assert pace.expected == pytest.approx(85.86, abs=0.01)
    assert pace.least_gain == pytest.approx(0.49, abs=0.011)


def test_the_less_is_left_the_more_it_must_gain() -> None:
    pacer = _history()
    gains = [
        pacer.pace(0.2, payable, 0, 100).least_gain for payable in (80.0, 60.0, 40.0, 20.0, 5.0)
    ]
    assert gains == sorted(gains)
    assert gains[0] == 0.0 < gains[-1]


def test_a_window_that_ends_spends_what_is_left() -> None:
    assert _history().pace(0.999, 5.0, 95, 100).least_gain == 0.0


def test_without_a_last_window_it_begins_as_first_come_first_served() -> None:
    pacer = _seen(Pacer(), [0.5] * 30)
    assert pacer.pace(0.3, 100.0, 30, None).least_gain == 0.0


def test_a_first_window_that_drains_too_fast_is_slowed_down() -> None:
    gains = random.Random(1)
    pacer = _seen(Pacer(), [gains.random() for _ in range(200)])
    assert pacer.pace(0.1, 20.0, 200, None).least_gain > 0.8


def test_a_few_gains_say_nothing() -> None:
    assert _seen(Pacer(), [0.1] * 5).pace(0.0, 1.0, 5, 1000).least_gain == 0.0


def test_old_gains_are_forgotten() -> None:
    pacer = _seen(_seen(Pacer(), [0.9] * 600), [0.1] * 512)
    assert pacer.pace(0.0, 10.0, 0, 1000).least_gain == 0.1
