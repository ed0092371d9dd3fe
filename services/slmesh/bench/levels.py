"""Loads several servers in turns with so many calls in flight at a time, and takes every call's time.

What a call is, its side knows; here it is a coroutine of one number, the call's place in the run.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from slmesh.bench.quantiles import quantile
from slmesh.mesh.errors import MeshError

__all__ = ["Call", "Level", "measure_levels"]

Call = Callable[[int], Awaitable[object]]

_WARM_UP_S = 0.5


@dataclass
class Level:
    """What the rounds of one side with one number of calls in flight gave.

    Attributes:
        p50_ms: Median time of a call, of each round.
        p99_ms: The time 99 of 100 calls took at most, of each round.
        per_second: Answered calls a second, of each round.
        failed: Calls that a server refused or failed, of all rounds.
    """

    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    per_second: list[float] = field(default_factory=list)
    failed: int = 0

    def medians(self) -> dict[str, float]:
        """Return the medians over the rounds."""
        return {
            "p50_ms": round(statistics.median(self.p50_ms), 3),
            "p99_ms": round(statistics.median(self.p99_ms), 3),
            "per_second": round(statistics.median(self.per_second), 3),
            **({"failed": self.failed} if self.failed else {}),
        }


async def measure_levels(
    sides: Mapping[str, Call],
    levels: Sequence[int],
    *,
    rounds: int,
    seconds: float,
    on_progress: Callable[[str], None] = lambda step: None,
) -> dict[str, dict[int, dict[str, float]]]:
    """Return the medians of each side at each level.

    Args:
        sides: What to call, by name.
        levels: Calls in flight.
        rounds: Rounds that count.
        seconds: Length of one side's turn at one level.
        on_progress: Is told of every round.

    Raises:
        MeshError: A side answered no call of a turn; single failures are counted.
    """
    found = {name: {level: Level() for level in levels} for name in sides}
    for call in sides.values():
        await _load(call, max(levels), _WARM_UP_S)  # connections, caches, adaptive batching
    for turn in range(rounds):
        on_progress(f"round {turn + 1} of {rounds}: {len(sides)} sides, {tuple(levels)} in flight")
        for level in levels:
            for name, call in sides.items():
                times_ms, elapsed_s, failed = await _load(call, level, seconds)
                result = found[name][level]
                result.failed += failed
                result.p50_ms.append(statistics.median(times_ms))
                result.p99_ms.append(quantile(times_ms, 0.99))
                result.per_second.append(len(times_ms) / elapsed_s)
    return {
        name: {level: result.medians() for level, result in by_level.items()}
        for name, by_level in found.items()
    }


async def _load(call: Call, in_flight: int, seconds: float) -> tuple[list[float], float, int]:
    """Return the sorted milliseconds of the answered calls, their seconds together, and the failures.

    Raises:
        MeshError: No call at all was answered.
    """
    times_ms: list[float] = []
    errors: list[MeshError] = []
    started = time.perf_counter()
    place = 0

    async def work() -> None:
        nonlocal place
        while (now := time.perf_counter()) < started + seconds or not (times_ms or errors):
            place += 1
            try:
                await call(place)
            except MeshError as error:
                errors.append(error)
            else:
                times_ms.append((time.perf_counter() - now) * 1e3)

    await asyncio.gather(*(work() for _ in range(in_flight)))
    if not times_ms:
        raise errors[-1]
    return sorted(times_ms), time.perf_counter() - started, len(errors)
