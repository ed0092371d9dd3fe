"""Answers that compute in turns, in one thread that gives way to the small models."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tests.reasoner.scripted import ScriptedDecoder

from slmesh.reasoner.engines.in_turns import InTurns


def test_answers_under_way_together_compute_one_at_a_time() -> None:
    decoder = ScriptedDecoder("abc", step_s=0.01)
    turns = InTurns(decoder)

    def answer(_: int) -> None:
        sequence = turns.open()
        for _ in range(5):
            sequence.extend([1])

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(answer, range(2)))
    assert decoder.begun == 10
    assert decoder.most_running == 1


def test_no_answer_waits_for_the_end_of_another_one() -> None:
    order: list[str] = []
    both_wait = threading.Barrier(2)

    class Named:
        def __init__(self, name: str) -> None:
            self.name = name

        def extend(self, tokens: Sequence[int]) -> np.ndarray:
            order.append(self.name)
            threading.Event().wait(0.05)
            return np.zeros(1)

    names = iter("ab")

    class Naming:
        def open(self) -> Named:
            return Named(next(names))

    turns = InTurns(Naming())
    sequences = [turns.open(), turns.open()]

    def answer(number: int) -> None:
        both_wait.wait()
        for _ in range(4):
            sequences[number].extend([1])

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(answer, range(2)))
    assert sorted(order) == ["a"] * 4 + ["b"] * 4
    assert set(order[:4]) == {"a", "b"}


def test_an_error_of_the_model_reaches_its_answer() -> None:
    class Broken:
        def open(self) -> Broken:
            return self

        def extend(self, tokens: Sequence[int]) -> np.ndarray:
            raise ValueError("no such token")

    with pytest.raises(ValueError, match="no such token"):
        InTurns(Broken()).open().extend([1])


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no niceness of their own")
def test_a_generation_gives_way_and_its_caller_does_not() -> None:
    found: list[int] = []

    class Observed:
        def open(self) -> Observed:
            return self

        def extend(self, tokens: Sequence[int]) -> np.ndarray:
            found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
            return np.zeros(1)

    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    InTurns(Observed()).open().extend([1])
    assert found == [min(own + 10, 19)]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == own
