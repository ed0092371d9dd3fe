"""Deadline-aware micro-batching: many callers, one model.

Batches form by themselves: an idle model is asked at once, and what arrives while it works is its
next batch, up to the size limit. Single requests go before items of large batches, which may take at
most half of a batch while single requests wait, so that a bulk job does not ruin interactive
latency. Items whose caller went away or whose time ran out are never computed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from google.protobuf.message import Message

from slmesh.mesh.errors import DeadlineExceeded, Internal, MeshError, ResourceExhausted, Unavailable
from slmesh.mesh.memory_limit import MEMORY_LIMIT

__all__ = ["MicroBatcher"]

_log = logging.getLogger(__name__)

Answer = Callable[[Sequence[Any]], Sequence[Message | MeshError]]


class _Bulk:
    """The results of many requests that one caller awaits together.

    A future for each of them would cost the event loop two steps a request.
    """

    __slots__ = ("left", "results", "settled")

    def __init__(self, count: int, settled: asyncio.Future[None]) -> None:
        self.results: list[Message | MeshError | None] = [None] * count
        self.left = count
        self.settled = settled


class _Place:
    """The place of one request's result in a bulk; has what the batcher needs of a future."""

    __slots__ = ("_bulk", "_index")

    def __init__(self, bulk: _Bulk, index: int) -> None:
        self._bulk = bulk
        self._index = index

    def done(self) -> bool:
        return self._bulk.results[self._index] is not None or self._bulk.settled.done()

    def set_result(self, result: Message | MeshError) -> None:
        bulk = self._bulk
        bulk.results[self._index] = result
        bulk.left -= 1
        if not bulk.left and not bulk.settled.done():
            bulk.settled.set_result(None)

    set_exception = set_result


class _Item:
    __slots__ = ("deadline", "future", "request")

    def __init__(
        self, request: Message, deadline: float | None, future: asyncio.Future[Message] | _Place
    ) -> None:
        self.request = request
        self.deadline = deadline
        self.future = future


