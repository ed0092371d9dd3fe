"""Limits how many requests are answered at a time and how many may wait for their turn.

It counts places and knows nothing of models. One event loop uses it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from slmesh.mesh.errors import ResourceExhausted

__all__ = ["Admission"]

_FIRST_GUESS_S = 1.0
_NEW_WEIGHT = 0.2


class Admission:
    """A number of places, and a bounded queue in front of them; first come, first served.

    Args:
        places: Requests answered at the same time, >= 1.
        max_waiting: Requests that may wait, >= 0; one more is refused.
    """

    def __init__(self, places: int, max_waiting: int) -> None:
        self._places = places
        self._max_waiting = max_waiting
        self._turns = asyncio.Semaphore(places)
        self._inside = 0
        self._mean_s = _FIRST_GUESS_S

    @property
    def waiting(self) -> int:
        """How many requests wait for a place."""
        return max(0, self._inside - self._places)

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold one place for the time of the block.

        Raises:
            ResourceExhausted: The queue is full; the delay is how long the queue takes to empty,
                by the mean duration of recent requests.
        """
        if self._inside >= self._places + self._max_waiting:
            raise ResourceExhausted(
                f"the reasoner answers {self._places} requests and {self._max_waiting} wait;"
                " try again later, or raise max_concurrent, max_queue_items or the replicas",
                reason="QUEUE_FULL",
                metadata={"limit": str(self._max_waiting)},
                retry_delay_s=self._mean_s * (self.waiting + 1) / self._places,
            )
        self._inside += 1
        try:
            async with self._turns:
                started = time.monotonic()
                try:
                    yield
                finally:
                    taken_s = time.monotonic() - started
                    self._mean_s += _NEW_WEIGHT * (taken_s - self._mean_s)
        finally:
            self._inside -= 1
