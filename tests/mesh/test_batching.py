"""Micro-batching: batches form while the model works, and interactive requests go first."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from slmesh.api.classify.v1 import classify_pb2 as pb
from slmesh.mesh.batching import MicroBatcher
from slmesh.mesh.errors import (
    DeadlineExceeded,
    Internal,
    InvalidArgument,
    ResourceExhausted,
    Unavailable,
)


class Recorder:
    """Remembers every batch; while it is held, it does not answer."""

    def __init__(self, *, held=False):
        self.batches = []
        self._go = threading.Event()
        if not held:
            self._go.set()

    def __call__(self, requests):
        self.batches.append([request.text for request in requests])
        assert self._go.wait(60)
        return [pb.ClassifyResponse() for _ in requests]

    def let_go(self):
        self._go.set()

    async def computes(self):
        async with asyncio.timeout(60):
            while not self.batches:
                await asyncio.sleep(0.001)


async def submitted(*calls):
    """Return a task of each call, which waits for its answer by now."""
    tasks = [asyncio.create_task(call) for call in calls]
    await asyncio.sleep(0)
    return tasks


def requests(*texts):
    return [pb.ClassifyRequest(text=text) for text in texts]


async def started(answer, **options):
    batcher = MicroBatcher(
        answer, **({"max_batch_size": 4, "max_wait_s": 0, "max_items": 100} | options)
    )
    batcher.start()
    return batcher


async def test_an_idle_model_is_asked_at_once_and_arrivals_form_the_next_batch():
    recorder = Recorder(held=True)
    batcher = await started(recorder)
    first = await submitted(batcher.submit(requests("a")[0], None))
    await recorder.computes()
    others = await submitted(*(batcher.submit(r, None) for r in requests("b", "c", "d")))
    recorder.let_go()
    await asyncio.gather(*first, *others)
    await batcher.close()
    assert recorder.batches == [["a"], ["b", "c", "d"]]


async def test_a_batch_never_exceeds_its_limit():
    recorder = Recorder()
    batcher = await started(recorder)
    await batcher.submit_many(requests(*"abcdefghij"), None)
    await batcher.close()
    assert max(map(len, recorder.batches)) == 4


async def test_a_single_request_overtakes_a_large_batch():
    recorder = Recorder(held=True)
    batcher = await started(recorder)
    bulk = await submitted(batcher.submit_many(requests(*"abcdefghijkl"), None))
    await recorder.computes()
    urgent = await submitted(batcher.submit(requests("urgent")[0], None))
    recorder.let_go()
    await asyncio.gather(*bulk, *urgent)
    await batcher.close()
    assert "urgent" in recorder.batches[1]
    assert len(recorder.batches[1]) <= 3  # half a batch of bulk items, and the single one


async def test_waiting_for_company_fills_a_batch():
    recorder = Recorder()
    batcher = await started(recorder, max_wait_s=0.5)
    first = await submitted(batcher.submit(requests("a")[0], None))
    await asyncio.sleep(0.01)  # an idle model would have been asked by now
    await asyncio.gather(*first, batcher.submit(requests("b")[0], None))
    await batcher.close()
    assert recorder.batches == [["a", "b"]]


async def test_a_batch_that_does_not_fit_is_refused_whole():
    recorder = Recorder()
    batcher = await started(recorder, max_items=3)
    with pytest.raises(ResourceExhausted):
        await batcher.submit_many(requests(*"abcd"), None)
    await batcher.close()
    assert recorder.batches == []


async def test_places_of_callers_that_went_away_are_free_again():
    recorder = Recorder(held=True)
    batcher = await started(recorder, max_items=2)
    running = await submitted(batcher.submit(requests("a")[0], None))
    await recorder.computes()
    gone = await submitted(*(batcher.submit(r, None) for r in requests("b", "c")))
    for task in gone:
        task.cancel()
    await asyncio.gather(*gone, return_exceptions=True)
    last = await submitted(batcher.submit(requests("d")[0], None))
    recorder.let_go()
    await asyncio.gather(*running, *last)
    await batcher.close()
    assert recorder.batches == [["a"], ["d"]]


async def test_a_model_that_answers_too_few_is_a_fault_of_ours():
    batcher = await started(lambda requests: [])
    with pytest.raises(Internal):
        await batcher.submit(requests("a")[0], None)
    await batcher.close()


async def test_closing_refuses_what_waits():
    recorder = Recorder(held=True)
    batcher = await started(recorder)
    waiting = await submitted(*(batcher.submit(r, None) for r in requests(*"abcdefg")))
    await recorder.computes()
    (closing,) = await submitted(batcher.close())
    recorder.let_go()
    await closing
    results = await asyncio.gather(*waiting[4:], return_exceptions=True)
    assert all(isinstance(result, Unavailable) for result in results)
    for task in waiting[:4]:
        task.cancel()


async def test_a_large_batch_is_answered_in_order_with_errors_in_their_place():
    def answer(requests):
        return [
            InvalidArgument("no c")
            if r.text == "c"
            else pb.ClassifyResponse(truncated_at=ord(r.text))
            for r in requests
        ]

    batcher = await started(answer)
    results = await batcher.submit_many(requests(*"abcdef"), None)
    await batcher.close()
    assert isinstance(results[2], InvalidArgument)
    assert [r.truncated_at for i, r in enumerate(results) if i != 2] == [*map(ord, "abdef")]


async def test_a_large_batch_without_items_is_answered_at_once():
    batcher = await started(Recorder())
    assert await batcher.submit_many([], None) == []
    await batcher.close()


async def test_what_waits_of_a_large_batch_is_not_computed_once_its_caller_is_gone():
    recorder = Recorder(held=True)
    batcher = await started(recorder, max_items=8)
    (gone,) = await submitted(batcher.submit_many(requests(*"abcdefgh"), None))
    await recorder.computes()
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    # all places are free again
    (later,) = await submitted(batcher.submit_many(requests(*"ijklmnop"), None))
    recorder.let_go()
    await later
    await batcher.close()
    assert recorder.batches == [[*"abcd"], [*"ijkl"], [*"mnop"]]


async def test_items_of_a_large_batch_that_wait_past_the_deadline_say_so():
    recorder = Recorder(held=True)
    batcher = await started(recorder)
    deadline_s = time.monotonic() + 0.2
    (call,) = await submitted(batcher.submit_many(requests(*"abcdef"), deadline_s))
    await recorder.computes()
    while time.monotonic() <= deadline_s:
        await asyncio.sleep(0.01)
    recorder.let_go()
    results = await call
    await batcher.close()
    assert [isinstance(r, DeadlineExceeded) for r in results] == [False] * 4 + [True] * 2


async def test_one_item_at_fault_leaves_the_others_of_a_large_batch_their_answers():
    def answer(requests):
        if any(request.text == "bad" for request in requests):
            raise RuntimeError("broken")
        return [pb.ClassifyResponse() for _ in requests]

    batcher = await started(answer)
    results = await batcher.submit_many(requests("a", "bad", "c"), None)
    await batcher.close()
    assert [type(result) for result in results] == [
        pb.ClassifyResponse,
        Internal,
        pb.ClassifyResponse,
    ]


async def test_what_waits_and_what_is_computed_is_told_when_the_process_will_end():
    recorder = Recorder(held=True)
    batcher = await started(recorder, max_batch_size=1)
    calls = await submitted(*(batcher.submit(r, None) for r in requests("a", "b")))
    (bulk,) = await submitted(batcher.submit_many(requests("c", "d"), None))
    await recorder.computes()
    batcher.fail(Unavailable("no memory left", reason="MEMORY_LIMIT"))
    told = await asyncio.gather(*calls, return_exceptions=True)
    assert [error.reason for error in (*told, *await bulk)] == ["MEMORY_LIMIT"] * 4
    recorder.let_go()
    await batcher.close()


async def test_a_request_that_finds_no_memory_is_told_so_and_its_neighbours_are_answered():
    def answer(batch):
        if any(request.text == "large" for request in batch):
            raise MemoryError
        return [pb.ClassifyResponse() for _ in batch]

    batcher = await started(answer)
    small, large = await batcher.submit_many(requests("small", "large"), None)
    await batcher.close()
    assert isinstance(small, pb.ClassifyResponse)
    assert (type(large), large.reason) == (ResourceExhausted, "MEMORY_LIMIT")
