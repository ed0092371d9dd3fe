"""The gate: seals cannot be forged, moved, kept or changed; direct calls are judged as such."""

from __future__ import annotations

import base64
import stat

import pytest
from google.rpc import error_details_pb2
from tests.services import settings_for

from slmesh.mesh.catalog import discover
from slmesh.mesh.context import RequestContext
from slmesh.mesh.errors import FailedPrecondition, PermissionDenied
from slmesh.mesh.manifest import Manifest
from slmesh.policy import open_gate
from slmesh.policy.gate import PolicyGate
from slmesh.policy.judge import Judge
from slmesh.policy.mesh_key import mesh_key
from slmesh.policy.policy_book import load_policies
from slmesh.policy.seal import Facts, Sealer
from slmesh.policy.targets import target_of

SERVICES = {
    name: Manifest(name=name, contract="classify", class_name="X", zone=zone)
    for name, zone in (("near", ""), ("other", "cluster"), ("far", "external"))
}
CALL = RequestContext(
    service="near",
    tenant="acme",
    flow="support",
    decision_id="0d5c6f1e-8d0a-4f3e-9a50-2f1d3c1b7a11",
    data_classes=("personal", "confidential"),
)


@pytest.fixture
def gate(tmp_path):
    return open_gate(settings_for(tmp_path), SERVICES)


def arrived(context, **changes):
    """Return the context as it comes off the wire, with some metadata changed."""
    metadata = dict(context.to_metadata()) | changes
    return RequestContext.from_metadata(metadata.items())


def test_a_sealed_call_is_proven_where_it_arrives(gate):
    proven = gate.arrival("near")(arrived(gate.depart(CALL)))
    assert (proven.flow, proven.tenant, proven.decision_id) == (CALL.flow, "acme", CALL.decision_id)
    assert proven.data_classes == ("confidential", "personal")
    assert not proven.redacted
    assert not proven.policy_context  # a seal is for one target


def test_what_the_metadata_says_beside_the_seal_does_not_count(gate):
    changed = {"slmesh-tenant": "evil", "slmesh-data-classes": "public", "slmesh-decision-id": "x"}
    proven = gate.arrival("near")(arrived(gate.depart(CALL), **changed))
    assert (proven.tenant, proven.decision_id) == ("acme", CALL.decision_id)
    assert proven.data_classes == ("confidential", "personal")


def other_key(seal, gate):
    return Sealer(b"k" * 32).seal(
        Facts("d", "t", "support", ("public",), True, "r", "near", 1 << 40)
    )


def changed_facts(seal, gate):
    version, facts, code = seal.split(".")
    text = base64.b64decode(facts).replace(b"personal", b"public")
    return f"{version}.{base64.b64encode(text).decode()}.{code}"


FORGED = [
    pytest.param(other_key, id="another-key"),
    pytest.param(changed_facts, id="changed-facts"),
    pytest.param(lambda seal, gate: seal[:-4] + "0000", id="changed-code"),
    pytest.param(lambda seal, gate: seal + "=", id="longer"),
    pytest.param(lambda seal, gate: "2" + seal[1:], id="another-version"),
    pytest.param(lambda seal, gate: "garbage", id="garbage"),
    pytest.param(lambda seal, gate: "..", id="dots"),
    pytest.param(lambda seal, gate: "1.é.é", id="not-ascii"),
]


@pytest.mark.parametrize("forge", FORGED)
def test_a_forged_seal_is_denied_and_not_taken_for_a_direct_call(gate, forge):
    seal = forge(gate.depart(CALL).policy_context, gate)
    with pytest.raises(PermissionDenied) as caught:
        gate.arrival("near")(arrived(CALL, **{"slmesh-policy-context": seal}))
    assert caught.value.reason == "POLICY_CONTEXT_INVALID"


def test_a_seal_for_another_service_is_denied(gate):
    with pytest.raises(PermissionDenied) as caught:
        gate.arrival("other")(arrived(gate.depart(CALL)))
    assert caught.value.reason == "POLICY_CONTEXT_MISDIRECTED"


