"""Bounds how many requests a process works on at once: one more is refused, and told when to retry."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from slmesh.mesh.errors import ResourceExhausted

__all__ = ["Admission"]

_RETRY_DELAY_S = 0.25


class Admission:
    """Counts the requests in work.

    Args:
        limit: How many there may be, >= 1.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._inside = 0
        self._empty = asyncio.Event()
        self._empty.set()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count one request while the context is open.

        Raises:
            ResourceExhausted: There are as many as there may be.
        """
        if self._inside >= self._limit:
            raise ResourceExhausted(
                f"the router works on {self._inside} requests, its limit (SLMESH_MAX_IN_FLIGHT)",
                reason="TOO_MANY_IN_FLIGHT",
                metadata={"limit": str(self._limit)},
                retry_delay_s=_RETRY_DELAY_S,
            )
        self._inside += 1
        self._empty.clear()
        try:
            yield
        finally:
            self._inside -= 1
            if not self._inside:
                self._empty.set()

    async def empty(self) -> None:
        """Wait until there is no request in work."""
        await self._empty.wait()
