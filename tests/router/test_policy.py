"""Policy over sockets: what reaches a model, what is kept back, and the receipt of both."""

from __future__ import annotations

from dataclasses import replace

import grpc
import pytest
from google.protobuf import json_format
from google.rpc import error_details_pb2, status_pb2
from tests.router import mesh_services

from slmesh.api.classify.v1 import classify_pb2
from slmesh.api.route.v1 import route_pb2 as pb
from slmesh.mesh.client import Mesh
from slmesh.mesh.context import RequestContext
from slmesh.mesh.errors import PermissionDenied
from slmesh.mesh.local import InProcessTransport
from slmesh.mesh.wire import DETAILS_KEY, mesh_error
from slmesh.policy import open_gate
from slmesh.router.attach import attach_router

CLOSED = '@id("no-direct-calls") forbid (principal is Direct, action, resource);\n'
EMAIL = "me@example.org"


def hops(decision):
    return {hop.step: hop for hop in decision.receipt.hops}


def state(hop):
    return pb.HopState.Name(hop.state).removeprefix("HOP_STATE_").lower()


def codes(decision):
    return {(degradation.step, degradation.code) for degradation in decision.degradations}


def write_flow(settings, name, *, classes="personal", **on_failure):
    """Write a flow like the desk, with other classes of data."""
    text = (
        mesh_services.desk(**on_failure)
        .replace("name: desk", f"name: {name}")
        .replace("[personal]", f"[{classes}]")
    )
    (settings.flow_path[0] / f"{name}.yaml").write_text(text)


def place(manifests, **zones):
    """Put the models of services into zones."""
    for name, zone in zones.items():
        manifests[name] = replace(manifests[name], zone=zone)


def policy(tmp_path, **files):
    folder = tmp_path / "policy"
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.cedar").write_text(text)
    return {"policy_path": (folder,)}


def bodies(mesh, service):
    """Return every request a service has got after its warm-up, as text."""
    sent = [json_format.MessageToJson(one) for one in mesh.ingress.model(service).requests]
    return [body for body in sent if "Warm-up" not in body]


async def test_a_receipt_names_model_version_zone_region_rule_and_revision(mesh):
    decision = await mesh.route("when does my £20 card arrive", locale="en-GB")
    assert decision.receipt.policy_revision.startswith("sha256:")
    found = hops(decision)
    assert list(found) == ["guard", "intent", "entities", "triage"]
    hop = found["entities"]
    assert (hop.service, hop.model, hop.version) == ("entities", "entities", "1.0")
    assert (hop.zone, hop.region, hop.purpose) == ("cluster", "local", "inference")
    assert state(hop) == "allowed"
    (ruling,) = hop.rulings
    assert (ruling.data_class, ruling.allowed, ruling.rule) == ("personal", True, "flows-inside")
    assert set(ruling.fields) == {"text", "locale", "reference_time"}
    assert [hop.redacted for hop in found.values()] == [False, False, False, True]


async def test_the_receipt_is_recorded_with_the_decision(mesh):
    decision = await mesh.route("arrive")
    request = pb.ExplainRequest(decision_id=decision.decision_id)
    explained = await mesh.client.explain(request, timeout_s=10)
    assert explained.decision.receipt == decision.receipt
    assert len(decision.receipt.hops) == 4


async def test_what_the_guard_finds_adds_a_class_from_then_on(start_mesh, mesh_settings):
    write_flow(mesh_settings, "post", classes="internal")
    mesh = await start_mesh()
    decision = await mesh.route(f"arrive {EMAIL}", flow="post", locale="en-GB")
    found = hops(decision)
    assert [one.data_class for one in found["guard"].rulings] == ["internal"]
    rulings = {one.data_class: set(one.fields) for one in found["entities"].rulings}
    assert rulings == {"internal": {"text", "locale", "reference_time"}, "personal": {"text"}}
    clean = hops(await mesh.route("arrive", flow="post"))
    assert [one.data_class for one in clean["entities"].rulings] == ["internal"]


async def test_every_call_carries_a_seal_for_its_own_service(mesh):
    await mesh.route(f"unsure {EMAIL}")
    seals = {call["application"]: call["slmesh-policy-context"] for call in mesh.ingress.seen}
    assert set(seals) == {"guard", "intent", "entities", "triage", "reasoner"}
    assert len(set(seals.values())) == 5


async def test_a_model_outside_gets_the_redacted_text_where_the_text_is_denied(
    start_mesh, manifests
):
    place(manifests, intent="external")
    mesh = await start_mesh()
    decision = await mesh.route(f"arrive {EMAIL}")
    assert decision.path == pb.PATH_SMALL
    (body,) = bodies(mesh, "intent")
    assert EMAIL not in body
    assert "[EMAIL_1]" in body
    hop = hops(decision)["intent"]
    assert (hop.redacted, hop.zone, hop.region, state(hop)) == (
        True, "external", "unknown", "allowed",
    )  # fmt: skip
    assert {one.rule for one in hop.rulings} == {"flows-outside-redacted"}
    assert EMAIL in bodies(mesh, "entities")[0]  # inside of the mesh nothing changes


