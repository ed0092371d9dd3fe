"""The router in a mesh of this process: the same flows and decisions, without a server."""

from __future__ import annotations

import pytest

from slmesh.api.route.v1 import route_pb2 as pb
from slmesh.mesh.client import Mesh
from slmesh.mesh.errors import InvalidArgument, NotFound
from slmesh.mesh.local import InProcessTransport
from slmesh.router.attach import attach_router


@pytest.fixture
async def local(mesh_settings, manifests):
    transport = InProcessTransport(mesh_settings, services=manifests)
    attach_router(transport, mesh_settings, services=manifests)
    async with Mesh(transport) as mesh:
        yield mesh


async def route(mesh, text, **fields):
    response = await mesh.route(pb.RouteRequest(flow="desk", text=text, **fields))
    return response.decision


async def test_a_flow_runs_in_this_process(local):
    decision = await route(local, "arrive")
    assert decision.path == pb.PATH_SMALL
    assert not decision.degradations  # loading services is not taken from their steps' time
    explained = await local.explain(pb.ExplainRequest(decision_id=decision.decision_id))
    assert explained.decision == decision


async def test_an_escalation_runs_in_this_process(local):
    decision = await route(local, "unsure me@example.org")
    assert decision.path == pb.PATH_ESCALATED
    assert "me@example.org" in decision.answer.text


async def test_the_recorded_decision_cannot_be_changed_by_a_caller(local):
    decision = await route(local, "arrive", request_id="0d5c6f1e-8d0a-4f3e-9a50-2f1d3c1b7a11")
    decision.answer.text = "changed"
    again = await route(local, "arrive", request_id="0d5c6f1e-8d0a-4f3e-9a50-2f1d3c1b7a11")
    assert again.answer.text == "It is on its way."


async def test_a_service_that_cannot_be_loaded_fails_its_step_only(local, monkeypatch):
    from slmesh.mesh.host import ServiceHost

    load = ServiceHost.load

    def refuse(host):
        if host.manifest.name == "triage":
            raise NotFound("no bundle 'triage'", reason="BUNDLE_NOT_FOUND")
        load(host)

    monkeypatch.setattr(ServiceHost, "load", refuse)
    decision = await route(local, "arrive")
    assert decision.path == pb.PATH_SMALL
    assert [degradation.step for degradation in decision.degradations] == ["triage"]


async def test_errors_are_the_same_as_over_the_network(local):
    with pytest.raises(NotFound, match="did you mean 'desk'"):
        await local.route(pb.RouteRequest(flow="dask", text="x"))
    with pytest.raises(InvalidArgument) as caught:
        await local.route(pb.RouteRequest(flow="desk"))
    assert caught.value.field == "text"


async def test_decisions_are_recorded_where_the_settings_name_a_ledger(mesh_settings, manifests):
    file = mesh_settings.state_dir / "decisions.sqlite3"
    settings = mesh_settings.with_values(ledger_url=f"sqlite:///{file}")
    name = "0d5c6f1e-8d0a-4f3e-9a50-2f1d3c1b7a11"

    async def decide():
        transport = InProcessTransport(settings, services=manifests)
        attach_router(transport, settings, services=manifests)
        async with Mesh(transport) as mesh:
            return await route(mesh, "arrive", request_id=name)

    first, again = await decide(), await decide()
    assert again.decision_id == first.decision_id
    assert file.exists()


async def test_nothing_is_written_where_no_ledger_is_named(mesh_settings, manifests):
    settings = mesh_settings.with_values(budgets=None)
    transport = InProcessTransport(settings, services=manifests)
    attach_router(transport, settings, services=manifests)
    async with Mesh(transport) as mesh:
        await route(mesh, "arrive")
    assert not (mesh_settings.state_dir / "ledger").exists()
