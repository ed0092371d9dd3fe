"""Loads one RPC of one address and takes its time: one call at a time, and many at once.

Calls carry serialised bytes, so that the client's own work is small and the same for every target.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import grpc

from slmesh.api.score.v1 import score_pb2
from slmesh.mesh.context import APPLICATION_KEY
from slmesh.mesh.contract import rpcs

__all__ = ["ECHO", "Measured", "Target", "measure"]

ECHO = "echo"
_TIMEOUT_S = 30.0
_TEXT = "I was charged twice for the same ticket, can you help?"


@dataclass(frozen=True)
class Target:
    """One chain of processes under test.

    Attributes:
        name: Its name in the report.
        address: ``host:port`` of its first hop.
    """

    name: str
    address: str


@dataclass
class Measured:
    """What the rounds of one target gave.

    Attributes:
        p50_ms: Median time of a call with one in flight, of each round.
        p99_ms: The time 99 of 100 calls took at most, of each round.
        per_second: Calls a second with many in flight, of each round.
    """

    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    per_second: list[float] = field(default_factory=list)

    def medians(self) -> dict[str, float]:
        """Return the medians over the rounds."""
        return {
            "p50_ms": round(statistics.median(self.p50_ms), 3),
            "p99_ms": round(statistics.median(self.p99_ms), 3),
            "per_second": round(statistics.median(self.per_second), 1),
        }


async def measure(
    targets: Sequence[Target],
    *,
    rounds: int,
    calls: int,
    seconds: float,
    in_flight: int,
) -> Mapping[str, Measured]:
    """Measure targets in turns, so that what else the machine does hits them alike.

    Args:
        targets: The targets.
        rounds: Rounds that count; one more goes first and does not.
        calls: Calls of a round with one in flight.
        seconds: Length of a round with many in flight.
        in_flight: How many are in flight then.
    """
    rpc = rpcs()["Score"]
    payload = score_pb2.ScoreRequest(text=_TEXT).SerializeToString()
    results = {target.name: Measured() for target in targets}
    channels = {target.name: grpc.aio.insecure_channel(target.address) for target in targets}
    try:
        for turn in range(rounds + 1):
            for target in targets:
                call = _Call(channels[target.name].unary_unary(rpc.path), payload)
                times_ms = sorted([await call.time_ms() for _ in range(calls)])
                per_second = await call.per_second(seconds, in_flight)
                if turn == 0:  # connections and caches warm up
                    continue
                result = results[target.name]
                result.p50_ms.append(statistics.median(times_ms))
                result.p99_ms.append(times_ms[int(0.99 * (len(times_ms) - 1))])
                result.per_second.append(per_second)
    finally:
        await asyncio.gather(*(channel.close() for channel in channels.values()))
    return results


class _Call:
    def __init__(self, method: grpc.aio.UnaryUnaryMultiCallable, payload: bytes) -> None:  # type: ignore[type-arg]
        self._method = method
        self._payload = payload

    async def once(self) -> None:
        metadata = ((APPLICATION_KEY, ECHO),)
        await self._method(self._payload, metadata=metadata, timeout=_TIMEOUT_S)

    async def time_ms(self) -> float:
        started = time.perf_counter()
        await self.once()
        return (time.perf_counter() - started) * 1e3

    async def per_second(self, seconds: float, in_flight: int) -> float:
        started = time.perf_counter()
        done = 0

        async def work() -> None:
            nonlocal done
            while time.perf_counter() < started + seconds:
                await self.once()
                done += 1

        await asyncio.gather(*(work() for _ in range(in_flight)))
        return done / (time.perf_counter() - started)
