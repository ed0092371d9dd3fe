"""Quantiles of measured times, by the nearest rank: every one of them is a time that was measured."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

__all__ = ["added", "median_row", "quantile", "row_of"]


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that a share of the values do not exceed.

    Args:
        values: At least one, in any order.
        share: In (0, 1].
    """
    ordered = sorted(values)
    return ordered[math.ceil(share * len(ordered)) - 1]


def row_of(times_ms: Sequence[float]) -> dict[str, float]:
    """Return p50 and p99 of some times, in milliseconds."""
    return {"p50_ms": quantile(times_ms, 0.5), "p99_ms": quantile(times_ms, 0.99)}


def median_row(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the median of each figure over the rounds."""
    return {name: round(statistics.median(row[name] for row in rows), 3) for name in rows[0]}


def added(
    rows: Sequence[Mapping[str, float]], floor: Sequence[Mapping[str, float]]
) -> dict[str, float]:
    """Return what each figure is above a floor of the same round; the median over the rounds."""
    return median_row(
        [
            {name: row[name] - below[name] for name in row}
            for row, below in zip(rows, floor, strict=True)
        ]
    )
