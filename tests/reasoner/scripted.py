"""A decoder that says a given text, token by token, and counts what it computed."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence

import numpy as np
from tests.reasoner.tiny_model import byte_tokenizer

from slmesh.reasoner.engines.engine import LoadedModel
from slmesh.reasoner.engines.local import LocalEngine, LocalModel
from slmesh.reasoner.engines.tokens import ChatTokenizer

END = 2


class ScriptedDecoder:
    """Says ``script`` to every prompt.

    Each computation takes ``step_s`` seconds, or, when ``gated``, until the test lets it go on, so
    that a test knows what is being computed at the moment it cancels.
    """

    def __init__(self, script: str, step_s: float = 0.0, *, gated: bool = False) -> None:
        self.tokens = [*byte_tokenizer().encode(script).ids, END]
        self.step_s = step_s
        self.gate = threading.Semaphore(1) if gated else None  # one for the warm-up
        self.begun = 0
        self.prompt_chunks: list[int] = []
        self.running = 0
        self.most_running = 0
        self.lock = threading.Lock()

    async def until_begun(self, computations: int) -> None:
        """Wait until so many computations have begun."""
        while self.begun < computations:
            await asyncio.sleep(0.001)

    def open(self) -> ScriptedSequence:
        return ScriptedSequence(self)


class ScriptedSequence:
    def __init__(self, decoder: ScriptedDecoder) -> None:
        self._decoder = decoder
        self._said = 0

    def extend(self, tokens: Sequence[int]) -> np.ndarray:
        decoder = self._decoder
        with decoder.lock:
            decoder.begun += 1
            decoder.running += 1
            decoder.most_running = max(decoder.most_running, decoder.running)
        if decoder.gate is None:
            time.sleep(decoder.step_s)
        else:
            decoder.gate.acquire()
        with decoder.lock:
            decoder.running -= 1
            if len(tokens) == 1:
                self._said += 1
            else:
                decoder.prompt_chunks.append(len(tokens))
        logits = np.zeros(byte_tokenizer().get_vocab_size(), dtype=np.float32)
        logits[decoder.tokens[min(self._said, len(decoder.tokens) - 1)]] = 9.0
        return logits


def scripted_engine(decoder: ScriptedDecoder, max_concurrent: int = 2) -> LocalEngine:
    """Return an engine that is not loaded yet over a decoder."""

    def template(messages: list[dict[str, str]]) -> str:
        return "".join(f"<|im_start|>{m['content']}<|im_end|>" for m in messages)

    tokenizer = ChatTokenizer(byte_tokenizer().to_str(), template, [END, 0])
    loaded = LoadedModel("scripted", "1", "sha256:0", 512, counts_exactly=True)
    return LocalEngine(lambda: LocalModel(decoder, tokenizer, loaded), max_concurrent)
