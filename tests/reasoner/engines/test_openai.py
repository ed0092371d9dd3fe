"""The OpenAI-compatible engine against a real HTTP server."""

from __future__ import annotations

import asyncio
import email.utils
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.reasoner.engines.chat_server import ChatServer, chunk, usage_chunk

from slmesh.api.reason.v1.reason_pb2 import FinishReason, Usage
from slmesh.mesh.errors import (
    FailedPrecondition,
    InvalidArgument,
    MeshError,
    ResourceExhausted,
    Unavailable,
)
from slmesh.reasoner.engines.engine import Ending, Generation, GenerationEvent, Piece
from slmesh.reasoner.engines.openai import OpenAIEngine
from slmesh.reasoner.prompt import ChatMessage

KEY = "sk-very-secret"
CLOSED_SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "string"}},
    "required": ["a"],
    "additionalProperties": False,
}


@pytest.fixture
async def server() -> AsyncIterator[ChatServer]:
    server = ChatServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def engine(server: ChatServer) -> AsyncIterator[OpenAIEngine]:
    engine = OpenAIEngine(server.base_url, "small-model", KEY, silence_s=0.5)
    engine.load()
    yield engine
    await asyncio.to_thread(engine.close)


def generation(**changes: Any) -> Generation:
    fields = {"max_output_tokens": 20, "temperature": 0.5, **changes}
    messages = [ChatMessage("system", "Be brief."), ChatMessage("user", "Hi")]
    return Generation(messages=messages, **fields)


async def collect(engine: OpenAIEngine, wanted: Generation) -> list[GenerationEvent]:
    return [event async for event in engine.generate(wanted)]


async def test_pieces_stream_and_end_with_the_usage_of_the_provider(
    server: ChatServer, engine: OpenAIEngine
) -> None:
    opening = chunk("", role="assistant")
    server.say(opening, chunk("Hel"), chunk("lo 🙂"), chunk(finish="stop"), usage_chunk(11, 3))
    events = await collect(engine, generation())
    assert events == [
        Piece("Hel"),
        Piece("lo 🙂"),
        Ending(FinishReason.FINISH_REASON_STOP, Usage(prompt_tokens=11, output_tokens=3)),
    ]


async def test_an_answer_nobody_looks_at_before_its_end_comes_in_one_piece(
    server: ChatServer, engine: OpenAIEngine
) -> None:
    server.say(chunk("Hel"), chunk("lo"), chunk(finish="length"), usage_chunk(11, 3))
    events = await collect(engine, generation(whole=True))
    assert events == [
        Piece("Hello"),
        Ending(FinishReason.FINISH_REASON_LENGTH, Usage(prompt_tokens=11, output_tokens=3)),
    ]
    assert "stream" not in server.requests[0]
    server.say(chunk(refusal="I would rather not"), chunk(finish="stop"))
    assert await collect(engine, generation(whole=True)) == [
        Ending(FinishReason.FINISH_REASON_REFUSAL, None)
    ]


async def test_a_whole_answer_that_breaks_off_or_has_no_choice_is_told(
    server: ChatServer, engine: OpenAIEngine
) -> None:
    server.say(chunk("x", "stop"))
    server.break_after = 0
    with pytest.raises(Unavailable) as failed:
        await collect(engine, generation(whole=True))
    assert failed.value.reason == "PROVIDER_BROKE_OFF"  # tokens may have been spent
    server.status, server.error = 200, {}
    server.break_after = None
    await server.stop()
    with pytest.raises(Unavailable) as failed:
        await collect(engine, generation(whole=True))
    assert failed.value.reason == "PROVIDER_UNREACHABLE"


