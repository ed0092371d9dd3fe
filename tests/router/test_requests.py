"""Route and Explain: bad input, repeats, and what one tenant may see."""

from __future__ import annotations

import asyncio
import uuid

import grpc
import pytest

from slmesh.api.route.v1 import route_pb2 as pb
from slmesh.mesh.context import RequestContext
from slmesh.mesh.errors import DeadlineExceeded, InvalidArgument, NotFound, ResourceExhausted
from slmesh.mesh.wire import mesh_error

ID = "0D5C6F1E-8d0a-4f3e-9a50-2f1d3c1b7a11"


BAD = [
    ({"text": ""}, "FIELD_REQUIRED", "text", "no-text"),
    ({"text": "x" * 101}, "TEXT_TOO_LONG", "text", "long-text"),
    ({"text": "x", "flow": ""}, "FIELD_REQUIRED", "flow", "no-flow"),
    ({"text": "x", "request_id": "7"}, "INVALID_REQUEST_ID", "request_id", "request-id"),
    (
        {"text": "x", "request_id": ID.replace("-", "")},
        "INVALID_REQUEST_ID",
        "request_id",
        "dashes",
    ),
    ({"text": "x", "documents": ["d"] * 17}, "TOO_MANY_ITEMS", "documents", "documents"),
    ({"text": "x", "documents": ["d", ""]}, "FIELD_REQUIRED", "documents[1]", "empty-document"),
    ({"text": "x", "documents": ["d" * 101]}, "TEXT_TOO_LONG", "documents[0]", "long-document"),
    ({"text": "x", "time_zone": "Mars/Base"}, "INVALID_TIME_ZONE", "time_zone", "time-zone"),
    ({"text": "x", "time_zone": "../../etc/passwd"}, "INVALID_TIME_ZONE", "time_zone", "path"),
    ({"text": "x", "locale": "english please"}, "INVALID_LOCALE", "locale", "locale"),
    ({"text": "x", "default_currency": "pounds"}, "INVALID_CURRENCY", "default_currency", "money"),
]


@pytest.mark.parametrize(
    ("fields", "reason", "field"), [pytest.param(*case[:3], id=case[3]) for case in BAD]
)
async def test_a_bad_request_is_refused_with_its_field(start_mesh, fields, reason, field):
    mesh = await start_mesh(max_text_code_points=100)
    with pytest.raises(InvalidArgument) as caught:
        await mesh.route(**({"flow": "desk"} | fields))
    assert caught.value.reason == reason
    assert caught.value.field == field
    assert not mesh.ingress.seen


async def test_an_unknown_flow_is_not_found_with_the_nearest_name(mesh):
    with pytest.raises(NotFound, match="no flow 'desks'; did you mean 'desk'") as caught:
        await mesh.route("x", flow="desks")
    assert caught.value.reason == "FLOW_NOT_FOUND"


@pytest.mark.parametrize("text", ["\x00", "🦊" * 50, "‮abc", "שלום", "\ufeff", " "])
async def test_any_text_gets_a_decision(mesh, text):
    assert (await mesh.route(text)).path == pb.PATH_ESCALATED


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        pytest.param(b"\xff\xff\xff", "MALFORMED_REQUEST", id="no-message"),
        pytest.param(b"\x12\x04desk\x1a\x02\xc3\x28", "MALFORMED_REQUEST", id="not-utf-8"),
        pytest.param(b"\x1a\x80\x20" + b"x" * 4096, "MESSAGE_TOO_LARGE", id="too-large"),
    ],
)
async def test_bad_bytes_are_refused_in_words(start_mesh, payload, reason):
    mesh = await start_mesh(max_message_bytes=4096)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{mesh.router.port}") as channel:
        call = channel.unary_unary("/slmesh.api.route.v1.RouteService/Route")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(payload)
    error = mesh_error(caught.value, "")
    assert isinstance(error, InvalidArgument)
    assert error.reason == reason


async def test_a_repeat_returns_the_recorded_decision_and_does_nothing(mesh):
    first = await mesh.route("unsure", request_id=ID)
    calls = len(mesh.ingress.seen)
    second = await mesh.route("unsure", request_id=ID.lower())
    assert first == second
    assert first.request_id == ID.lower()
    assert len(mesh.ingress.seen) == calls


async def test_concurrent_repeats_are_one_run(mesh):
    decisions = await asyncio.gather(*(mesh.route("unsure", request_id=ID) for _ in range(8)))
    assert len({decision.decision_id for decision in decisions}) == 1
    assert len(mesh.ingress.calls_of("reasoner")) == 1


async def test_concurrent_requests_without_an_id_are_runs_of_their_own(mesh):
    decisions = await asyncio.gather(*(mesh.route("unsure") for _ in range(4)))
    assert len({decision.decision_id for decision in decisions}) == 4
    assert all(uuid.UUID(decision.request_id) for decision in decisions)


