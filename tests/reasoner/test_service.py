"""The reasoner as a service: events, limits, queue and cancellation, over real engines."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.reasoner.engines.chat_server import ChatServer, chunk, usage_chunk
from tests.reasoner.scripted import ScriptedDecoder, scripted_engine

import slmesh.reasoner
from slmesh.api.reason.v1.reason_pb2 import FinishReason, ReasonRequest, ReasonResponse
from slmesh.mesh.errors import (
    FailedPrecondition,
    Internal,
    InvalidArgument,
    MeshError,
    ResourceExhausted,
)
from slmesh.mesh.manifest import Manifest, load_manifest
from slmesh.mesh.service import Resources
from slmesh.reasoner import service as service_module
from slmesh.reasoner.service import ReasonerService

SLOW_S = 0.02


def manifest(**options: Any) -> Manifest:
    folder = Path(slmesh.reasoner.__file__).parent
    return replace(
        load_manifest(folder / "service.yaml"),
        options={"max_prompt_tokens": 256, "max_output_tokens": 32, **options},
        max_queue_items=1,
    )


@pytest.fixture(scope="module")
def tiny_service(
    tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ReasonerService]:
    service = ReasonerService()
    cache = tmp_path_factory.mktemp("cache")
    service.load(Resources(manifest(model=str(tiny_model)), None, cache, 1))
    yield service
    service.close()


def scripted_service(
    monkeypatch: pytest.MonkeyPatch, decoder: ScriptedDecoder, **options: Any
) -> ReasonerService:
    """Return the service over an engine that says what it is told."""
    monkeypatch.setattr(  # the seam: which engine opens is a matter of options and disk
        service_module,
        "_open_engine",
        lambda opened, *_: scripted_engine(decoder, opened.max_concurrent),
    )
    service = ReasonerService()
    service.load(Resources(manifest(**options), None, Path(), 1))
    decoder.begun = 0
    return service


def request(text: str = "Where is my card?", **fields: Any) -> ReasonRequest:
    return ReasonRequest(instruction="Answer.", text=text, **fields)


async def answer(service: ReasonerService, asked: ReasonRequest) -> list[ReasonResponse]:
    service.check(asked)
    return [event async for event in service.stream(asked)]


async def test_a_real_model_streams_started_deltas_and_completion(
    tiny_service: ReasonerService,
) -> None:
    events = await answer(tiny_service, request(max_output_tokens=5))
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds[0] == "started"
    assert kinds[-1] == "completion"
    assert set(kinds[1:-1]) <= {"text_delta"}
    completion = events[-1].completion
    assert completion.usage.prompt_tokens > 0
    assert 0 <= completion.usage.output_tokens <= 5
    provenance = completion.provenance
    assert (provenance.service, provenance.model, provenance.version, provenance.tier) == (
        "reasoner",
        "tiny-llama",
        "local",
        "llm",
    )
    assert provenance == events[0].started.provenance


async def test_a_real_model_keeps_to_a_schema(tiny_service: ReasonerService) -> None:
    schema = {"enum": ["lost", "late"]}
    events = await answer(tiny_service, request(output_schema=json.dumps(schema)))
    text = "".join(event.text_delta for event in events)
    assert json.loads(text) in schema["enum"]
    assert events[-1].completion.finish_reason == FinishReason.FINISH_REASON_STOP


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        pytest.param({"text": "x" * 300}, "text", "the limit is 256", id="prompt-too-long"),
        pytest.param({"max_output_tokens": 0}, "max_output_tokens", r"\[1, 32\]", id="no-output"),
        pytest.param({"max_output_tokens": 33}, "max_output_tokens", "is 33", id="long-output"),
        pytest.param({"temperature": -0.1}, "temperature", r"\[0, 2\]", id="cold"),
        pytest.param({"temperature": 2.1}, "temperature", r"\[0, 2\]", id="hot"),
        pytest.param({"temperature": float("nan")}, "temperature", "nan", id="not-a-number"),
        pytest.param({"output_schema": "{"}, "output_schema", "not JSON", id="broken-schema"),
    ],
)
def test_bad_requests_are_refused_with_field_and_limit(
    tiny_service: ReasonerService, fields: dict[str, Any], field: str, words: str
) -> None:
    with pytest.raises(InvalidArgument, match=words) as caught:
        tiny_service.check(request(**fields))
    assert caught.value.field == field


async def test_a_schema_that_cannot_be_enforced_is_refused(tiny_service: ReasonerService) -> None:
    schema = {"type": "object", "unevaluatedProperties": False, "propertyNames": {"minLength": 3}}
    with pytest.raises(InvalidArgument) as caught:
        await answer(tiny_service, request(output_schema=json.dumps(schema)))
    assert caught.value.field == "output_schema"


def test_limits_beyond_the_context_of_the_model_refuse_to_start(
    tiny_model: Path, tmp_path: Path
) -> None:
    wrong = manifest(model=str(tiny_model), max_prompt_tokens=500)
    with pytest.raises(FailedPrecondition, match=r"532.*reads\s512"):
        ReasonerService().load(Resources(wrong, None, tmp_path, 1))


async def test_closing_the_stream_stops_the_model_within_one_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoder = ScriptedDecoder("x" * 30, gated=True)
    service = scripted_service(monkeypatch, decoder)
    assert decoder.gate is not None
    stream = service.stream(request())
    decoder.gate.release(3)
    for _ in range(4):  # started and three deltas
        await anext(stream)
    await decoder.until_begun(4)
    closing = asyncio.create_task(stream.aclose())
    await asyncio.sleep(0.01)
    decoder.gate.release(100)
    await closing
    assert decoder.begun == 4
    await asyncio.to_thread(service.close)


async def test_no_more_than_the_places_run_and_one_over_the_queue_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoder = ScriptedDecoder("x" * 10, 0.005)
    service = scripted_service(monkeypatch, decoder, max_concurrent=2)
    results = await asyncio.gather(
        *(answer(service, request()) for _ in range(4)), return_exceptions=True
    )
    refused = [result for result in results if isinstance(result, MeshError)]
    assert len(refused) == 1
    assert isinstance(refused[0], ResourceExhausted)
    assert refused[0].retry_delay_s is not None
    assert decoder.most_running == 2
    await asyncio.to_thread(service.close)


async def test_a_cancelled_answer_gives_its_place_to_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoder = ScriptedDecoder("x" * 10, SLOW_S)
    service = scripted_service(monkeypatch, decoder, max_concurrent=1)
    first = asyncio.create_task(answer(service, request()))
    await asyncio.sleep(3 * SLOW_S)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    events = await answer(service, request())
    assert "".join(event.text_delta for event in events) == "x" * 10
    assert decoder.most_running == 1
    await asyncio.to_thread(service.close)


async def test_a_remote_answer_is_framed_checked_and_named(tmp_path: Path) -> None:
    server = ChatServer()
    await server.start()
    service = ReasonerService()
    options = {"base_url": server.base_url, "model": "remote-chat", "api_key": "k"}
    service.load(Resources(manifest(**options), None, tmp_path, 1))
    asked = request(output_schema='{"enum": ["yes", "no"]}')

    server.say(chunk('"yes"', "stop"), usage_chunk(9, 1))
    events = await answer(service, asked)
    assert [event.WhichOneof("event") for event in events] == [
        "started",
        "text_delta",
        "completion",
    ]
    assert events[-1].completion.usage.prompt_tokens == 9
    assert events[-1].completion.provenance.model == "remote-chat"
    assert events[-1].completion.provenance.digest == ""

    server.say(chunk('"y'), chunk('es"', "stop"), usage_chunk(9, 2))
    asked.whole_answer = True
    started, delta, completion = await answer(service, asked)
    assert started.started.provenance.model == "remote-chat"
    assert delta.text_delta == '"yes"'
    assert completion.completion.usage.output_tokens == 2
    asked.whole_answer = False

    server.say(chunk('"perhaps"', "stop"))
    with pytest.raises(Internal, match="does not match output_schema"):
        await answer(service, asked)

    server.say(chunk('"ye', "length"))  # cut off, and it says so
    events = await answer(service, asked)
    assert events[-1].completion.finish_reason == FinishReason.FINISH_REASON_LENGTH
    assert not events[-1].completion.HasField("usage")

    with pytest.raises(InvalidArgument, match="about 258 tokens"):
        service.check(request("x" * 1023))
    await asyncio.to_thread(service.close)
    await server.stop()
