"""Simulates a budget on recorded traffic: the pacer against first come, first served.

Both see the same requests in the same order and escalate by the same static threshold; they differ in
which of them they spend a short budget on. The reasoner is an oracle that is always right, so what a
strategy gains is the number of wrong or missing answers among those it spent on. The pacer knows one
window of other traffic before, as it would in service. It calls no model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from slmesh.budgets.pacing import Pacer

__all__ = ["Traffic", "orders", "simulate"]

_BUDGETS = 21
_RESAMPLES = 2000
_ORDERS = (("steady", 5), ("bursts", 5), ("topics", 4), ("rising", 3), ("falling", 3))
"""Shapes of arrival, and how many orders of each: 20 in all."""


@dataclass(frozen=True)
class Traffic:
    """Requests that small models have answered.

    Attributes:
        probability: (N,) calibrated probability of the answer; 0 where there is none.
        right: bool (N,), whether the answer is right; False where there is none.
        topics: What each is about, for orders in which topics come in waves.
    """

    probability: np.ndarray
    right: np.ndarray
    topics: Sequence[str]


def simulate(
    traffic: Traffic, history: Traffic, probability_below: float, seed: int = 0
) -> dict[str, Any]:
    """Run both strategies over every budget and order.

    Args:
        traffic: One window of requests.
        history: The window before it.
        probability_below: The static threshold: a request with a lower probability wants the
            reasoner.
        seed: Of the orders and of the bootstrap.

    Returns:
        ``requests``, ``demand`` (those that want the reasoner), ``accuracy_small``,
        ``accuracy_all`` (everything that wants the reasoner gets it), and ``budgets``: for each
        ``budget`` (a fraction of the demand) the accuracy gained by ``first_come`` and ``paced``
        (fractions of all requests, means over the orders), their ``ratio``, and the ``low`` and
        ``high`` end of the 95 % interval of the difference, by a paired bootstrap over the orders.
    """
    wanting = traffic.probability < probability_below
    demand = int(wanting.sum())
    before = 1.0 - history.probability[history.probability < probability_below]
    # the window before is as long as this one, also where fewer rows stand for it
    last = round(len(before) * len(wanting) / len(history.probability))
    random = np.random.default_rng(seed)
    runs = [list(zip(*order, strict=True)) for order in orders(traffic, seed)]
    rows = []
    for step in range(_BUDGETS):
        budget = round(demand * step / (_BUDGETS - 1))
        gained = np.array(
            [
                (
                    _first_come(run, wanting, traffic, budget),
                    _paced(run, wanting, traffic, budget, random.permutation(before), last),
                )
                for run in runs
            ]
        ) / len(wanting)
        rows.append({"budget": step / (_BUDGETS - 1), **_compared(gained, random)})
    return {
        "requests": len(wanting),
        "demand": demand,
        "accuracy_small": float(traffic.right.mean()),
        "accuracy_all": float((traffic.right | wanting).mean()),
        "orders": len(runs),
        "budgets": rows,
    }


def orders(traffic: Traffic, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield 20 orders of arrival: the requests' places, and when each comes, in [0, 1)."""
    count = len(traffic.probability)
    names = sorted(set(traffic.topics))
    for shape, repeats in _ORDERS:
        for repeat in range(repeats):
            random = np.random.default_rng((seed, len(shape), repeat))
            places = random.permutation(count)
            times = random.random(count)
            if shape == "bursts":  # half of the requests come in six short bursts
                centres = random.random(6)[random.integers(0, 6, count // 2)]
                times[: count // 2] = (centres + random.normal(0, 0.005, count // 2)) % 1
            elif shape == "topics":  # most of a topic comes together
                rank = dict(zip(names, random.permutation(len(names)), strict=True))
                wave = np.array([rank[topic] for topic in traffic.topics])
                places = np.argsort(wave + 3 * random.random(count))
            elif shape == "rising":
                times = np.sqrt(times)
            elif shape == "falling":
                times = 1 - np.sqrt(times)
            yield places, np.sort(times)


def _first_come(run: Sequence[Any], wanting: np.ndarray, traffic: Traffic, budget: int) -> int:
    chosen = [place for place, _ in run if wanting[place]][:budget]
    return int((~traffic.right[chosen]).sum())


def _paced(
    run: Sequence[Any],
    wanting: np.ndarray,
    traffic: Traffic,
    budget: int,
    before: np.ndarray,
    last: int,
) -> int:
    pacer = Pacer()
    for gain in before:
        pacer.observe(float(gain))
    seen = spent = gained = 0
    for place, time in run:
        if not wanting[place]:
            continue
        gain = 1.0 - float(traffic.probability[place])
        pacer.observe(gain)
        seen += 1
        pace = pacer.pace(float(time), budget - spent, seen, last)
        if spent < budget and gain >= pace.least_gain:
            spent += 1
            gained += not traffic.right[place]
    return gained


def _compared(gained: np.ndarray, random: np.random.Generator) -> dict[str, float | None]:
    first, paced = gained.mean(axis=0)
    difference = gained[:, 1] - gained[:, 0]
    drawn = random.integers(0, len(difference), (_RESAMPLES, len(difference)))
    low, high = np.percentile(difference[drawn].mean(axis=1), [2.5, 97.5])
    return {
        "first_come": float(first),
        "paced": float(paced),
        "ratio": float(paced / first) if first else None,
        "low": float(low),
        "high": float(high),
    }