class MicroBatcher:
    """Collects requests into batches for one ``answer`` function that runs in one thread.

    Must be started and used within one event loop.

    Args:
        answer: Answers a batch, in order, with a response or an error value for each request.
        max_batch_size: Items of one call of ``answer``, >= 1.
        max_wait_s: How long the first item of a batch waits for company when the model is idle.
        max_items: Items that may wait; the next one is refused.
        observe: Called with the size of each computed batch.
    """

    def __init__(
        self,
        answer: Answer,
        *,
        max_batch_size: int,
        max_wait_s: float,
        max_items: int,
        observe: Callable[[int], None] = lambda size: None,
    ) -> None:
        self._answer = answer
        self._max_batch_size = max_batch_size
        self._max_wait_s = max_wait_s
        self._max_items = max_items
        self._observe = observe
        self._single: deque[_Item] = deque()
        self._bulk: deque[_Item] = deque()
        self._arrived = asyncio.Event()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="slmesh-answer")
        self._task: asyncio.Task[None] | None = None
        self._computed: list[_Item] = []

    @property
    def waiting_items(self) -> int:
        """How many items wait for the model."""
        return len(self._single) + len(self._bulk)

    @property
    def max_items(self) -> int:
        """How many items may wait."""
        return self._max_items

    def start(self) -> None:
        """Start to work; call it on the event loop that will submit."""
        self._task = asyncio.get_running_loop().create_task(self._work())

    async def close(self) -> None:
        """Stop; what still waits is refused as unavailable."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        _fail(
            (*self._single, *self._bulk), Unavailable("the service is stopping", retry_delay_s=1.0)
        )
        self._single.clear()
        self._bulk.clear()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def fail(self, error: MeshError) -> None:
        """Answer all that waits or is computed with an error, because the process will end."""
        _fail((*self._single, *self._bulk, *self._computed), error)

    async def submit(self, request: Message, deadline: float | None) -> Message:
        """Answer one request.

        Args:
            request: The checked request.
            deadline: On ``time.monotonic()``; the request is dropped when it passes unanswered.

        Raises:
            MeshError: The queue is full, the time ran out, or the service's own error.
        """
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._put([_Item(request, deadline, future)], self._single)
        return await future

    async def submit_many(
        self, requests: Sequence[Message], deadline: float | None
    ) -> list[Message | MeshError]:
        """Answer many requests, in order, one response or error for each.

        Raises:
            ResourceExhausted: They do not all fit in the queue; none was taken.
        """
        if not requests:
            return []
        # when the caller goes away, the future is cancelled, and with it every place is done
        bulk = _Bulk(len(requests), asyncio.get_running_loop().create_future())
        places = (_Place(bulk, index) for index in range(len(requests)))
        items = [_Item(r, deadline, place) for r, place in zip(requests, places, strict=True)]
        self._put(items, self._bulk)
        await bulk.settled
        return [result for result in bulk.results if result is not None]

    def _put(self, items: Sequence[_Item], queue: deque[_Item]) -> None:
        if self.waiting_items + len(items) > self._max_items:
            self._drop_abandoned()
        if self.waiting_items + len(items) > self._max_items:
            raise ResourceExhausted(
                f"the queue holds {self.waiting_items} of at most {self._max_items} items and"
                f" {len(items)} more do not fit",
                reason="QUEUE_FULL",
                metadata={"limit": str(self._max_items)},
                retry_delay_s=0.1,
            )
        queue.extend(items)
        self._arrived.set()

    def _drop_abandoned(self) -> None:
        for queue in (self._single, self._bulk):
            alive = [item for item in queue if not item.future.done()]
            queue.clear()
            queue.extend(alive)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            if self._max_wait_s and self.waiting_items < self._max_batch_size:
                await asyncio.sleep(self._max_wait_s)
            batch = self._take()
            if not self.waiting_items:
                self._arrived.clear()
            if batch:
                self._observe(len(batch))
                requests = [item.request for item in batch]
                self._computed = batch
                results = await loop.run_in_executor(self._executor, self._compute, requests)
                _settle(batch, results)

    def _take(self) -> list[_Item]:
        batch: list[_Item] = []
        now = time.monotonic()
        bulk_share = self._max_batch_size if not self._single else self._max_batch_size // 2
        quota = {id(self._bulk): bulk_share, id(self._single): self._max_batch_size}
        for queue in (self._bulk, self._single):
            room = min(quota[id(queue)], self._max_batch_size - len(batch))
            while queue and room:
                item = queue.popleft()
                if item.future.done():
                    continue
                if item.deadline is not None and item.deadline <= now:
                    item.future.set_exception(
                        DeadlineExceeded("the deadline passed while the request was waiting")
                    )
                    continue
                batch.append(item)
                room -= 1
        return batch

    def _compute(self, requests: Sequence[Message]) -> list[Message | MeshError]:
        try:
            results = list(self._answer(requests))
            if len(results) != len(requests):
                raise ValueError(f"{len(requests)} requests got {len(results)} answers")
        except Exception as error:
            if len(requests) == 1:
                return [_as_internal(error)]
            # one of them is to blame: ask for each alone, so that its neighbours get their answer
            return [self._compute([request])[0] for request in requests]
        return results


def _fail(items: Sequence[_Item], error: MeshError) -> None:
    for item in items:
        if not item.future.done():
            item.future.set_exception(error)


def _settle(batch: Sequence[_Item], results: Sequence[Message | MeshError]) -> None:
    for item, result in zip(batch, results, strict=True):
        if item.future.done():
            continue
        if isinstance(result, MeshError):
            item.future.set_exception(result)
        else:
            item.future.set_result(result)


def _as_internal(error: Exception) -> MeshError:
    if isinstance(error, MeshError):
        return error
    if isinstance(error, MemoryError):
        _log.error("out of memory", exc_info=error, extra={"reason": MEMORY_LIMIT})
        return ResourceExhausted(
            "the request needs more memory than the service has left of its limit",
            reason=MEMORY_LIMIT,
        )
    internal = Internal.with_id()
    _log.error("answer failed", exc_info=error, extra={"error_id": internal.metadata["errorId"]})
    return internal
