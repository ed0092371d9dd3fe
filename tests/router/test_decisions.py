"""Decisions are remembered for a while, and concurrent repeats share one run."""

from __future__ import annotations

import asyncio

import pytest

from slmesh.api.route.v1.route_pb2 import Decision, ExplainResponse
from slmesh.mesh.errors import ResourceExhausted
from slmesh.router.admission import Admission
from slmesh.router.coalescing import Coalescing
from slmesh.router.decisions import MemoryDecisions, Recorded


def recorded(name, tenant="t"):
    decision = Decision(decision_id=f"d{name}", request_id=f"r{name}")
    return Recorded(tenant, "digest", ExplainResponse(decision=decision))


async def test_a_decision_is_found_by_both_ids_and_by_its_tenant_only():
    decisions = MemoryDecisions(lambda: 0.0)
    one = recorded(1)
    await decisions.record(one)
    assert await decisions.by_id("t", "d1") == one
    assert await decisions.by_request("t", "r1") == one
    assert await decisions.by_id("other", "d1") is None
    assert await decisions.by_request("other", "r1") is None


async def test_the_oldest_decision_is_forgotten_when_the_memory_is_full():
    decisions = MemoryDecisions(lambda: 0.0, limit=2)
    for name in range(3):
        await decisions.record(recorded(name))
    assert await decisions.by_id("t", "d0") is None
    assert await decisions.by_request("t", "r0") is None
    assert await decisions.by_id("t", "d2") is not None


async def test_a_decision_is_forgotten_after_its_time():
    now_s = [0.0]
    decisions = MemoryDecisions(lambda: now_s[0], keep_s=10)
    await decisions.record(recorded(1))
    now_s[0] = 10.5
    assert await decisions.by_request("t", "r1") is None


async def test_concurrent_runs_of_one_key_are_one():
    runs = []
    coalescing: Coalescing[int] = Coalescing()

    async def run():
        runs.append(1)
        await asyncio.sleep(0.01)
        return len(runs)

    assert await asyncio.gather(*(coalescing.run("k", run) for _ in range(5))) == [1] * 5
    assert await coalescing.run("k", run) == 2


async def test_a_run_goes_on_while_anybody_waits_and_ends_with_the_last():
    coalescing: Coalescing[None] = Coalescing()
    ended = []

    async def run():
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    callers = [asyncio.create_task(coalescing.run("k", run)) for _ in range(2)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    callers[0].cancel()
    await asyncio.sleep(0.01)
    assert not ended
    callers[1].cancel()
    await asyncio.sleep(0.01)
    assert ended
    assert all(caller.cancelled() for caller in callers)


async def test_a_run_that_fails_fails_for_all_and_is_forgotten():
    coalescing: Coalescing[int] = Coalescing()

    async def fail():
        await asyncio.sleep(0)
        raise ValueError

    async def work():
        return 7

    results = await asyncio.gather(
        *(coalescing.run("k", fail) for _ in range(2)), return_exceptions=True
    )
    assert all(isinstance(result, ValueError) for result in results)
    assert await coalescing.run("k", work) == 7


async def test_one_request_more_than_the_limit_is_refused_and_told_when_to_retry():
    admission = Admission(1)
    with admission.one():
        with pytest.raises(ResourceExhausted) as caught, admission.one():
            pass
        assert caught.value.reason == "TOO_MANY_IN_FLIGHT"
        assert caught.value.retry_delay_s
    with admission.one():
        pass
    await admission.empty()
