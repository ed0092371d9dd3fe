"""The figures of a router between a weak and a strong model, by RouteLLM's definitions.

A router gives every question a score; the share with the highest scores goes to the strong model. At
each share the routed accuracy recovers a part of the gap between the two models:
PGR = (routed - weak) / (strong - weak). Source: Ong et al., "RouteLLM", arXiv 2406.18665, section 3.
Pure functions; they know no model and no file.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from slmesh.mesh.errors import InvalidArgument

__all__ = ["apgr", "apgr_intervals", "cpt", "recovered", "router_figures"]

_RESAMPLES = 500
_INTERVAL = (2.5, 97.5)


def recovered(scores: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """Return the PGR when the 0, 1, ... B highest scores go to the strong model, (B + 1,).

    Questions of one score are sent one after the other, each with their mean gain: what sending them
    in random order gives on average.

    Args:
        scores: (B,); higher goes to the strong model first.
        gains: (B,): correctness of the strong model less that of the weak one.

    Raises:
        InvalidArgument: The two models are equally good, so there is no gap to recover.
    """
    gap = float(gains.sum())
    if gap == 0.0:
        raise InvalidArgument(
            "the two models are right equally often: there is no gap to recover", reason="NO_GAP"
        )
    _, places, counts = np.unique(-scores, return_inverse=True, return_counts=True)
    sums = np.bincount(places, weights=gains)
    ordered = np.repeat(sums / counts, counts)
    curve: np.ndarray = np.concatenate(([0.0], np.cumsum(ordered))) / gap
    return curve


def apgr(scores: np.ndarray, gains: np.ndarray) -> float:
    """Return the area under the PGR over the share of strong calls: .5 is random.

    The curve has a point for every question, not RouteLLM's ten thresholds, and is joined by straight
    lines. It can pass 1: an oracle recovers more than the whole gap, because the weak model is
    sometimes right where the strong one is wrong.

    Args:
        scores: (B,).
        gains: (B,).
    """
    curve = recovered(scores, gains)
    return float((curve[1:] + curve[:-1]).mean() / 2.0)


def cpt(scores: np.ndarray, gains: np.ndarray, part: float) -> float:
    """Return the call-performance threshold: the least share of strong calls with a PGR of `part`.

    Args:
        scores: (B,).
        gains: (B,).
        part: The PGR to reach, in (0, 1]: .5 for CPT(50 %).

    Returns:
        A share in [0, 1], between two questions by a straight line.
    """
    curve = recovered(scores, gains)
    first = int(np.argmax(curve >= part))
    if first == 0:  # rounding: all strong recovers all of the gap
        return 1.0
    before, after = float(curve[first - 1]), float(curve[first])
    return (first - 1 + (part - before) / (after - before)) / len(gains)


def router_figures(scores: np.ndarray, gains: np.ndarray) -> dict[str, float]:
    """Return ``apgr``, ``cpt_50`` and ``cpt_80`` of a router."""
    return {
        "apgr": apgr(scores, gains),
        "cpt_50": cpt(scores, gains, 0.5),
        "cpt_80": cpt(scores, gains, 0.8),
    }


def apgr_intervals(
    routers: Mapping[str, np.ndarray], gains: np.ndarray, against: str, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Return 95 % intervals by a bootstrap over the questions, the same draws for every router.

    Args:
        routers: Scores (B,) by name.
        gains: (B,).
        against: The router that the others are compared with.
        seed: Of the draws.

    Returns:
        For each router ``low`` and ``high`` of its APGR, and ``difference_low`` and
        ``difference_high`` of its APGR less that of `against`.
    """
    random = np.random.default_rng(seed)
    drawn = {name: np.empty(_RESAMPLES) for name in routers}
    for at in range(_RESAMPLES):
        chosen = random.integers(0, len(gains), len(gains))
        for name, scores in routers.items():
            drawn[name][at] = apgr(scores[chosen], gains[chosen])
    intervals = {}
    for name, found in drawn.items():
        low, high = np.percentile(found, _INTERVAL)
        less, more = np.percentile(found - drawn[against], _INTERVAL)
        intervals[name] = {
            "low": float(low),
            "high": float(high),
            "difference_low": float(less),
            "difference_high": float(more),
        }
    return intervals