async def test_the_request_says_model_messages_limit_and_key(
    server: ChatServer, engine: OpenAIEngine
) -> None:
    server.say(chunk("x", "stop"))
    await collect(engine, generation())
    assert server.keys == [f"Bearer {KEY}"]
    assert server.requests == [
        {
            "model": "small-model",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Hi"},
            ],
            "max_tokens": 20,
            "temperature": 0.5,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ]


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        pytest.param(CLOSED_SCHEMA, True, id="closed"),
        pytest.param({**CLOSED_SCHEMA, "required": []}, False, id="optional-property"),
        pytest.param({**CLOSED_SCHEMA, "additionalProperties": True}, False, id="open"),
        pytest.param({"type": "array", "items": {"type": "object"}}, False, id="open-inside"),
    ],
)
async def test_a_schema_travels_as_response_format(
    server: ChatServer, engine: OpenAIEngine, schema: dict[str, Any], strict: bool
) -> None:
    server.say(chunk('{"a":"b"}', "stop"))
    await collect(engine, generation(output_schema=schema))
    assert server.requests[0]["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": schema, "strict": strict},
    }


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        pytest.param(chunk(finish="stop"), "STOP", id="stop"),
        pytest.param(chunk(finish="length"), "LENGTH", id="length"),
        pytest.param(chunk(finish="content_filter"), "REFUSAL", id="content-filter"),
        pytest.param(chunk(finish="stop", refusal="I cannot"), "REFUSAL", id="refusal"),
    ],
)
async def test_finish_reasons_are_translated(
    server: ChatServer, engine: OpenAIEngine, last: dict[str, Any], reason: str
) -> None:
    server.say(chunk("x"), last)
    events = await collect(engine, generation())
    assert events[-1] == Ending(FinishReason.Value(f"FINISH_REASON_{reason}"), None)


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        pytest.param(401, FailedPrecondition, "SLMESH_REASONER_API_KEY", id="no-key"),
        pytest.param(403, FailedPrecondition, "SLMESH_REASONER_API_KEY", id="forbidden"),
        pytest.param(404, FailedPrecondition, "SLMESH_REASONER_MODEL", id="no-model"),
        pytest.param(400, FailedPrecondition, "form of the request", id="bad-request"),
        pytest.param(413, InvalidArgument, "longer", id="too-large"),
        pytest.param(408, Unavailable, "provider failed", id="request-timeout"),
        pytest.param(429, ResourceExhausted, "rate limit", id="rate-limit"),
        pytest.param(500, Unavailable, "provider failed", id="server-error"),
        pytest.param(503, Unavailable, "provider failed", id="overloaded"),
    ],
)
async def test_statuses_become_errors_of_the_mesh_that_leak_nothing(
    server: ChatServer,
    engine: OpenAIEngine,
    caplog: pytest.LogCaptureFixture,
    status: int,
    kind: type[MeshError],
    words: str,
) -> None:
    caplog.set_level(logging.INFO)
    server.status = status
    with pytest.raises(kind, match=words) as caught:
        await collect(engine, generation())
    shown = str(caught.value.to_status())
    for secret in (KEY, "127.0.0.1", "10.0.0.9", "provider's own words"):
        assert secret not in shown
    assert KEY not in caplog.text
    assert len(server.requests) == 1  # nothing is retried here


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [
        pytest.param("7", 7, 7, id="seconds"),
        pytest.param("0.25", 0.25, 0.25, id="fraction"),
        pytest.param("", 1, 1, id="missing"),
        pytest.param("soon", 1, 1, id="nonsense"),
        pytest.param("nan", 1, 1, id="not-a-number"),
        pytest.param("-3", 1, 1, id="negative"),
        pytest.param("1e9", 3600, 3600, id="huge"),
        # far enough ahead of the time the tests were collected
        pytest.param(email.utils.formatdate(time.time() + 3000, usegmt=True), 100, 3001, id="date"),
    ],
)
async def test_a_rate_limit_says_when_to_try_again(
    server: ChatServer, engine: OpenAIEngine, header: str, low: float, high: float
) -> None:
    server.status = 429
    server.headers = {"Retry-After": header} if header else {}
    with pytest.raises(ResourceExhausted) as caught:
        await collect(engine, generation())
    assert caught.value.retry_delay_s is not None
    assert low <= caught.value.retry_delay_s <= high


async def test_a_prompt_too_long_for_the_provider_names_the_text(
    server: ChatServer, engine: OpenAIEngine
) -> None:
    server.status = 400
    server.error = {"message": "too long", "code": "context_length_exceeded", "param": "messages"}
    with pytest.raises(InvalidArgument) as caught:
        await collect(engine, generation())
    assert (caught.value.field, caught.value.reason) == ("text", "PROMPT_TOO_LONG")


