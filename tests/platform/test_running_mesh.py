"""Calls to the services of a real mesh: Ray Serve, HAProxy and the boundary, from a client's side."""

from __future__ import annotations

import asyncio
import time

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2

from slmesh.api.classify.v1 import classify_pb2
from slmesh.api.reason.v1 import reason_pb2
from slmesh.mesh.client import Mesh
from slmesh.mesh.errors import (
    Cancelled,
    DeadlineExceeded,
    Internal,
    InvalidArgument,
    MeshError,
    NotFound,
    ResourceExhausted,
    Unavailable,
    Unimplemented,
)
from slmesh.mesh.replica_record import read_records
from slmesh.mesh.wire import DETAILS_KEY
from slmesh.platform.measured import read_metrics, requests_by_service

CLASSIFY = "/slmesh.api.classify.v1.ClassifyService/Classify"
HEALTH = "/grpc.health.v1.Health/Check"


def text(value: str) -> classify_pb2.ClassifyRequest:
    return classify_pb2.ClassifyRequest(text=value)


def codes(mesh, service: str) -> dict[str, int]:
    """Return the finished requests of a service by code, from its metrics."""
    records = [r for r in read_records(mesh.settings.state_dir) if r.service == service]
    found = requests_by_service([read_metrics(record.metrics_address) for record in records])
    return dict(found[service].codes) if service in found else {}


def in_flight(mesh, service: str) -> bool:
    """Return whether a service has a request in work, from its metrics."""
    records = [r for r in read_records(mesh.settings.state_dir) if r.service == service]
    wanted = f'slmesh_in_flight{{service="{service}"}} 1.0'
    return any(wanted in read_metrics(record.metrics_address) for record in records)


async def eventually(condition, timeout_s: float = 60.0) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        await asyncio.sleep(0.05)


async def test_a_service_answers_through_the_ingress(client):
    response = await client.classify("steady", text("hello there"))
    assert response.labels.labels[0].name == "hello"
    assert response.provenance.service == "steady"


async def test_a_batch_answers_item_by_item(client):
    request = classify_pb2.BatchClassifyRequest(
        requests=[text("one"), text(""), text("crash"), text("four")]
    )
    results = (await client.batch_classify("steady", request)).results
    assert [result.WhichOneof("result") for result in results] == [
        "response", "error", "error", "response",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("service", "request_", "kind", "reason", "field"),
    [
        pytest.param("steady", text(""), InvalidArgument, "FIELD_REQUIRED", "text", id="missing"),
        pytest.param(
            "steady", text("x" * 100_001), InvalidArgument, "TEXT_TOO_LONG", "text", id="too-long"
        ),
        pytest.param(
            "steady", text("refuse"), InvalidArgument, "INVALID_FIELD", "text", id="check"
        ),
        pytest.param("steady", text("down"), Unavailable, "SERVICE_UNAVAILABLE", None, id="value"),
        pytest.param("steady", text("crash"), Internal, "INTERNAL", None, id="exception"),
        pytest.param(
            "nobody", text("x"), NotFound, "SERVICE_NOT_FOUND", None, id="unknown-service"
        ),
        pytest.param(
            "writer", text("x"), Unimplemented, "METHOD_NOT_SERVED", None, id="not-its-rpc"
        ),
    ],
)
async def test_an_error_has_its_code_reason_and_field(
    client: Mesh, service, request_, kind, reason, field
):
    with pytest.raises(MeshError) as caught:
        await client.classify(service, request_)
    assert (type(caught.value), caught.value.reason, caught.value.field) == (kind, reason, field)
    for secret in ("/etc/passwd", "10.0.0.1", "Traceback", ".py"):
        assert secret not in str(caught.value)


async def test_an_error_carries_exactly_one_error_info(bytes_call):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await bytes_call("steady", CLASSIFY, text("").SerializeToString())
    details = dict(caught.value.trailing_metadata())[DETAILS_KEY]
    status = status_pb2.Status.FromString(details)
    infos = [d for d in status.details if d.Is(error_details_pb2.ErrorInfo.DESCRIPTOR)]
    assert (len(infos), status.code) == (1, caught.value.code().value[0])


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"\x0a\x02\xc3\x28", id="not-utf-8"),
        pytest.param(b"\xff\xff\xff", id="not-protobuf"),
    ],
)
async def test_malformed_bytes_are_an_invalid_argument_of_ours(bytes_call, payload):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await bytes_call("steady", CLASSIFY, payload)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "malformed" in caught.value.details()
    assert DETAILS_KEY in dict(caught.value.trailing_metadata())


async def test_an_oversize_message_is_refused_by_the_boundary(mesh, bytes_call):
    payload = text("x" * (mesh.settings.max_message_bytes + 1)).SerializeToString()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await bytes_call("steady", CLASSIFY, payload)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert str(mesh.settings.max_message_bytes) in caught.value.details()


