"""Load of a set rate: every call begins when it is due, whether or not the ones before it are back.

A slow service is so asked as often as a quick one, and each call has exactly one outcome.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from slmesh.mesh.errors import MeshError

__all__ = ["Answer", "Call", "Outcome", "Stream", "run_load", "saturation"]

_OVERDUE_S = 5.0
"""How long after its deadline a call is given up as lost."""


class Outcome(StrEnum):
    """What became of a call."""

    CORRECT = "correct"
    DEGRADED = "degraded"
    WRONG = "wrong"
    ERROR = "error"
    LOST = "lost"


@dataclass(frozen=True)
class Answer:
    """An answer, judged.

    Attributes:
        outcome: Correct, degraded or wrong.
        decision_id: The decision of a flow; empty for a service.
    """

    outcome: Outcome
    decision_id: str = ""


@dataclass(frozen=True)
class Stream:
    """Calls of one kind.

    Attributes:
        name: A service or a flow.
        per_second: How often it is called.
        ask: Makes the call of a number; raises ``MeshError``.
        timeout_s: The deadline that ``ask`` sets.
    """

    name: str
    per_second: float
    ask: Callable[[int], Awaitable[Answer]]
    timeout_s: float


@dataclass(frozen=True)
class Call:
    """One call that has ended.

    Attributes:
        stream: Its stream's name.
        started_s: When it began, on ``time.monotonic()``.
        ms: How long it took.
        outcome: What became of it.
        reason: ``ErrorInfo.reason`` of an error.
        decision_id: The decision of a flow; empty for a service or an error.
    """

    stream: str
    started_s: float
    ms: float
    outcome: Outcome
    reason: str = ""
    decision_id: str = ""


async def run_load(
    streams: Sequence[Stream], stop: asyncio.Event, on_call: Callable[[Call], object]
) -> None:
    """Call until told to stop, then wait for what is under way.

    Args:
        streams: What to call.
        stop: Ends it.
        on_call: Is told of every call that has ended.
    """
    await asyncio.gather(*(_pace(stream, stop, on_call) for stream in streams))


async def saturation(stream: Stream, *, in_flight: int, seconds: float) -> float:
    """Return the answers a second of a stream with so many calls always in flight."""
    started, answered = time.monotonic(), 0

    async def work(place: int) -> None:
        nonlocal answered
        while time.monotonic() < started + seconds:
            call = await _one(stream, place)
            answered += call.outcome not in (Outcome.ERROR, Outcome.LOST)
            place += in_flight

    await asyncio.gather(*(work(place) for place in range(in_flight)))
    return answered / (time.monotonic() - started)


async def _pace(stream: Stream, stop: asyncio.Event, on_call: Callable[[Call], object]) -> None:
    rng = random.Random(stream.name)  # the same moments in every run, other ones for each stream
    due_s = time.monotonic() + rng.random() / stream.per_second
    under_way: set[asyncio.Task[None]] = set()
    place = 0

    async def call(number: int) -> None:
        on_call(await _one(stream, number))

    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(
                asyncio.get_running_loop().time() + due_s - time.monotonic()
            ):
                await stop.wait()
            break
        task = asyncio.create_task(call(place))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
        place += 1
        due_s += rng.uniform(0.5, 1.5) / stream.per_second
    await asyncio.gather(*under_way)


async def _one(stream: Stream, place: int) -> Call:
    started_s = time.monotonic()
    answer, reason = Answer(Outcome.ERROR), ""
    try:
        async with asyncio.timeout(stream.timeout_s + _OVERDUE_S):
            answer = await stream.ask(place)
    except TimeoutError:
        answer = Answer(Outcome.LOST)
    except MeshError as error:
        reason = error.reason
    ms = (time.monotonic() - started_s) * 1e3
    return Call(stream.name, started_s, ms, answer.outcome, reason, answer.decision_id)
