"""Lets the answers of one model compute one after the other, each token in its turn.

Two answers that compute at once would take twice the threads that the manifest gives the service, and
on a small machine the cores of the small models too.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from slmesh.reasoner.engines.local import Decoder, TokenSequence

__all__ = ["InTurns"]

_NICENESS = 10
"""A thread of this niceness gets about a tenth of a core that an answering thread wants too."""


class InTurns:
    """A decoder that computes in one thread, for as many sequences as there are.

    Args:
        decoder: What computes, with threads of its own beside the one that asks.
    """

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        # its queue is first come, first served; a lock would let one answer overtake the other
        self._thread = ThreadPoolExecutor(
            1, thread_name_prefix="reasoner-compute", initializer=_give_way
        )

    def open(self) -> TokenSequence:
        """See :class:`slmesh.reasoner.engines.local.Decoder`."""
        return _Turns(self._decoder.open(), self._thread)


class _Turns:
    def __init__(self, sequence: TokenSequence, thread: ThreadPoolExecutor) -> None:
        self._sequence = sequence
        self._thread = thread

    def extend(self, tokens: Sequence[int]) -> np.ndarray:
        return self._thread.submit(self._sequence.extend, tokens).result()


def _give_way() -> None:
    """Let small models on this machine go first: they take milliseconds, a generation seconds."""
    if sys.platform == "linux":  # where a thread has a niceness of its own
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):  # a sandbox may forbid it
            niceness = os.getpriority(os.PRIO_PROCESS, thread) + _NICENESS
            os.setpriority(os.PRIO_PROCESS, thread, niceness)