async def test_the_values_come_back_in_the_answer_of_a_reasoner_outside(start_mesh, manifests):
    place(manifests, reasoner="external", entities="external")
    mesh = await start_mesh()
    decision = await mesh.route(f"unsure {EMAIL}")
    assert decision.path == pb.PATH_ESCALATED
    assert all(EMAIL not in body for body in bodies(mesh, "reasoner") + bodies(mesh, "entities"))
    assert decision.answer.text == f"You wrote: unsure {EMAIL}"
    hop = hops(decision)["reasoner"]
    assert (hop.redacted, state(hop), hop.model) == (True, "allowed", "reasoner")
    assert {name for one in hop.rulings for name in one.fields} == {"text", "signals"}


async def test_what_is_denied_in_any_form_is_kept_back_and_on_the_receipt(
    start_mesh, mesh_settings, manifests
):
    write_flow(mesh_settings, "vault", classes="secret, internal")
    place(manifests, triage="external", reasoner="partner")
    mesh = await start_mesh()
    decision = await mesh.route(f"unsure {EMAIL}", flow="vault")
    assert decision.path == pb.PATH_FALLBACK
    assert codes(decision) == {("triage", "POLICY_DENIED"), ("reasoner", "POLICY_DENIED")}
    assert bodies(mesh, "triage") == bodies(mesh, "reasoner") == []
    hop = hops(decision)["triage"]
    assert state(hop) == "refused"
    said = {one.data_class: (one.allowed, one.rule, list(one.fields)) for one in hop.rulings}
    assert said["secret"] == (False, "", [])
    assert said["internal"] == (True, "flows-outside-redacted", [])


@pytest.mark.parametrize("step", ["triage", "reasoner"])
async def test_a_flow_that_fails_without_a_step_tells_that_policy_denied_it(
    start_mesh, mesh_settings, manifests, step
):
    write_flow(mesh_settings, "vault", classes="secret", **{step: "fail"})
    place(manifests, **{step: "external"})
    mesh = await start_mesh()
    with pytest.raises(PermissionDenied) as caught:
        await mesh.route("unsure", flow="vault")
    assert caught.value.reason == "POLICY_DENIED"
    assert "flows-" not in str(caught.value.to_status())


async def test_without_the_guard_nothing_leaves_the_mesh_and_the_answer_says_so(
    start_mesh, manifests
):
    place(manifests, intent="external", triage="external", reasoner="external")
    mesh = await start_mesh()
    decision = await mesh.route("guard:down unsure")
    assert decision.path == pb.PATH_FALLBACK
    unscreened = {(step, "GUARD_UNAVAILABLE") for step in ("intent", "triage", "reasoner")}
    assert unscreened <= codes(decision)
    assert bodies(mesh, "intent") == bodies(mesh, "triage") == bodies(mesh, "reasoner") == []
    assert len(bodies(mesh, "entities")) == 1
    states = {step: state(hop) for step, hop in hops(decision).items()}
    assert states == {
        "guard": "allowed", "intent": "unscreened", "triage": "unscreened",
        "entities": "allowed", "reasoner": "unscreened",
    }  # fmt: skip


async def test_a_guard_that_ran_half_its_checks_is_no_guard(start_mesh, manifests):
    place(manifests, intent="external")
    mesh = await start_mesh()
    decision = await mesh.route("guard:half arrive")
    assert ("intent", "GUARD_UNAVAILABLE") in codes(decision)
    assert bodies(mesh, "intent") == []


async def test_no_policy_lets_unscreened_text_out(start_mesh, manifests, tmp_path):
    place(manifests, intent="external")
    everything = policy(tmp_path, all='@id("all") permit (principal, action, resource);')
    mesh = await start_mesh(**everything)
    await mesh.route("guard:down arrive")
    assert bodies(mesh, "intent") == []


async def test_the_receiving_service_decides_whatever_the_router_allowed(mesh, tmp_path, manifests):
    rule = '@id("none") forbid (principal, action, resource == Model::"intent");'
    strict = open_gate(mesh.settings.with_values(**policy(tmp_path, strict=rule)), manifests)
    mesh.ingress.hosts["intent"].boundary._admit = strict.arrival("intent")
    decision = await mesh.route("arrive")
    assert ("intent", "POLICY_DENIED") in codes(decision)
    assert state(hops(decision)["intent"]) == "refused_by_service"
    assert bodies(mesh, "intent") == []


async def raw_error(address, text, *metadata):
    """Call a classifier as grpcurl does and return the error."""
    path = "/slmesh.api.classify.v1.ClassifyService/Classify"
    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.unary_unary(path, request_serializer=lambda one: one.SerializeToString())
        request = classify_pb2.ClassifyRequest(text=text)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(request, metadata=[("application", "intent"), *metadata], timeout=3)
    return caught.value


