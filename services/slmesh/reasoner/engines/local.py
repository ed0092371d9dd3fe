"""Generates text with a model in this process, one worker thread for each answer.

The loop over tokens is here, for every local model alike: it streams, samples, keeps to a schema
and looks before each token whether anybody still waits. What computes the logits is a decoder; this
module does not know which.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from slmesh.api.reason.v1.reason_pb2 import FinishReason, Usage
from slmesh.reasoner.engines.constraint import Grammars, JsonConstraint
from slmesh.reasoner.engines.engine import (
    Ending,
    Generation,
    GenerationEvent,
    LoadedModel,
    Piece,
)
from slmesh.reasoner.engines.tokens import ChatTokenizer, TextStream
from slmesh.reasoner.prompt import ChatMessage

__all__ = ["Decoder", "LocalEngine", "LocalModel", "TokenSequence"]

_PREFILL_TOKENS = 128  # a cancelled request stops reading its prompt after at most this many


class TokenSequence(Protocol):
    """The tokens of one answer so far, with whatever the model remembers of them."""

    def extend(self, tokens: Sequence[int]) -> np.ndarray:
        """Append tokens and return the logits (V,) of the next one, in float32."""


class Decoder(Protocol):
    """A loaded language model. Sequences of it may be extended in several threads at once."""

    def open(self) -> TokenSequence:
        """Return a new empty sequence."""


@dataclass(frozen=True)
class LocalModel:
    """What a loader gives: the model, its tokenizer, and what is known about it."""

    decoder: Decoder
    tokenizer: ChatTokenizer
    loaded: LoadedModel


class LocalEngine:
    """An engine over a decoder.

    Args:
        loader: Loads the model; blocking.
        max_concurrent: Answers generated at the same time, >= 1.
    """

    def __init__(self, loader: Callable[[], LocalModel], max_concurrent: int) -> None:
        self._loader = loader
        self._max_concurrent = max_concurrent
        self._model: LocalModel | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._grammars: Grammars | None = None
        self._grammars_lock = threading.Lock()

    def load(self) -> LoadedModel:
        """Load the model and compute one token, so that the first request meets a warm one."""
        model = self._loader()
        model.decoder.open().extend(model.tokenizer.encode([ChatMessage("user", "Hello")]))
        self._threads = ThreadPoolExecutor(self._max_concurrent, thread_name_prefix="reasoner")
        self._model = model
        return model.loaded

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """Return the length of a prompt in tokens."""
        return len(self._loaded().tokenizer.encode(messages))

    async def generate(self, generation: Generation) -> AsyncGenerator[GenerationEvent]:
        """Generate in a worker thread; closing this generator stops it before its next token."""
        if self._threads is None:
            raise RuntimeError("the engine is not loaded")
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[GenerationEvent | Exception] = asyncio.Queue()
        abandoned = threading.Event()

        def work() -> None:
            def tell(event: GenerationEvent | Exception) -> None:
                loop.call_soon_threadsafe(events.put_nowait, event)

            try:
                for event in self._run(generation, abandoned):
                    tell(event)
            except Exception as error:  # it is raised on the other side
                tell(error)

        worker = loop.run_in_executor(self._threads, work)
        try:
            while True:
                event = await events.get()
                if isinstance(event, Exception):
                    raise event
                yield event
                if isinstance(event, Ending):
                    return
        finally:
            abandoned.set()
            # the caller's place is free when the model is, not earlier
            await asyncio.shield(worker)

    def close(self) -> None:
        """Let go of the model; answers under way end first."""
        if self._threads is not None:
            self._threads.shutdown(wait=True)
        self._threads = self._model = self._grammars = None

    def _loaded(self) -> LocalModel:
        if self._model is None:
            raise RuntimeError("the engine is not loaded")
        return self._model

    def _constraint(self, generation: Generation) -> JsonConstraint | None:
        if generation.output_schema is None:
            return None
        with self._grammars_lock:
            if self._grammars is None:
                self._grammars = Grammars(self._loaded().tokenizer)
        return self._grammars.constraint(generation.output_schema)

    def _run(self, generation: Generation, abandoned: threading.Event) -> Iterator[GenerationEvent]:
        """Yield one answer, or stop early once ``abandoned`` is set."""
        model = self._loaded()
        constraint = self._constraint(generation)
        prompt = model.tokenizer.encode(generation.messages)
        sequence = model.decoder.open()
        for start in range(0, len(prompt), _PREFILL_TOKENS):
            if abandoned.is_set():
                return
            logits = sequence.extend(prompt[start : start + _PREFILL_TOKENS])
        random = np.random.default_rng()
        text = TextStream(model.tokenizer)
        count, reason = 0, FinishReason.FINISH_REASON_LENGTH
        while True:
            if constraint is not None:
                logits = constraint.apply(logits)
            token = _choose(logits, generation.temperature, random)
            if token in model.tokenizer.stop_tokens:
                reason = FinishReason.FINISH_REASON_STOP
                break
            if constraint is not None:
                constraint.accept(token)
            count += 1
            if piece := text.push(token):
                yield Piece(piece)
            if count == generation.max_output_tokens:
                break
            if abandoned.is_set():
                return
            logits = sequence.extend([token])
        if rest := text.rest():
            yield Piece(rest)
        yield Ending(reason, Usage(prompt_tokens=len(prompt), output_tokens=count))


def _choose(logits: np.ndarray, temperature: float, random: np.random.Generator) -> int:
    """Return the next token: the most probable one, or a sample at ``temperature`` > 0."""
    if temperature == 0:
        return int(logits.argmax())
    scaled = logits.astype(np.float64) / temperature
    weights = np.exp(scaled - scaled.max())  # (V,)
    return int(random.choice(weights.size, p=weights / weights.sum()))
