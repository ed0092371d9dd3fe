"""The policy and the key of a mesh change under load, over sockets: no request is dropped."""

from __future__ import annotations

import asyncio
import secrets

import pytest

from slmesh.api.route.v1 import route_pb2 as pb
from slmesh.platform.mesh_status import status
from slmesh.platform.state import MeshState

NO_DIRECT = '@id("no-direct") forbid (principal is Direct, action, resource);'
NO_TRIAGE = '@id("no-triage") forbid (principal, action, resource == Model::"triage");'


@pytest.fixture
async def mesh(start_mesh, tmp_path):
    """Return a mesh whose services and whose router follow the policy, with time for its steps."""
    (tmp_path / "policy").mkdir()
    mesh = await start_mesh(policy_path=(tmp_path / "policy",))
    await mesh.gate.start(mesh.ingress.metrics)
    yield mesh
    await mesh.gate.close()


def write(mesh, text):
    (mesh.settings.policy_path[0] / "x.cedar").write_text(text)


async def problems(mesh):
    """Return what the status says that the router serves without, or with an older version of."""
    known = {"router": {"address": f"127.0.0.1:{mesh.router.port}"}}
    MeshState(mesh.settings.state_dir).write(known)
    found = await asyncio.to_thread(status, mesh.settings)
    assert found.router.state == "healthy"
    return [problem.partition(":")[0] for problem in found.router.problems]


async def under_load(mesh, until):
    """Route without a pause until something holds; returns every decision."""
    decisions = []
    async with asyncio.timeout(60):
        while not (decisions and until(decisions[-1])):
            decisions += await asyncio.gather(
                *(mesh.route("arrive", timeout_s=30) for _ in range(4))
            )
    return decisions


async def test_a_changed_policy_is_taken_without_dropping_a_request(mesh):
    before = (await mesh.route("arrive")).receipt.policy_revision
    write(mesh, NO_DIRECT)
    decisions = await under_load(mesh, lambda one: one.receipt.policy_revision != before)
    assert all(one.path == pb.PATH_SMALL and not one.degradations for one in decisions)
    write(mesh, NO_TRIAGE)
    decisions = await under_load(mesh, lambda one: bool(one.degradations))
    codes = {(one.step, one.code) for each in decisions for one in each.degradations}
    assert codes == {("triage", "POLICY_DENIED")}


async def test_a_wrong_policy_and_a_wrong_flow_are_told_by_the_status(mesh):
    assert await problems(mesh) == []
    before = (await mesh.route("arrive")).receipt.policy_revision
    write(mesh, "permit (")
    async with asyncio.timeout(30):
        while not (told := await problems(mesh)):
            await asyncio.sleep(0.1)
    assert told == ["a changed policy is refused, and the one before it is in force"]
    decision = await mesh.route("arrive")
    assert (decision.path, decision.receipt.policy_revision) == (pb.PATH_SMALL, before)
    write(mesh, NO_DIRECT)
    (flow,) = mesh.settings.flow_path[0].glob("*.yaml")
    right = flow.read_text()
    flow.write_text("name: [")
    await mesh.router._watch.look()
    async with asyncio.timeout(30):
        while "policy" in " ".join(told) or not told:
            told = await problems(mesh)
    assert told == ["a changed flow is refused, and the version before it serves"]
    flow.write_text(right)
    await mesh.router._watch.look()
    async with asyncio.timeout(30):
        while await problems(mesh):
            await asyncio.sleep(0.1)


async def test_a_new_key_is_taken_without_dropping_a_request(mesh):
    file = mesh.settings.state_dir / "mesh.key"
    keys = {one: one._sealer for one in (mesh.gate, mesh.router._gate)}
    before = {gate: ring._key for gate, ring in keys.items()}
    fresh = file.with_name("fresh")
    fresh.write_text(secrets.token_hex(32))
    fresh.replace(file)
    decisions = await under_load(
        mesh, lambda _: all(ring._key != before[gate] for gate, ring in keys.items())
    )
    assert all(one.path == pb.PATH_SMALL and not one.degradations for one in decisions)
