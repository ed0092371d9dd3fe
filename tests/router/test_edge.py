"""One port for every service: calls pass the router unread, answers and errors as they are."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from slmesh.api.classify.v1 import classify_pb2
from slmesh.api.extract.v1 import extract_pb2
from slmesh.api.reason.v1 import reason_pb2
from slmesh.mesh.context import RequestContext
from slmesh.mesh.errors import (
    DeadlineExceeded,
    Internal,
    InvalidArgument,
    MeshError,
    NotFound,
    Unavailable,
    Unimplemented,
)
from slmesh.mesh.wire import DETAILS_KEY, mesh_error


def ask(text):
    return classify_pb2.ClassifyRequest(text=text)


async def raw_error(mesh, path, request, metadata=()):
    """Return the error of a call without the client's own reading of it."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{mesh.router.port}") as channel:
        call = channel.unary_unary(path, request_serializer=lambda m: m.SerializeToString())
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(request, metadata=metadata, timeout=3)
    return caught.value


CLASSIFY = "/slmesh.api.classify.v1.ClassifyService/Classify"


async def test_a_service_answers_through_the_router(mesh):
    answer = await mesh.client.classify("intent", ask("lost it"), timeout_s=20)
    assert answer.labels.labels[0].name == "lost_or_stolen_card"
    assert answer.provenance.service == "intent"


async def test_a_batch_answers_through_the_router(mesh):
    request = classify_pb2.BatchClassifyRequest(requests=[ask("lost"), ask(""), ask("pin")])
    answer = await mesh.client.batch_classify("intent", request, timeout_s=20)
    assert [result.WhichOneof("result") for result in answer.results] == [
        "response", "error", "response",
    ]  # fmt: skip


async def test_the_reasoner_streams_through_the_router(mesh):
    request = reason_pb2.ReasonRequest(instruction="i", text="a b")
    events = [event async for event in mesh.client.reason("reasoner", request, timeout_s=20)]
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds == ["started", *["text_delta"] * 4, "completion"]


async def test_a_stream_that_is_closed_stops_the_reasoner(mesh):
    request = reason_pb2.ReasonRequest(instruction="i", text="reasoner:hang")
    stream = mesh.client.reason("reasoner", request, timeout_s=20)
    await anext(stream)
    model = mesh.ingress.model("reasoner")
    async with asyncio.timeout(20):
        while not model.running:
            await asyncio.sleep(0.01)
        await stream.aclose()
        while model.running:
            await asyncio.sleep(0.01)
    assert model.cancelled == 1


@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [
        pytest.param("", InvalidArgument, "FIELD_REQUIRED", id="bad-input"),
        pytest.param("intent:down", Unavailable, "SERVICE_UNAVAILABLE", id="down"),
        pytest.param("intent:crash", Internal, "INTERNAL", id="crash"),
    ],
)
async def test_an_error_passes_with_its_details_and_one_error_info(mesh, text, kind, reason):
    error = await raw_error(mesh, CLASSIFY, ask(text), [("application", "intent")])
    details = [value for key, value in error.trailing_metadata() if key == DETAILS_KEY]
    assert len(details) == 1
    assert details[0].count(b"google.rpc.ErrorInfo") == 1
    read = mesh_error(error, "intent")
    assert isinstance(read, kind)
    assert read.reason == reason
    assert "passwd" not in str(details) + error.details()


async def test_a_stream_error_passes_with_its_details(mesh):
    request = reason_pb2.ReasonRequest(instruction="i", text="reasoner:down")
    with pytest.raises(Unavailable, match="the model is loading") as caught:
        [event async for event in mesh.client.reason("reasoner", request, timeout_s=20)]
    assert caught.value.retry_delay_s == 3.0


async def test_a_service_that_is_not_there_is_named_with_the_nearest_name(mesh):
    with pytest.raises(NotFound, match="no service 'intnt'; did you mean 'intent'"):
        await mesh.client.classify("intnt", ask("x"), timeout_s=20)