@pytest.mark.parametrize(("late_s", "denied"), [(31, False), (33.5, True)])
def test_a_seal_ends_soon_after_its_call(tmp_path, late_s, denied):
    now = [1000.0]
    settings = settings_for(tmp_path)
    targets = {name: target_of(manifest, settings) for name, manifest in SERVICES.items()}
    gate = PolicyGate(
        Judge(load_policies(settings), targets), Sealer(mesh_key(settings)), now_s=lambda: now[0]
    )
    sealed = arrived(gate.depart(CALL.within(2.0)))
    now[0] += late_s
    if not denied:
        assert gate.arrival("near")(sealed).flow == "support"
        return
    with pytest.raises(PermissionDenied) as caught:
        gate.arrival("near")(sealed)
    assert caught.value.reason == "POLICY_CONTEXT_EXPIRED"


def test_a_denied_call_is_not_sent_and_not_taken(gate, tmp_path):
    call = RequestContext(service="far", flow="support", data_classes=("personal",))
    with pytest.raises(PermissionDenied) as sent:
        gate.depart(call)
    # a router that does not check: its seal is genuine, and the receiver decides all the same
    key = mesh_key(settings_for(tmp_path))
    facts = Facts("", "default", "support", ("personal",), False, "old", "far", 1 << 40)
    seal = {"slmesh-policy-context": Sealer(key).seal(facts)}
    with pytest.raises(PermissionDenied) as taken:
        gate.arrival("far")(arrived(RequestContext(service="far"), **seal))
    assert sent.value.reason == taken.value.reason == "POLICY_DENIED"


def test_a_redacted_text_may_go_where_the_text_may_not(gate):
    call = RequestContext(service="far", flow="f", data_classes=("personal",), redacted=True)
    assert gate.arrival("far")(arrived(gate.depart(call))).redacted


def test_a_direct_call_is_confidential(tmp_path):
    rule = """
    @id("public-direct-calls")
    permit (principal == Direct::"direct", action, resource)
    when { context.class == DataClass::"public" };
    """
    (tmp_path / "default.cedar").write_text(rule)
    gate = open_gate(settings_for(tmp_path, policy_path=(tmp_path,)), SERVICES)
    with pytest.raises(PermissionDenied):
        gate.arrival("near")(RequestContext())
    with pytest.raises(PermissionDenied):  # what it declares makes it more, never less
        gate.arrival("near")(RequestContext(data_classes=("public",)))


def test_direct_calls_are_open_inside_and_closed_outside(gate):
    assert gate.arrival("near")(RequestContext()).flow == ""
    with pytest.raises(PermissionDenied):
        gate.arrival("far")(RequestContext())


def test_one_line_closes_direct_calls(tmp_path):
    line = '@id("no-direct-calls") forbid (principal is Direct, action, resource);'
    (tmp_path / "closed.cedar").write_text(line)
    gate = open_gate(settings_for(tmp_path, policy_path=(tmp_path,)), SERVICES)
    with pytest.raises(PermissionDenied):
        gate.arrival("near")(RequestContext())
    assert gate.arrival("near")(arrived(gate.depart(CALL))).flow == "support"


def test_a_direct_caller_cannot_name_a_flow(gate):
    metadata = [("slmesh-flow", "support"), ("flow", "support"), ("slmesh-redacted", "1")]
    proven = gate.arrival("near")(RequestContext.from_metadata(metadata))
    assert (proven.flow, proven.redacted) == ("", False)
    # nor does a context that was never on a wire bring one to a boundary
    assert gate.arrival("near")(CALL).flow == ""


def test_a_call_to_a_service_that_is_not_known_is_for_its_own_gate(gate):
    assert gate.depart(RequestContext(service="elsewhere")).policy_context == ""
    sealed = gate.depart(RequestContext(service="elsewhere", flow="f", data_classes=("secret",)))
    assert sealed.policy_context


