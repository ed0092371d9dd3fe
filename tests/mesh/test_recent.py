"""The last values, in the order of their size."""

from __future__ import annotations

import random

from slmesh.mesh.recent import RecentValues


def test_it_holds_the_last_values_sorted() -> None:
    draw = random.Random(4)
    values = [round(draw.random(), 1) for _ in range(300)]  # many stand twice
    kept = RecentValues(50)
    for count, value in enumerate(values, start=1):
        kept.add(value)
        expected = sorted(values[max(0, count - 50) : count])
        assert [kept[place] for place in range(len(kept))] == expected
