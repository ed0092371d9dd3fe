"""Lets concurrent repeats of one request share one run of it.

The run goes on while at least one caller waits for it, and is cancelled with the last one. A run that
fails is forgotten, so the next repeat runs again. It knows nothing of requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

__all__ = ["Coalescing"]

T = TypeVar("T")


class _Shared(Generic[T]):
    def __init__(self, task: asyncio.Task[T]) -> None:
        self.task = task
        self.waiting = 0


class Coalescing(Generic[T]):
    """The runs that are under way, by key."""

    def __init__(self) -> None:
        self._shared: dict[Hashable, _Shared[T]] = {}

    async def run(self, key: Hashable, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return the result of the run of a key, and start it when there is none.

        Args:
            key: What makes two requests the same.
            make: Makes the run.
        """
        shared = self._shared.get(key)
        if shared is None:
            shared = _Shared(asyncio.create_task(make()))
            self._shared[key] = shared
            shared.task.add_done_callback(lambda task: self._ended(key, task))
        shared.waiting += 1
        try:
            return await asyncio.shield(shared.task)
        finally:
            shared.waiting -= 1
            if not shared.waiting and not shared.task.done():
                # forgotten at once: a newcomer must not wait for a run that is being cancelled
                self._forget(key, shared.task)
                shared.task.cancel()

    def _ended(self, key: Hashable, task: asyncio.Task[T]) -> None:
        self._forget(key, task)
        if not task.cancelled():
            task.exception()  # seen, also when every caller has gone

    def _forget(self, key: Hashable, task: asyncio.Task[T]) -> None:
        shared = self._shared.get(key)
        if shared is not None and shared.task is task:
            del self._shared[key]
