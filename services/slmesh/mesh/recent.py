"""The last values of something, at hand in the order of their size."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque

__all__ = ["RecentValues"]


class RecentValues:
    """Keeps the last values, sorted; the smallest is at place 0.

    Args:
        limit: How many are kept, >= 1.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._recent: deque[float] = deque()
        self._sorted: list[float] = []

    def add(self, value: float) -> None:
        """Take a value in; the oldest one goes when there are more than may be kept."""
        self._recent.append(value)
        insort(self._sorted, value)
        if len(self._recent) > self._limit:
            del self._sorted[bisect_left(self._sorted, self._recent.popleft())]

    def __len__(self) -> int:
        """Return how many values are kept."""
        return len(self._sorted)

    def __getitem__(self, place: int) -> float:
        """Return the value at a place in the order of size."""
        return self._sorted[place]