async def test_direct_calls_are_closed_by_one_line_at_router_and_ingress(start_mesh, tmp_path):
    mesh = await start_mesh(**policy(tmp_path, closed=CLOSED))
    assert (await mesh.route("arrive")).path == pb.PATH_SMALL
    for address in (f"127.0.0.1:{mesh.router.port}", mesh.ingress.address):
        error = await raw_error(address, "arrive")
        assert error.code() == grpc.StatusCode.PERMISSION_DENIED
        assert mesh_error(error, "intent").reason == "POLICY_DENIED"
    assert len(bodies(mesh, "intent")) == 1  # the flow's


@pytest.mark.parametrize(
    ("taken_from", "reason"),
    [
        pytest.param("", "POLICY_CONTEXT_INVALID", id="forged"),
        pytest.param("triage", "POLICY_CONTEXT_MISDIRECTED", id="for-another-service"),
    ],
)
async def test_a_seal_that_is_not_for_this_call_is_denied_with_one_error_info(
    mesh, taken_from, reason
):
    await mesh.route("arrive")
    calls = mesh.ingress.calls_of(taken_from)
    seal = calls[0]["slmesh-policy-context"] if calls else "1.Zm9yZ2Vk.Zm9yZ2Vk"
    for address in (f"127.0.0.1:{mesh.router.port}", mesh.ingress.address):
        error = await raw_error(address, "arrive", ("slmesh-policy-context", seal))
        assert error.code() == grpc.StatusCode.PERMISSION_DENIED
        assert mesh_error(error, "intent").reason == reason
        (details,) = [value for key, value in error.trailing_metadata() if key == DETAILS_KEY]
        found = status_pb2.Status.FromString(details).details
        assert [one.Is(error_details_pb2.ErrorInfo.DESCRIPTOR) for one in found] == [True]
    assert len(bodies(mesh, "intent")) == 1


async def test_an_unknown_tenant_is_denied_everywhere_without_a_hint(start_mesh, tmp_path):
    chosen = policy(tmp_path)
    (tmp_path / "policy" / "tenants.yaml").write_text("tenants:\n  - {name: acme}\n")
    mesh = await start_mesh(**chosen)
    known = RequestContext(tenant="acme")
    assert (await mesh.route("arrive", context=known)).path == pb.PATH_SMALL
    request = classify_pb2.ClassifyRequest(text="arrive")
    stranger = RequestContext(tenant="acmee")
    calls = (
        lambda: mesh.route("arrive", context=stranger),
        lambda: mesh.client.classify("intent", request, timeout_s=10, context=stranger),
        lambda: mesh.client.explain(
            pb.ExplainRequest(decision_id="x"), timeout_s=10, context=stranger
        ),
    )
    for call in calls:
        with pytest.raises(PermissionDenied) as caught:
            await call()
        assert caught.value.reason == "UNKNOWN_TENANT"
        assert "acme" not in str(caught.value.to_status())


async def test_a_step_is_sent_the_fields_its_flow_names_and_nothing_else(mesh):
    await mesh.route(f"unsure {EMAIL}", documents=["a document"], locale="en-GB", time_zone="UTC")
    sent = {
        name: {field.name for one in mesh.ingress.model(name).requests for field, _ in one.ListFields()}
        for name in ("guard", "intent", "entities", "triage", "reasoner")
    }  # fmt: skip
    assert sent == {
        "guard": {"segments", "redaction"},
        "intent": {"text"},
        "entities": {"text", "locale", "time_zone", "reference_time"},
        "triage": {"text"},
        "reasoner": {"instruction", "text", "signals", "max_output_tokens", "whole_answer"},
    }
    for name in ("intent", "entities", "triage"):
        assert "a document" not in "".join(bodies(mesh, name))
    assert EMAIL not in "".join(bodies(mesh, "triage") + bodies(mesh, "reasoner"))


async def test_the_same_holds_without_a_server(mesh_settings, manifests, tmp_path):
    place(manifests, intent="external")
    settings = mesh_settings.with_values(**policy(tmp_path, closed=CLOSED))
    gate = open_gate(settings, manifests, in_process=True)
    transport = InProcessTransport(settings, services=manifests, gate=gate)
    attach_router(transport, settings, services=manifests, gate=gate)
    async with Mesh(transport) as mesh:
        response = await mesh.route(pb.RouteRequest(flow="desk", text=f"arrive {EMAIL}"))
        found = hops(response.decision)
        assert (found["intent"].redacted, found["triage"].zone) == (True, "in-process")
        with pytest.raises(PermissionDenied):
            await mesh.classify("triage", classify_pb2.ClassifyRequest(text="x"))
    assert not (settings.state_dir / "mesh.key").exists()
