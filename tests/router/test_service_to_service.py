"""A service that calls another: the data is judged on that hop too, as what it is."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.ingress import Ingress
from tests.services import settings_for, write_service

from slmesh.api.classify.v1 import classify_pb2
from slmesh.mesh.catalog import discover
from slmesh.mesh.client import Mesh
from slmesh.mesh.context import RequestContext
from slmesh.mesh.errors import PermissionDenied
from slmesh.policy import open_gate

FIRST = """
from pathlib import Path

from slmesh.api.classify.v1 import classify_pb2 as pb
from slmesh.mesh.blocking import Blocking
from slmesh.mesh.client import Mesh
from slmesh.mesh.errors import MeshError

class First:
    '''Asks the service `second`, and answers what that says.'''

    def load(self, resources):
        self.resources = resources
        self.mesh = None

    def answer(self, requests):
        if "Warm-up" in requests[0].text:
            return [pb.ClassifyResponse(labels=pb.Labels()) for _ in requests]
        return [self.one(request) for request in requests]

    def one(self, request):
        options = self.resources.manifest.options
        if self.mesh is None:
            address = Path(options["address_file"]).read_text()
            gate = self.resources.gate if options["checks"] else None
            self.mesh = Blocking(Mesh.connect(address, gate=gate))
        context = self.resources.caller_of(request)
        if options["forgets"]:
            context = None
        try:
            return self.mesh.classify("second", request, timeout_s=30, context=context)
        except MeshError as error:
            return error

    def close(self):
        if self.mesh is not None:
            self.mesh.close()
"""

SECOND = """
from slmesh.api.classify.v1 import classify_pb2 as pb

class Second:
    def load(self, resources):
        self.texts = []

    def answer(self, requests):
        self.texts += [one.text for one in requests if "Warm-up" not in one.text]
        return [pb.ClassifyResponse(labels=pb.Labels(labels=[pb.Label(name="second")]))
                for _ in requests]
"""

RULE = """
@id("support-everywhere")
permit (principal == Flow::"support", action, resource);
@id("others-first-only")
permit (principal, action, resource == Model::"first");
"""


@pytest.fixture
async def chain(tmp_path):
    """Return a function that starts both services on one ingress."""
    opened = []

    async def start(*, checks=True, forgets=False, **zones):
        address_file = tmp_path / "address"
        options = f"{{address_file: {address_file}, checks: {checks}, forgets: {forgets}}}"
        write_service(tmp_path / "services", "first", FIRST, "First", options=options)
        write_service(tmp_path / "services", "second", SECOND, "Second")
        (tmp_path / "policy").mkdir()
        (tmp_path / "policy" / "default.cedar").write_text(RULE)
        settings = settings_for(tmp_path / "services", policy_path=(tmp_path / "policy",))
        found = discover(settings)
        manifests = {
            name: replace(found[name], zone=zones.get(name, "")) for name in ("first", "second")
        }
        gate = open_gate(settings, manifests)
        ingress = Ingress(settings, list(manifests.values()), gate=gate)
        await ingress.start()
        address_file.write_text(ingress.address)
        client = Mesh.connect(ingress.address, settings=settings, gate=gate)
        opened.extend((client, ingress))
        return client, ingress

    yield start
    for one in opened:
        await one.close()


def call(flow, *classes, redacted=False):
    return RequestContext(
        flow=flow, tenant="acme", decision_id="d-1", data_classes=classes, redacted=redacted
    )


REQUEST = classify_pb2.ClassifyRequest(text="a text")


async def test_the_second_hop_belongs_to_the_same_decision(chain):
    client, ingress = await chain()
    context = call("support", "personal", "secret")
    answer = await client.classify("first", REQUEST, timeout_s=30, context=context)
    assert answer.labels.labels[0].name == "second"
    first, second = (ingress.calls_of(name)[0] for name in ("first", "second"))
    assert second["slmesh-decision-id"] == first["slmesh-decision-id"] == "d-1"
    assert second["slmesh-tenant"] == "acme"
    assert second["slmesh-policy-context"] != first["slmesh-policy-context"]
    proven = ingress.hosts["second"].boundary._admit(RequestContext.from_metadata(second.items()))
    assert proven.flow == "support"
    assert proven.data_classes == ("personal", "secret")


@pytest.mark.parametrize("checks", [True, False], ids=["at-the-sender", "at-the-receiver"])
async def test_the_policy_can_stop_the_second_hop(chain, checks):
    client, ingress = await chain(checks=checks)
    with pytest.raises(PermissionDenied) as caught:
        await client.classify("first", REQUEST, timeout_s=30, context=call("general", "personal"))
    assert caught.value.reason == "POLICY_DENIED"
    assert caught.value.metadata == {"service": "second"}
    # one that checks does not even send it; one that does not is stopped where it arrives
    assert len(ingress.calls_of("second")) == (0 if checks else 1)
    assert ingress.model("second").texts == []


async def test_a_service_that_passes_no_context_on_calls_directly(chain):
    client, ingress = await chain(forgets=True)
    with pytest.raises(PermissionDenied):
        await client.classify("first", REQUEST, timeout_s=30, context=call("support", "public"))
    assert ingress.model("second").texts == []


async def test_requests_of_one_batch_keep_their_own_callers(chain):
    """Two flows at the same time in one service: one may go on, the other may not."""
    client, ingress = await chain()

    async def ask(number):
        flow = "support" if number % 2 else "general"
        request = classify_pb2.ClassifyRequest(text=f"{flow} {number}")
        try:
            await client.classify("first", request, timeout_s=10, context=call(flow, "personal"))
        except PermissionDenied:
            return flow, "denied"
        return flow, "answered"

    outcomes = await asyncio.gather(*(ask(number) for number in range(20)))
    assert set(outcomes) == {("support", "answered"), ("general", "denied")}
    assert all(text.startswith("support") for text in ingress.model("second").texts)
    assert len(ingress.model("second").texts) == 10