async def test_a_schema_the_provider_refuses_names_the_schema(
    server: ChatServer, engine: OpenAIEngine
) -> None:
    server.status = 400
    server.error = {"message": "bad schema", "param": "response_format"}
    with pytest.raises(InvalidArgument) as caught:
        await collect(engine, generation(output_schema={"type": "object"}))
    assert caught.value.field == "output_schema"


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("data: {not json", id="broken-json"),
        pytest.param('data: {"choices": [{"index": 0}]}', id="choice-without-delta"),
        pytest.param('data: {"choices": 7}', id="choices-not-a-list"),
        pytest.param('data: "text"', id="not-an-object"),
        pytest.param("data: \x00\x01", id="control-characters"),
    ],
)
async def test_a_malformed_chunk_is_unavailable(
    server: ChatServer, engine: OpenAIEngine, line: str
) -> None:
    server.say(chunk("x"), chunk(finish="stop"))
    server.lines.insert(1, line)
    with pytest.raises(Unavailable, match="no chat completion") as caught:
        await collect(engine, generation())
    assert caught.value.reason == "PROVIDER_ANSWER_MALFORMED"


async def test_an_error_inside_the_stream_is_unavailable(
    server: ChatServer, engine: OpenAIEngine
) -> None:
    server.say(chunk("x"), {"error": {"message": "GPU 3 at 10.0.0.9 fell over", "code": 500}})
    with pytest.raises(Unavailable) as caught:
        await collect(engine, generation())
    assert "10.0.0.9" not in str(caught.value.to_status())


async def test_a_stream_that_ends_without_a_finish_reason_is_unavailable(
    server: ChatServer, engine: OpenAIEngine
) -> None:
    server.say(chunk("x"))
    with pytest.raises(Unavailable, match="broke off"):
        await collect(engine, generation())


async def test_a_connection_that_breaks_during_the_answer_is_unavailable(
    server: ChatServer, engine: OpenAIEngine
) -> None:
    server.say(*(chunk("x") for _ in range(5)))
    server.break_after, server.pause_s = 2, 0.01
    with pytest.raises(Unavailable) as caught:
        await collect(engine, generation())
    assert caught.value.reason in ("PROVIDER_BROKE_OFF", "PROVIDER_UNREACHABLE")


async def test_a_silent_server_times_out(server: ChatServer, engine: OpenAIEngine) -> None:
    server.say(chunk("x"), chunk("y"))
    server.pause_s = 30.0
    started = time.monotonic()
    with pytest.raises(Unavailable):
        await collect(engine, generation())
    assert time.monotonic() - started < 20


async def test_neither_the_text_nor_the_key_is_ever_logged(
    server: ChatServer, engine: OpenAIEngine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.say(chunk("the answer", "stop"))
    messages = [ChatMessage("user", "my private words")]
    await collect(engine, Generation(messages, max_output_tokens=5, temperature=0))
    for secret in (KEY, "private words", "the answer"):
        assert secret not in caplog.text


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    engine = OpenAIEngine("http://127.0.0.1:9/v1", "m", KEY)
    engine.load()
    with pytest.raises(Unavailable, match="SLMESH_REASONER_BASE_URL") as caught:
        await collect(engine, generation())
    assert "127.0.0.1" not in str(caught.value.to_status())
    await asyncio.to_thread(engine.close)


@pytest.mark.parametrize("how", ["close", "cancel"])
async def test_a_caller_that_goes_away_disconnects_from_the_server(
    server: ChatServer, engine: OpenAIEngine, how: str
) -> None:
    server.say(*(chunk("x") for _ in range(100)))
    server.pause_s = 0.02
    events = engine.generate(generation())
    await anext(events)
    if how == "close":
        await events.aclose()
    else:
        waiting = asyncio.create_task(_drain(events))
        await asyncio.sleep(0.05)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    async with asyncio.timeout(10):
        await server.disconnected.wait()
    assert server.lines_sent < 100


async def _drain(events: AsyncIterator[GenerationEvent]) -> None:
    async for _ in events:
        pass


async def test_answers_share_the_connections_of_one_client(
    server: ChatServer, engine: OpenAIEngine
) -> None:
    server.say(chunk("x", "stop"))
    results = await asyncio.gather(*(collect(engine, generation()) for _ in range(8)))
    assert all(events[0] == Piece("x") for events in results)


def test_the_length_of_a_prompt_is_estimated_from_its_bytes() -> None:
    engine = OpenAIEngine("", "m", "")
    assert engine.count_tokens([ChatMessage("user", "x" * 401)]) == 101


async def test_closing_on_the_loop_itself_does_not_block(server: ChatServer) -> None:
    engine = OpenAIEngine(server.base_url, "m", KEY)
    engine.load()
    server.say(chunk("x", "stop"))
    await collect(engine, generation())
    engine.close()
    await asyncio.sleep(0.05)
