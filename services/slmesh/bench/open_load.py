"""Sends calls when they are due, whether earlier ones were answered or not, and takes their times.

Arrivals are a Poisson process. A call's time runs from the moment it was due, so that a client that
falls behind does not make what it measures look better.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

__all__ = ["send_at"]

Answer = TypeVar("Answer")


async def send_at(
    rate_per_s: float,
    seconds: float,
    call: Callable[[int], Awaitable[Answer]],
    *,
    seed: int = 1,
) -> list[tuple[Answer, float]]:
    """Return each call's answer and its milliseconds, in the order they were due.

    Args:
        rate_per_s: Calls a second, > 0.
        seconds: How long calls come.
        call: Makes one, given its place in the run; it may not raise.
        seed: Of the times they are due.
    """
    due = random.Random(seed)
    started = next_s = time.perf_counter()
    calls: list[asyncio.Task[tuple[Answer, float]]] = []

    async def timed(place: int, due_s: float) -> tuple[Answer, float]:
        answer = await call(place)
        return answer, (time.perf_counter() - due_s) * 1e3

    while (next_s := next_s + due.expovariate(rate_per_s)) < started + seconds:
        await asyncio.sleep(max(0.0, next_s - time.perf_counter()))
        calls.append(asyncio.create_task(timed(len(calls), next_s)))
    return await asyncio.gather(*calls)
