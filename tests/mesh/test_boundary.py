"""The bad cases every service is protected from, whatever the transport."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from google.rpc import code_pb2, error_details_pb2
from tests.services import settings_for, write_service

from slmesh.api.classify.v1 import classify_pb2 as pb
from slmesh.mesh.boundary import Instruments
from slmesh.mesh.catalog import find_manifest
from slmesh.mesh.contract import rpcs
from slmesh.mesh.errors import (
    Cancelled,
    DeadlineExceeded,
    Internal,
    InvalidArgument,
    MeshError,
    ResourceExhausted,
    Unavailable,
    Unimplemented,
)
from slmesh.mesh.host import ServiceHost
from slmesh.mesh.metrics import Metrics

CLASSIFY = rpcs()["Classify"]
BATCH = rpcs()["BatchClassify"]


@pytest.fixture
async def host(tmp_path: Path):
    write_service(tmp_path, "echo", max_queue_items=8, max_batch_size=4)
    settings = settings_for(tmp_path, max_text_code_points=50, max_batch_items=6)
    metrics = Metrics()
    host = ServiceHost(find_manifest("echo", settings), settings, metrics, Instruments(metrics))
    await host.start()
    yield host
    await host.close()


def payload(text: str) -> bytes:
    return pb.ClassifyRequest(text=text).SerializeToString()


def batch(*texts: str) -> bytes:
    requests = [pb.ClassifyRequest(text=text) for text in texts]
    return pb.BatchClassifyRequest(requests=requests).SerializeToString()


BAD_INPUT = [
    pytest.param(CLASSIFY, payload(""), "text", "FIELD_REQUIRED", id="missing-field"),
    pytest.param(CLASSIFY, payload("x" * 51), "text", "TEXT_TOO_LONG", id="one-character-too-long"),
    pytest.param(CLASSIFY, payload("😀" * 51), "text", "TEXT_TOO_LONG", id="emoji-too-long"),
    pytest.param(CLASSIFY, b"\x0a\x02\xff\xfe", None, "MALFORMED_REQUEST", id="not-utf-8"),
    pytest.param(CLASSIFY, b"\xff\xff\xff", None, "MALFORMED_REQUEST", id="not-a-message"),
    pytest.param(CLASSIFY, payload("x" * 10_000_000), "text", "TEXT_TOO_LONG", id="10-MB-text"),
    pytest.param(CLASSIFY, payload("x" * 17_000_000), None, "MESSAGE_TOO_LARGE", id="over-16-MiB"),
    pytest.param(CLASSIFY, payload("refuse me"), "text", "INVALID_FIELD", id="service-check"),
    pytest.param(BATCH, batch(), "requests", "FIELD_REQUIRED", id="empty-batch"),
    pytest.param(BATCH, batch(*"abcdefg"), "requests", "TOO_MANY_ITEMS", id="batch-over-limit"),
    pytest.param(BATCH, batch(*["x"] * 1000), "requests", "TOO_MANY_ITEMS", id="1000-item-batch"),
]


@pytest.mark.parametrize(("rpc", "data", "field", "reason"), BAD_INPUT)
async def test_bad_input_names_the_field_and_the_reason(host, rpc, data, field, reason):
    with pytest.raises(InvalidArgument) as caught:
        await host.boundary.unary(rpc, data, [])
    assert (caught.value.field, caught.value.reason) == (field, reason)


GOOD_INPUT = [
    pytest.param("\x00", id="nul"),
    pytest.param("ሰላም ልዑል", id="ethiopic"),
    pytest.param("‮abc مرحبا", id="right-to-left"),
    pytest.param("👩‍👩‍👧‍👦" * 3, id="joined-emoji"),
    pytest.param("\t\x07\x1b[31m", id="control-characters"),
    pytest.param(" \n ", id="white-space-only"),
    pytest.param("x" * 50, id="exactly-the-limit"),
]


@pytest.mark.parametrize("text", GOOD_INPUT)
async def test_strange_text_is_answered(host, text):
    response = await host.boundary.unary(CLASSIFY, payload(text), [])
    assert response.labels.labels[0].probability == 1.0


async def test_a_limit_is_named_in_the_message(host):
    with pytest.raises(InvalidArgument, match="51 code points, the limit is 50"):
        await host.boundary.unary(CLASSIFY, payload("x" * 51), [])


async def test_every_error_has_exactly_one_error_info(host):
    for data in (payload(""), payload("crash"), payload("down")):
        with pytest.raises(MeshError) as caught:
            await host.boundary.unary(CLASSIFY, data, [])
        status = caught.value.to_status()
        infos = [d for d in status.details if d.Is(error_details_pb2.ErrorInfo.DESCRIPTOR)]
        assert len(infos) == 1


async def test_an_unknown_exception_becomes_an_id_and_nothing_else(host, caplog):
    with caplog.at_level(logging.ERROR), pytest.raises(Internal) as caught:
        await host.boundary.unary(CLASSIFY, payload("crash"), [])
    error_id = caught.value.metadata["errorId"]
    assert caught.value.message == f"internal error {error_id}"
    assert error_id in {getattr(record, "error_id", "") for record in caplog.records}
    assert "secret" in caplog.text


async def test_a_service_error_keeps_its_code_and_its_retry_delay(host):
    with pytest.raises(Unavailable) as caught:
        await host.boundary.unary(CLASSIFY, payload("down"), [])
    assert caught.value.retry_delay_s == 2.0


async def test_a_request_that_arrives_too_late_is_not_computed(host):
    with pytest.raises(DeadlineExceeded):
        await host.boundary.unary(CLASSIFY, payload("hello"), [("slmesh-timeout-ms", "0")])


async def computing(host, text):
    """Return a call of a text that the model computes by now."""
    batches = len(host._service.sizes)
    call = asyncio.create_task(host.boundary.unary(CLASSIFY, payload(text), []))
    async with asyncio.timeout(30):
        while len(host._service.sizes) == batches:
            await asyncio.sleep(0.001)
    return call


async def test_a_slow_answer_ends_at_the_deadline(host):
    slow = await computing(host, "sleep 0.5")
    with pytest.raises(DeadlineExceeded):
        await host.boundary.unary(CLASSIFY, payload("late"), [("slmesh-timeout-ms", "50")])
    assert not slow.done()
    await slow


async def test_an_item_that_expires_in_the_queue_is_never_computed(host):
    slow = await computing(host, "sleep 0.5")
    with pytest.raises(DeadlineExceeded):
        await host.boundary.unary(CLASSIFY, payload("late"), [("slmesh-timeout-ms", "30")])
    await slow
    await host.boundary.unary(CLASSIFY, payload("next"), [])
    assert (
        sum(host._service.sizes) == 3
    )  # the warm-up, the slow one and the next: never the late one


async def test_a_cancelled_call_is_never_computed(host):
    slow = await computing(host, "sleep 0.5")
    gone = asyncio.create_task(host.boundary.unary(CLASSIFY, payload("gone"), []))
    await asyncio.sleep(0.01)
    gone.cancel()
    await slow
    await host.boundary.unary(CLASSIFY, payload("next"), [])
    assert gone.cancelled()
    assert sum(host._service.sizes) == 3


async def test_a_full_queue_refuses_and_says_when_to_retry(host):
    calls = [
        asyncio.create_task(host.boundary.unary(CLASSIFY, payload("sleep 0.05"), []))
        for _ in range(12)
    ]
    results = await asyncio.gather(*calls, return_exceptions=True)
    refused = [result for result in results if isinstance(result, ResourceExhausted)]
    assert refused
    assert refused[0].reason == "QUEUE_FULL"
    assert refused[0].retry_delay_s is not None
    assert all(not isinstance(r, Exception) for r in results if r not in refused)


async def test_one_bad_item_never_fails_its_neighbours(host):
    data = batch("one", "", "refuse", "crash", "down", "six")
    response = await host.boundary.unary(BATCH, data, [])
    codes = [result.error.code for result in response.results]
    assert codes == [
        code_pb2.OK,
        code_pb2.INVALID_ARGUMENT,
        code_pb2.INVALID_ARGUMENT,
        code_pb2.INTERNAL,
        code_pb2.UNAVAILABLE,
        code_pb2.OK,
    ]
    assert response.results[5].response.labels.labels[0].name == "six"


async def test_an_error_of_a_batch_item_names_its_position(host):
    response = await host.boundary.unary(BATCH, batch("one", ""), [])
    error = MeshError.from_status(response.results[1].error)
    assert error.field == "requests[1].text"


async def test_batch_and_single_give_the_same_answers(host):
    texts = ["alpha x", "beta y", "gamma z"]
    single = [await host.boundary.unary(CLASSIFY, payload(text), []) for text in texts]
    together = await host.boundary.unary(BATCH, batch(*texts), [])
    assert [result.response for result in together.results] == single


async def test_a_method_of_another_contract_is_unimplemented(host):
    with pytest.raises(Unimplemented, match="answers BatchClassify, Classify"):
        await host.boundary.unary(rpcs()["Extract"], b"", [])


@pytest.mark.parametrize("value", ["soon", "-1", "nan", "1e12"])
async def test_an_unreadable_timeout_is_refused(host, value):
    with pytest.raises(InvalidArgument) as caught:
        await host.boundary.unary(CLASSIFY, payload("x"), [("slmesh-timeout-ms", value)])
    assert caught.value.reason == "INVALID_METADATA"


async def test_a_cancelled_call_is_counted_as_cancelled(host):
    call = await computing(host, "sleep 0.5")
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    registry = host._metrics.registry
    labels = {"service": "echo", "method": "Classify", "code": code_pb2.Code.Name(Cancelled.code)}
    assert registry.get_sample_value("slmesh_requests_total", labels) == 1.0


async def test_the_log_event_of_an_rpc_holds_no_text(host, caplog):
    with caplog.at_level(logging.INFO, logger="slmesh"):
        await host.boundary.unary(CLASSIFY, payload("confidential words"), [])
    events = [record for record in caplog.records if record.getMessage() == "rpc"]
    assert len(events) == 1
    assert events[0].code == "OK"
    assert "confidential" not in str(events[0].__dict__)
