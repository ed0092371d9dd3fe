"""Places and the bounded queue in front of them."""

from __future__ import annotations

import asyncio

import pytest

from slmesh.mesh.errors import ResourceExhausted
from slmesh.reasoner.admission import Admission


async def hold(admission: Admission, release: asyncio.Event, order: list[int], name: int) -> None:
    async with admission.place():
        order.append(name)
        await release.wait()


async def test_the_queue_is_first_come_first_served_and_bounded() -> None:
    admission, release, order = Admission(2, 2), asyncio.Event(), []
    tasks = [asyncio.create_task(hold(admission, release, order, n)) for n in range(4)]
    await asyncio.sleep(0)
    assert (order, admission.waiting) == ([0, 1], 2)
    with pytest.raises(ResourceExhausted, match="2 wait") as caught:
        async with admission.place():
            pass
    assert caught.value.retry_delay_s is not None
    assert caught.value.retry_delay_s > 0
    release.set()
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2, 3]


async def test_a_waiter_that_gives_up_leaves_its_place_in_the_queue() -> None:
    admission, release, order = Admission(1, 1), asyncio.Event(), []
    first = asyncio.create_task(hold(admission, release, order, 0))
    waiter = asyncio.create_task(hold(admission, release, order, 1))
    await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    assert admission.waiting == 0
    release.set()
    await first
    async with admission.place():
        assert order == [0]


async def test_an_error_inside_gives_the_place_back() -> None:
    admission = Admission(1, 0)
    for _ in range(3):
        with pytest.raises(ValueError, match="inside"):
            async with admission.place():
                raise ValueError("inside")


async def test_the_retry_delay_follows_the_recent_durations() -> None:
    admission = Admission(1, 0)
    for _ in range(30):
        async with admission.place():
            pass
    async with admission.place():
        with pytest.raises(ResourceExhausted) as caught:
            async with admission.place():
                pass
    assert caught.value.retry_delay_s is not None
    assert caught.value.retry_delay_s < 0.1
