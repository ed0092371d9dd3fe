"""The loop over tokens: streaming, limits, sampling and cancellation."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from tests.reasoner.scripted import ScriptedDecoder, scripted_engine

from slmesh.api.reason.v1.reason_pb2 import FinishReason
from slmesh.reasoner.engines.engine import Ending, Generation, Piece
from slmesh.reasoner.engines.local import LocalEngine
from slmesh.reasoner.prompt import ChatMessage


def generation(text: str = "hi", **changes: object) -> Generation:
    fields: dict[str, object] = {"max_output_tokens": 100, "temperature": 0.0, **changes}
    return Generation(messages=[ChatMessage("user", text)], **fields)  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def loaded(decoder: ScriptedDecoder, max_concurrent: int = 2) -> AsyncIterator[LocalEngine]:
    engine = scripted_engine(decoder, max_concurrent)
    engine.load()
    decoder.begun = 0
    decoder.prompt_chunks.clear()
    try:
        yield engine
    finally:
        await asyncio.to_thread(engine.close)


async def collect(engine: LocalEngine, wanted: Generation) -> tuple[str, Ending]:
    events = [event async for event in engine.generate(wanted)]
    ending = events.pop()
    assert isinstance(ending, Ending)
    return "".join(event.text for event in events if isinstance(event, Piece)), ending


async def test_text_streams_and_ends_with_usage() -> None:
    async with loaded(ScriptedDecoder("Grüße 🙂!")) as engine:
        text, ending = await collect(engine, generation())
    assert text == "Grüße 🙂!"
    assert ending.finish_reason == FinishReason.FINISH_REASON_STOP
    assert ending.usage is not None
    assert ending.usage.output_tokens == len("Grüße 🙂!".encode())
    assert ending.usage.prompt_tokens == len("<hi>")  # two control tokens and two bytes


async def test_no_piece_holds_half_a_character() -> None:
    async with loaded(ScriptedDecoder("🙂🙂")) as engine:
        events = [event async for event in engine.generate(generation())]
    assert [event.text for event in events if isinstance(event, Piece)] == ["🙂", "🙂"]


async def test_the_limit_of_output_tokens_ends_with_length() -> None:
    async with loaded(ScriptedDecoder("abcdef")) as engine:
        text, ending = await collect(engine, generation(max_output_tokens=3))
    assert text == "abc"
    assert ending.finish_reason == FinishReason.FINISH_REASON_LENGTH
    assert ending.usage is not None
    assert ending.usage.output_tokens == 3


async def test_a_character_cut_by_the_limit_is_not_lost_silently() -> None:
    async with loaded(ScriptedDecoder("a🙂")) as engine:
        text, _ = await collect(engine, generation(max_output_tokens=2))
    assert text == "a\ufffd"


async def test_closing_the_generator_stops_within_one_token() -> None:
    decoder = ScriptedDecoder("x" * 80, gated=True)
    async with loaded(decoder) as engine:
        assert decoder.gate is not None
        events = engine.generate(generation())
        decoder.gate.release(3)  # the prompt and two tokens
        for _ in range(3):
            await anext(events)
        await decoder.until_begun(4)
        closing = asyncio.create_task(events.aclose())
        await asyncio.sleep(0)
        decoder.gate.release(100)
        await closing
        assert decoder.begun == 4  # the one under way has ended, and no other was begun


async def test_cancelling_the_task_stops_within_one_token() -> None:
    decoder = ScriptedDecoder("x" * 80, gated=True)
    async with loaded(decoder) as engine:
        assert decoder.gate is not None
        task = asyncio.create_task(collect(engine, generation()))
        decoder.gate.release(3)
        await decoder.until_begun(4)
        task.cancel()
        await asyncio.sleep(0.01)
        decoder.gate.release(100)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert decoder.begun == 4


async def test_cancelling_stops_the_reading_of_a_long_prompt() -> None:
    decoder = ScriptedDecoder("x", gated=True)
    async with loaded(decoder) as engine:
        assert decoder.gate is not None
        task = asyncio.create_task(collect(engine, generation("y" * 128 * 50)))
        decoder.gate.release(2)
        await decoder.until_begun(3)
        task.cancel()
        await asyncio.sleep(0.01)
        decoder.gate.release(100)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert decoder.begun == 3


async def test_a_long_prompt_is_read_whole() -> None:
    decoder = ScriptedDecoder("x")
    async with loaded(decoder) as engine:
        await collect(engine, generation("y" * 300))
    assert sum(decoder.prompt_chunks) == 302


async def test_an_error_of_the_model_reaches_the_caller() -> None:
    class Broken(ScriptedDecoder):
        def open(self) -> None:  # type: ignore[override]
            raise MemoryError("no room")

    engine = scripted_engine(ScriptedDecoder("x"))
    engine.load()
    object.__setattr__(engine._model, "decoder", Broken("x"))
    with pytest.raises(MemoryError):
        await collect(engine, generation())
    engine.close()


async def test_temperature_samples_other_tokens() -> None:
    async with loaded(ScriptedDecoder("x" * 60)) as engine:
        greedy, _ = await collect(engine, generation(max_output_tokens=40))
        sampled, _ = await collect(engine, generation(max_output_tokens=40, temperature=2.0))
    assert set(greedy) == {"x"}
    assert set(sampled) != {"x"}


async def test_a_schema_binds_the_answer_whatever_the_model_wants() -> None:
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    schema["additionalProperties"] = False
    async with loaded(ScriptedDecoder("no JSON at all")) as engine:
        text, ending = await collect(engine, generation(output_schema=schema))
    assert text in ('{"ok":true}', '{"ok":false}')
    assert ending.finish_reason == FinishReason.FINISH_REASON_STOP
