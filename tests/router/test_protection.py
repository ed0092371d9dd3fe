"""Breaker, bulkhead and retries around a service, on a clock that moves when it is told to."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from slmesh.api.classify.v1 import classify_pb2
from slmesh.mesh.context import RequestContext
from slmesh.mesh.contract import rpcs
from slmesh.mesh.errors import InvalidArgument, MeshError, ResourceExhausted, Unavailable
from slmesh.router.protection import Breaker, ProtectedTransport, Protection


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Service:
    """Answers, fails or hangs as it is told."""

    def __init__(self) -> None:
        self.failures: list[MeshError] = []
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def unary(self, rpc, request, context):
        self.asked += 1
        await self.may_answer.wait()
        if self.failures:
            raise self.failures.pop(0)
        return classify_pb2.ClassifyResponse()


NO_RETRIES = Protection(retries=-1e9)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def service() -> Service:
    return Service()


async def call(transport, service="intent", **context):
    request = classify_pb2.ClassifyRequest(text="t")
    return await transport.unary(
        rpcs()["Classify"], request, RequestContext(service=service, **context)
    )


async def fail(transport, times):
    for _ in range(times):
        with pytest.raises(Unavailable):
            await call(transport)


async def test_a_service_that_fails_too_often_is_not_asked_for_a_while(service, clock):
    told = []
    transport = ProtectedTransport(
        service, NO_RETRIES, now_s=clock, on_breaker=lambda *args: told.append(args)
    )
    service.failures = [Unavailable("down")] * 5
    await fail(transport, 5)
    with pytest.raises(Unavailable, match="failed too often") as caught:
        await call(transport)
    assert caught.value.reason == "BREAKER_OPEN"
    assert caught.value.retry_delay_s == pytest.approx(1.0)
    assert service.asked == 5
    await call(transport, "triage")  # others are not affected
    clock.now_s += 1.1
    service.failures = [Unavailable("down")]
    await fail(transport, 1)  # the one call that tries
    with pytest.raises(Unavailable, match="failed too often"):
        await call(transport)
    clock.now_s += 1.1
    await call(transport)
    await call(transport)
    assert told == [("intent", True), ("intent", False)]


async def test_wrong_requests_say_nothing_of_a_service(service, clock):
    transport = ProtectedTransport(service, NO_RETRIES, now_s=clock)
    service.failures = [InvalidArgument("no")] * 20
    for _ in range(20):
        with pytest.raises(InvalidArgument):
            await call(transport)
    await call(transport)


async def test_a_service_that_hangs_opens_the_breaker_too(service):
    transport = ProtectedTransport(service, NO_RETRIES)
    service.may_answer.clear()

    async def hang() -> None:
        context = RequestContext(service="intent").within(0.15)
        request = classify_pb2.ClassifyRequest(text="t")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(context.remaining_s()):
                await transport.unary(rpcs()["Classify"], request, context)

    await asyncio.gather(*(hang() for _ in range(5)))
    with pytest.raises(Unavailable, match="failed too often"):
        await call(transport)


async def test_callers_that_go_away_say_nothing_of_a_service(service):
    transport = ProtectedTransport(service, NO_RETRIES)
    service.may_answer.clear()
    tasks = [asyncio.create_task(call(transport)) for _ in range(10)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    service.may_answer.set()
    await call(transport)


async def test_the_bulkhead_bounds_calls_of_a_service_and_of_a_tenant(service):
    transport = ProtectedTransport(service, replace(NO_RETRIES, calls=3, calls_of_tenant=2))
    service.may_answer.clear()
    first = [asyncio.create_task(call(transport, tenant="a")) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(ResourceExhausted, match="2 calls of one tenant") as caught:
        await call(transport, tenant="a")
    assert caught.value.reason == "BULKHEAD_FULL"
    other = asyncio.create_task(call(transport, tenant="b"))
    await asyncio.sleep(0)
    with pytest.raises(ResourceExhausted, match="3 calls to service"):
        await call(transport, tenant="c")
    service.may_answer.set()
    await asyncio.gather(*first, other)
    await call(transport, tenant="a")


async def test_one_more_try_where_it_is_safe(service, clock):
    transport = ProtectedTransport(service, now_s=clock)
    service.failures = [Unavailable("restarting")]
    await call(transport)
    assert service.asked == 2
    service.failures = [InvalidArgument("no")]
    with pytest.raises(InvalidArgument):
        await call(transport)
    assert service.asked == 3


async def test_no_try_without_time(service, clock):
    transport = ProtectedTransport(service, now_s=clock)
    service.failures = [Unavailable("restarting")]
    with pytest.raises(Unavailable):
        await call(transport, deadline=RequestContext().within(0.01).deadline)
    assert service.asked == 1


async def test_retries_are_few(service, clock):
    calm = Protection(window=1000, fewest=1000)
    transport = ProtectedTransport(service, calm, now_s=clock)
    service.failures = [Unavailable("down")] * 1000
    for _ in range(100):
        with pytest.raises(Unavailable):
            await call(transport)
    assert service.asked <= 100 + 3 + 10


def test_a_call_from_before_does_not_close_a_breaker(clock):
    breaker = Breaker(Protection(), clock)
    for _ in range(6):
        assert breaker.enter() == 0.0
    for _ in range(5):
        breaker.leave(failed=True)
    assert breaker.is_open
    breaker.leave(failed=False)
    assert breaker.is_open