async def test_a_message_above_the_transports_limit_gets_a_bare_code(mesh):
    options = [("grpc.max_send_message_length", -1)]
    payload = text("x" * (2 * mesh.settings.max_message_bytes + 1)).SerializeToString()
    async with grpc.aio.insecure_channel(mesh.ingress, options=options) as opened:
        call = opened.unary_unary(CLASSIFY)(
            payload, metadata=(("application", "steady"),), timeout=10
        )
        assert await call.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_the_deadlines_value_reaches_the_service_by_our_own_key(client, mesh):
    before = codes(mesh, "worker").get("DEADLINE_EXCEEDED", 0)
    with pytest.raises(DeadlineExceeded):
        await client.classify("worker", text("sleep 3"), timeout_s=1.0)
    await eventually(
        lambda: (
            sum(codes(mesh, "worker").get(c, 0) for c in ("DEADLINE_EXCEEDED", "CANCELLED"))
            > before
        )
    )
    await asyncio.sleep(2.5)  # the model is still at it


async def test_a_cancelled_call_reaches_the_service_as_cancelled(client, mesh):
    before = codes(mesh, "worker").get("CANCELLED", 0)
    task = asyncio.create_task(client.classify("worker", text("sleep 2"), timeout_s=30))
    await eventually(lambda: in_flight(mesh, "worker"))
    task.cancel()
    with pytest.raises((asyncio.CancelledError, Cancelled)):
        await task
    await eventually(lambda: codes(mesh, "worker").get("CANCELLED", 0) == before + 1)
    await asyncio.sleep(2)  # the model is still at it


async def test_a_full_queue_is_refused_by_the_boundary_with_a_delay(client, mesh):
    slow = asyncio.create_task(client.classify("worker", text("sleep 3"), timeout_s=30))
    await eventually(lambda: in_flight(mesh, "worker"))
    calls = [client.classify("worker", text("hello"), timeout_s=30) for _ in range(12)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    await slow
    refused = [result for result in results if isinstance(result, ResourceExhausted)]
    answered = [r for r in results if isinstance(r, classify_pb2.ClassifyResponse)]
    assert (len(answered), len(refused)) == (4, 8)  # as many as may wait
    assert {error.reason for error in refused} == {"QUEUE_FULL"}
    assert all(error.retry_delay_s for error in refused)


async def test_a_stream_arrives_event_by_event(client):
    request = reason_pb2.ReasonRequest(instruction="write", text="all", max_output_tokens=10)
    seen = [(time.monotonic(), event) async for event in client.reason("writer", request)]
    assert seen[-1][1].completion.usage.output_tokens == 10
    assert seen[-1][0] - seen[0][0] > 0.15, "the events came all at once"


async def test_closing_a_stream_stops_the_service_within_one_token(client, mesh):
    request = reason_pb2.ReasonRequest(instruction="write", text="closed", max_output_tokens=500)
    events = client.reason("writer", request)
    async for event in events:
        if event.text_delta:
            break
    await events.aclose()
    mark = mesh.marks / "closed"
    await eventually(lambda: mark.exists() and mark.read_text())
    assert int(mark.read_text()) < 250  # and those are as many as it writes in 5 s


async def test_an_error_ends_a_stream_with_its_details(client):
    with pytest.raises(InvalidArgument) as caught:
        async for _ in client.reason("writer", reason_pb2.ReasonRequest(instruction="write")):
            pass
    assert caught.value.field == "text"


@pytest.mark.parametrize("name", ["", "steady", "slmesh.api.classify.v1.ClassifyService"])
async def test_a_service_answers_health_checks(bytes_call, name):
    request = health_pb2.HealthCheckRequest(service=name)
    answer = await bytes_call("steady", HEALTH, request.SerializeToString())
    assert health_pb2.HealthCheckResponse.FromString(answer).status == 1


async def test_an_unknown_name_in_a_health_check_is_not_found(bytes_call):
    request = health_pb2.HealthCheckRequest(service="nobody")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await bytes_call("steady", HEALTH, request.SerializeToString())
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


async def test_reflection_lists_every_contract(channel):
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    call = stub.ServerReflectionInfo(iter([asked]), metadata=(("application", "steady"),))
    async for answer in call:
        names = {service.name for service in answer.list_services_response.service}
        break
    call.cancel()
    contracts = {f"slmesh.api.{n}.v1.{n.title()}Service" for n in ("classify", "guard", "reason")}
    assert contracts | {"grpc.health.v1.Health"} <= names


async def test_the_router_passes_calls_on_to_the_services(mesh):
    async with Mesh.connect(mesh.settings.router_address, settings=mesh.settings) as connected:
        response = await connected.classify("steady", text("hello"))
        with pytest.raises(NotFound):
            await connected.classify("nobody", text("hello"))
    assert response.labels.labels[0].name == "hello"
