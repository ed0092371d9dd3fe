"""Micro-batching: batches form while the model works, and interactive requests go first."""

from __future__ import annotations

import asyncio
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
    """Answers after a delay and remembers every batch."""

    def __init__(self, delay_s=0.03):
        self.batches = []
        self.delay_s = delay_s

    def __call__(self, requests):
        self.batches.append([request.text for request in requests])
        time.sleep(self.delay_s)
        return [pb.ClassifyResponse() for _ in requests]


def requests(*texts):
    return [pb.ClassifyRequest(text=text) for text in texts]


async def started(answer, **options):
    batcher = MicroBatcher(
        answer, **({"max_batch_size": 4, "max_wait_s": 0, "max_items": 100} | options)
    )
    batcher.start()
    return batcher


async def test_an_idle_model_is_asked_at_once_and_arrivals_form_the_next_batch():
    recorder = Recorder()
    batcher = await started(recorder)
    first = asyncio.create_task(batcher.submit(requests("a")[0], None))
    await asyncio.sleep(0.01)
    await asyncio.gather(*(batcher.submit(r, None) for r in requests("b", "c", "d")), first)
    await batcher.close()
    assert recorder.batches == [["a"], ["b", "c", "d"]]


async def test_a_batch_never_exceeds_its_limit():
    recorder = Recorder(0)
    batcher = await started(recorder)
    await batcher.submit_many(requests(*"abcdefghij"), None)
    await batcher.close()
    assert max(map(len, recorder.batches)) == 4


async def test_a_single_request_overtakes_a_large_batch():
    recorder = Recorder()
    batcher = await started(recorder)
    bulk = asyncio.create_task(batcher.submit_many(requests(*"abcdefghijkl"), None))
    await asyncio.sleep(0.01)
    await batcher.submit(requests("urgent")[0], None)
    await bulk
    await batcher.close()
    assert "urgent" in recorder.batches[1]
    assert len(recorder.batches[1]) <= 3  # half a batch of bulk items, and the single one


async def test_waiting_for_company_fills_a_batch():
    recorder = Recorder(0)
    batcher = await started(recorder, max_wait_s=0.05)
    first = asyncio.create_task(batcher.submit(requests("a")[0], None))
    await asyncio.sleep(0.01)
    await asyncio.gather(first, batcher.submit(requests("b")[0], None))
    await batcher.close()
    assert recorder.batches == [["a", "b"]]


async def test_a_batch_that_does_not_fit_is_refused_whole():
    recorder = Recorder(0)
    batcher = await started(recorder, max_items=3)
    with pytest.raises(ResourceExhausted):
        await batcher.submit_many(requests(*"abcd"), None)
    await batcher.close()
    assert recorder.batches == []


async def test_places_of_callers_that_went_away_are_free_again():
    recorder = Recorder(0.1)
    batcher = await started(recorder, max_items=2)
    running = asyncio.create_task(batcher.submit(requests("a")[0], None))
    await asyncio.sleep(0.02)
    gone = [asyncio.create_task(batcher.submit(r, None)) for r in requests("b", "c")]
    await asyncio.sleep(0.01)
    for task in gone:
        task.cancel()
    await asyncio.gather(*gone, return_exceptions=True)
    await asyncio.gather(running, batcher.submit(requests("d")[0], None))
    await batcher.close()
    assert recorder.batches == [["a"], ["d"]]


async def test_a_model_that_answers_too_few_is_a_fault_of_ours():
    batcher = await started(lambda requests: [])
    with pytest.raises(Internal):
        await batcher.submit(requests("a")[0], None)
    await batcher.close()


async def test_closing_refuses_what_waits():
    batcher = await started(Recorder(0.1))
    waiting = [asyncio.create_task(batcher.submit(r, None)) for r in requests(*"abcdefg")]
    await asyncio.sleep(0.02)
    await batcher.close()
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
    batcher = await started(Recorder(0))
    assert await batcher.submit_many([], None) == []
    await batcher.close()


async def test_what_waits_of_a_large_batch_is_not_computed_once_its_caller_is_gone():
    recorder = Recorder(0.1)
    batcher = await started(recorder, max_items=8)
    gone = asyncio.create_task(batcher.submit_many(requests(*"abcdefgh"), None))
    await asyncio.sleep(0.03)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    await batcher.submit_many(requests(*"ijklmnop"), None)  # all places are free again
    await batcher.close()
    assert recorder.batches == [[*"abcd"], [*"ijkl"], [*"mnop"]]


async def test_items_of_a_large_batch_that_wait_past_the_deadline_say_so():
    batcher = await started(Recorder(0.08))
    results = await batcher.submit_many(requests(*"abcdef"), time.monotonic() + 0.05)
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
    batcher = await started(Recorder(0.2), max_batch_size=1)
    calls = [asyncio.create_task(batcher.submit(r, None)) for r in requests("a", "b")]
    bulk = asyncio.create_task(batcher.submit_many(requests("c", "d"), None))
    await asyncio.sleep(0.05)
    batcher.fail(Unavailable("no memory left", reason="MEMORY_LIMIT"))
    told = await asyncio.gather(*calls, return_exceptions=True)
    assert [error.reason for error in (*told, *await bulk)] == ["MEMORY_LIMIT"] * 4
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