@pytest.mark.parametrize("together", [True, False], ids=["at-once", "later"])
async def test_an_id_used_for_another_request_is_refused(mesh, together):
    calls = [mesh.route("unsure", request_id=ID), mesh.route("arrive", request_id=ID)]
    if together:
        results = await asyncio.gather(*calls, return_exceptions=True)
    else:
        results = [await calls[0]]
        results += await asyncio.gather(calls[1], return_exceptions=True)
    (error,) = [result for result in results if isinstance(result, Exception)]
    assert isinstance(error, InvalidArgument)
    assert error.reason == "REQUEST_ID_REUSED"
    assert error.field == "request_id"


async def test_a_tenant_may_use_an_id_of_another_tenant(mesh):
    first = await mesh.route("unsure", request_id=ID)
    second = await mesh.route("arrive", request_id=ID, context=RequestContext(tenant="acme"))
    assert first.decision_id != second.decision_id


async def test_a_failed_request_is_not_recorded_so_a_repeat_runs_again(start_mesh):
    mesh = await start_mesh(on_failure={"triage": "fail"})
    for _ in range(2):
        with pytest.raises(Exception, match="step 'triage'"):
            await mesh.route("arrive triage:down", request_id=ID)
    assert len(mesh.ingress.calls_of("triage")) == 4  # each run tries twice


async def test_a_decision_can_be_explained(mesh):
    decision = await mesh.route("unsure")
    request = pb.ExplainRequest(decision_id=decision.decision_id)
    explained = await mesh.client.explain(request)
    assert explained.decision == decision
    conditions = {condition.code: condition for condition in explained.conditions}
    assert list(conditions) == ["INJECTION_FOUND", "INTENT_ABSTAINED", "INTENT_UNCERTAIN"]
    uncertain = conditions["INTENT_UNCERTAIN"]
    assert (uncertain.quantity, uncertain.threshold, uncertain.held) == ("probability", 0.6, True)
    assert uncertain.value == pytest.approx(0.41)


@pytest.mark.parametrize("tenant", ["default", "acme"], ids=["unknown-id", "of-another-tenant"])
async def test_what_a_tenant_does_not_have_is_not_found(mesh, tenant):
    decision = await mesh.route("arrive")
    known = decision.decision_id if tenant != "default" else str(uuid.uuid4())
    with pytest.raises(NotFound) as caught:
        await mesh.client.explain(
            pb.ExplainRequest(decision_id=known), context=RequestContext(tenant=tenant)
        )
    assert caught.value.reason == "DECISION_NOT_FOUND"


async def test_one_request_too_many_is_refused_and_told_when_to_retry(start_mesh):
    mesh = await start_mesh(max_in_flight=2)
    calls = [mesh.route("unsure reasoner:hang", timeout_s=3) for _ in range(5)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    refused = [result for result in results if isinstance(result, ResourceExhausted)]
    assert len(refused) == 3
    assert all(error.reason == "TOO_MANY_IN_FLIGHT" for error in refused)
    assert all(error.retry_delay_s for error in refused)


async def test_decisions_are_counted(mesh):
    await mesh.route("arrive")
    await mesh.route("unsure")
    await mesh.route("arrive triage:down")
    value = mesh.metrics.registry.get_sample_value
    labels = {"flow": "desk", "path": "small"}
    assert value("slmesh_decisions_total", labels | {"degraded": "false"}) == 1
    assert value("slmesh_decisions_total", labels | {"degraded": "true"}) == 1
    assert value("slmesh_reasoner_tokens_total", {"flow": "desk", "kind": "prompt"}) == 120
    spent = value("slmesh_cost_usd_micros_total", {"flow": "desk", "kind": "spent"})
    all_llm = value("slmesh_cost_usd_micros_total", {"flow": "desk", "kind": "all_llm"})
    assert spent == 36
    assert all_llm > spent


async def test_a_text_of_ten_megabytes_is_refused_with_the_limit(mesh):
    with pytest.raises(InvalidArgument) as caught:
        await mesh.route("x" * 10_000_000)
    assert caught.value.reason == "TEXT_TOO_LONG"
    assert caught.value.metadata["limit"] == "100000"


async def test_a_message_far_over_the_limit_is_refused_by_grpc_with_a_bare_code(start_mesh):
    mesh = await start_mesh(max_message_bytes=4096)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{mesh.router.port}") as channel:
        call = channel.unary_unary("/slmesh.api.route.v1.RouteService/Route")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"x" * 10_000)
    assert isinstance(mesh_error(caught.value, ""), ResourceExhausted)


async def test_a_deadline_that_has_passed_is_told_before_any_work(mesh):
    metadata = [("slmesh-timeout-ms", "0")]
    request = pb.RouteRequest(flow="desk", text="arrive").SerializeToString()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{mesh.router.port}") as channel:
        call = channel.unary_unary("/slmesh.api.route.v1.RouteService/Route")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(request, metadata=metadata)
    assert isinstance(mesh_error(caught.value, ""), DeadlineExceeded)
    assert not mesh.ingress.seen