def test_nothing_of_the_policy_is_told(gate):
    with pytest.raises(PermissionDenied) as caught:
        gate.arrival("far")(RequestContext())
    status = caught.value.to_status()
    told = str(status)
    assert len(status.details) == 1
    assert status.details[0].Is(error_details_pb2.ErrorInfo.DESCRIPTOR)
    for word in ("flows-", "direct-calls", "confidential", "zone", "sha256", "forbid"):
        assert word not in told


def test_an_unknown_tenant_is_denied_without_a_hint(tmp_path):
    (tmp_path / "tenants.yaml").write_text("tenants:\n  - {name: acme}\n")
    gate = open_gate(settings_for(tmp_path, policy_path=(tmp_path,)), SERVICES)
    assert gate.served(RequestContext(tenant="acme")).tenant == "acme"
    for check in (gate.served, gate.arrival("near")):
        with pytest.raises(PermissionDenied) as caught:
            check(RequestContext(tenant="acmee"))
        assert caught.value.reason == "UNKNOWN_TENANT"
        assert "acme" not in str(caught.value.to_status())


def test_without_declared_tenants_everyone_is_served(gate):
    assert gate.served(RequestContext(tenant="anybody")).tenant == "anybody"


def test_the_key_is_made_once_for_its_owner_only(tmp_path):
    settings = settings_for(tmp_path)
    key = mesh_key(settings)
    path = settings.state_dir / "mesh.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(bytes.fromhex(key.decode())) == 32
    assert mesh_key(settings) == key
    assert [file.name for file in settings.state_dir.iterdir()] == ["mesh.key"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "SLMESH_MESH_KEY", id="missing"),
        pytest.param("short", "5 char", id="short"),
    ],
)
def test_a_key_that_cannot_be_used_is_named(tmp_path, content, message):
    file = tmp_path / "key"
    if content is not None:
        file.write_text(content)
    with pytest.raises(FailedPrecondition, match=message) as caught:
        mesh_key(settings_for(tmp_path, mesh_key=file))
    assert caught.value.reason == "MESH_KEY_UNUSABLE"
    assert "short" not in caught.value.message.replace("too short", "")


ENGINES = [
    pytest.param({}, "cluster", "here", id="embedded"),
    pytest.param({"reasoner_engine": "openai", "reasoner_model": "m"}, "external", "unknown",
                 id="the-vendors-own"),
    pytest.param({"reasoner_base_url": "https://api.example.com/v1"}, "external", "unknown",
                 id="foreign"),
    pytest.param({"reasoner_base_url": "http://127.0.0.1:8000/v1"}, "cluster", "here", id="here"),
    pytest.param({"reasoner_base_url": "http://[::1]:8000/v1"}, "cluster", "here", id="ipv6"),
    pytest.param({"reasoner_base_url": "http://10.1.2.3/v1"}, "cluster", "here", id="private"),
    pytest.param({"reasoner_base_url": "http://8.8.8.8/v1"}, "external", "unknown", id="public"),
    pytest.param({"reasoner_base_url": "http://vllm:8000/v1"}, "cluster", "here", id="one-label"),
    pytest.param({"reasoner_base_url": "http://llm.ml.svc.cluster.local/v1"}, "cluster", "here",
                 id="kubernetes"),
    pytest.param({"reasoner_base_url": "https://cluster.local.evil.com/v1"}, "external",
                 "unknown", id="looks-local"),
    pytest.param({"reasoner_base_url": "https://llm.corp.example/v1", "reasoner_zone": "partner",
                  "reasoner_region": "eu"}, "partner", "eu", id="declared"),
]  # fmt: skip


@pytest.mark.parametrize(("values", "zone", "region"), ENGINES)
def test_where_the_reasoner_is_follows_from_its_engine(tmp_path, values, zone, region):
    settings = settings_for(tmp_path, region="here", **values)
    target = target_of(discover(settings)["reasoner"], settings)
    assert (target.zone, target.region) == (zone, region)


def test_a_model_of_this_process_says_so(tmp_path):
    settings = settings_for(tmp_path)
    assert target_of(SERVICES["near"], settings, in_process=True).zone == "in-process"
    assert target_of(SERVICES["far"], settings, in_process=True).zone == "external"