async def test_a_service_that_is_known_and_not_deployed_is_named(mesh):
    gone = mesh.ingress.hosts.pop("intent")
    with pytest.raises(Unavailable) as caught:
        await mesh.client.classify("intent", ask("x"), timeout_s=20)
    assert caught.value.reason == "SERVICE_UNAVAILABLE"
    assert caught.value.retry_delay_s == 1.0
    mesh.ingress.hosts["intent"] = gone


async def test_a_dead_ingress_is_unavailable_without_its_address(mesh):
    await mesh.ingress.stop()
    error = await raw_error(mesh, CLASSIFY, ask("x"), [("application", "intent")])
    read = mesh_error(error, "")
    assert isinstance(read, Unavailable)
    assert read.retry_delay_s
    assert "127.0.0.1" not in error.details() + str(read.metadata)


async def test_without_a_name_the_only_service_of_a_contract_answers(mesh):
    answer = await mesh.client.extract("", extract_pb2.ExtractRequest(text="£5"), timeout_s=20)
    assert answer.fields[0].name == "amount"


async def test_without_a_name_several_services_of_a_contract_are_listed(mesh):
    with pytest.raises(InvalidArgument, match=r"'application'.*assistant, intent") as caught:
        await mesh.client.classify("", ask("x"), timeout_s=20)
    assert caught.value.reason == "SERVICE_NOT_NAMED"


async def test_a_contract_the_service_does_not_speak_is_unimplemented(mesh):
    with pytest.raises(Unimplemented, match="it answers BatchClassify, Classify"):
        await mesh.client.extract("intent", extract_pb2.ExtractRequest(text="x"), timeout_s=20)


async def test_a_method_no_contract_has_is_a_bare_unimplemented(mesh):
    error = await raw_error(mesh, "/slmesh.api.classify.v1.ClassifyService/Guess", ask("x"))
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED
    assert isinstance(mesh_error(error, "intent"), Unimplemented)


async def test_the_callers_deadline_holds_for_a_call_that_is_passed_on(mesh):
    with pytest.raises(DeadlineExceeded):
        await mesh.client.classify("intent", ask("intent:slow"), timeout_s=0.2)


async def test_a_call_without_a_deadline_gets_the_services_own(mesh):
    await mesh.client.classify("intent", ask("lost"))
    left_ms = float(mesh.ingress.calls_of("intent")[-1]["slmesh-timeout-ms"])
    assert 20_000 < left_ms <= 50_000


async def test_the_context_of_a_call_is_passed_on(mesh):
    context = RequestContext(tenant="acme", data_classes=("public",))
    await mesh.client.classify("intent", ask("lost"), timeout_s=20, context=context)
    call = mesh.ingress.calls_of("intent")[-1]
    assert call["slmesh-tenant"] == "acme"
    assert call["slmesh-data-classes"] == "public"
    assert float(call["slmesh-timeout-ms"]) < 20_000


async def test_bad_metadata_is_refused(mesh):
    metadata = [("application", "intent"), ("slmesh-timeout-ms", "soon")]
    error = mesh_error(await raw_error(mesh, CLASSIFY, ask("x"), metadata), "")
    assert isinstance(error, MeshError)
    assert error.reason == "INVALID_METADATA"


async def test_calls_that_are_passed_on_are_counted_by_code(mesh):
    await mesh.client.classify("intent", ask("lost"), timeout_s=20)
    with pytest.raises(Unavailable):
        await mesh.client.classify("intent", ask("intent:down"), timeout_s=20)
    value = mesh.metrics.registry.get_sample_value
    labels = {"service": "router", "method": "Classify"}
    assert value("slmesh_requests_total", labels | {"code": "OK"}) == 1
    assert value("slmesh_requests_total", labels | {"code": "UNAVAILABLE"}) == 1
