"""The rules of long polling, against a source that plays a script."""

import asyncio
from collections.abc import Sequence

import pytest

from slmesh.discovery.blocking_query import Backoff, follow
from slmesh.mesh.errors import MeshError, Unavailable

AWAY = Unavailable("away")
QUICK = Backoff(first_s=0.001, most_s=0.001)


class Script:
    """A source that answers with a list of indexes and errors, then never again."""

    def __init__(self, steps: Sequence[int | Exception]) -> None:
        self._steps = list(steps)
        self.asked: list[int] = []
        self.answers: list[str] = []
        self.errors: list[MeshError] = []

    async def query(self, index: int) -> tuple[int, str]:
        self.asked.append(index)
        if not self._steps:
            await asyncio.Event().wait()
        step = self._steps.pop(0)
        if isinstance(step, Exception):
            raise step
        return step, f"answer {step}"

    async def play(self, timeout_s: float = 2.0) -> None:
        steps = len(self._steps)
        task = asyncio.create_task(
            follow(self.query, self.answers.append, self.errors.append, backoff=QUICK)
        )
        try:
            async with asyncio.timeout(timeout_s):
                while len(self.asked) <= steps:
                    await asyncio.sleep(0.001)
        finally:
            task.cancel()
            await asyncio.wait([task])


def test_the_delay_grows_up_to_its_limit() -> None:
    delays = Backoff(first_s=0.2, most_s=2.0)
    assert [delays.delay_s(n, 1.0) for n in (1, 2, 3, 4, 5, 1000)] == [0.2, 0.4, 0.8, 1.6, 2.0, 2.0]


def test_the_delay_is_spread_over_its_upper_half() -> None:
    delays = Backoff(first_s=0.2, most_s=2.0)
    assert (delays.delay_s(1, 0.0), delays.delay_s(1, 0.5)) == pytest.approx((0.1, 0.15))


async def test_each_query_asks_for_what_changed_after_the_last_answer() -> None:
    script = Script([3, 7])
    await script.play()
    assert script.asked == [0, 3, 7]


async def test_an_index_that_goes_backwards_is_a_failure_and_thrown_away() -> None:
    script = Script([7, 3, 4])
    await script.play()
    assert script.asked == [0, 7, 0, 4]
    assert script.answers == ["answer 7", "answer 4"]
    assert script.errors[0].reason == "DISCOVERY_STARTED_OVER"


async def test_an_index_of_zero_is_not_asked_with() -> None:
    script = Script([0])
    await script.play()
    assert script.asked == [0, 1]


async def test_after_a_failure_the_state_is_asked_for_at_once() -> None:
    script = Script([7, AWAY, 4])
    await script.play()
    assert script.asked == [0, 7, 0, 4]
    assert script.answers == ["answer 7", "answer 4"]


async def test_an_unforeseen_failure_does_not_end_the_following() -> None:
    script = Script([RuntimeError("secret"), 2])
    await script.play()
    assert script.answers == ["answer 2"]
    assert "secret" not in script.errors[0].message


async def test_answers_that_come_too_fast_are_slowed_down() -> None:
    script = Script([1] * 1000)
    with pytest.raises(TimeoutError):
        await script.play(timeout_s=0.35)
    assert 2 <= len(script.asked) <= 4
