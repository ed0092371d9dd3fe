"""What happens to a real mesh when parts of it fail: what is hit, what is not, how it comes back."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from pathlib import Path

import pytest
from tests.running_mesh import settings_on_free_ports

from slmesh.api.classify.v1 import classify_pb2
from slmesh.mesh.errors import FailedPrecondition, MeshError, ResourceExhausted, Unavailable
from slmesh.platform.mesh_status import status
from slmesh.platform.processes import command_of, session_members
from slmesh.platform.supervisor import Supervisor

LONGEST_RECOVERY_S = 120.0  # 6 to 9 s on an idle machine; a busy one takes its time


def text(value: str) -> classify_pb2.ClassifyRequest:
    return classify_pb2.ClassifyRequest(text=value)


def test_a_service_that_cannot_load_says_why_and_is_given_up(mesh):
    (broken,) = [s for s in status(mesh.settings).services if s.name == "broken"]
    assert (broken.state, broken.replicas) == ("failed", 0)
    assert "the tensor 'weight' has 3 rows" in broken.message


def test_a_service_that_cannot_load_does_not_hold_up_the_others(mesh):
    failed = {n for n, state in mesh.supervisor.services.items() if state["state"] == "failed"}
    states = {n: state["state"] for n, state in mesh.supervisor.services.items()}
    assert failed == {"broken"}
    assert {states[name] for name in ("worker", "steady", "writer")} == {"healthy"}


def test_the_status_can_be_asked_for_by_any_process_and_is_json(mesh):
    told = json.loads(json.dumps(status(mesh.settings).as_json()))
    services = {service["name"]: service for service in told["services"]}
    assert told["up"]
    assert told["router"]["state"] == "healthy"
    assert services["steady"]["state"] == "healthy"
    assert services["steady"]["memory_mib"] < 450


def test_every_process_is_a_target_of_prometheus(mesh):
    expected = sorted({"router", *mesh.supervisor.services} - {"broken"})

    def targets():
        groups = json.loads(mesh.supervisor.state.targets_path.read_text())
        return sorted(group["labels"]["slmesh_service"] for group in groups)

    deadline = time.monotonic() + 30
    while targets() != expected and time.monotonic() < deadline:
        time.sleep(0.2)
    assert targets() == expected


def test_a_replica_holds_no_torch(mesh):
    assert "torch" not in Path(f"/proc/{mesh.pid('steady')}/maps").read_text()


def test_a_second_mesh_in_the_same_folder_is_refused(mesh):
    with pytest.raises(FailedPrecondition, match="already up"):
        Supervisor(mesh.settings, services=["steady"]).start()


@pytest.mark.parametrize(
    ("port", "setting"),
    [("router_port", "SLMESH_ROUTER_PORT"), ("ingress_port", "SLMESH_INGRESS_PORT")],
)
def test_a_busy_port_is_named_with_its_setting(mesh, tmp_path, port, setting):
    own = settings_on_free_ports(tmp_path, mesh.settings.service_path[0])
    taken = getattr(mesh.settings, port)
    with pytest.raises(FailedPrecondition, match=f"port {taken} .*{setting}"):
        Supervisor(own.with_values(**{port: taken}), services=["steady"]).start()


async def test_killing_one_service_is_no_error_for_another(client, mesh):
    request = classify_pb2.ClassifyRequest(text="hello")
    killed = asyncio.Event()
    back = asyncio.Event()
    errors: list[MeshError] = []
    calls = 0

    async def call_the_other() -> None:
        nonlocal calls
        while not back.is_set():
            try:
                await client.classify("steady", request, timeout_s=30)
            except MeshError as error:
                errors.append(error)
            calls += 1
            await asyncio.sleep(0.01)

    async def call_the_killed() -> bool:
        await killed.wait()
        started = time.monotonic()
        while time.monotonic() - started < LONGEST_RECOVERY_S:
            try:
                await client.classify("worker", request, timeout_s=5)
            except MeshError:
                await asyncio.sleep(0.1)
            else:
                back.set()
                return True
        back.set()
        return False

    others = asyncio.create_task(call_the_other())
    pid = mesh.pid("worker")
    os.kill(pid, signal.SIGKILL)
    killed.set()
    came_back = await call_the_killed()
    await others
    assert errors == []
    assert calls > 50
    assert came_back
    assert mesh.pid("worker") != pid


async def test_a_service_that_eats_memory_ends_at_its_own_limit_and_comes_back(client, mesh):
    pid, other = mesh.pid("worker"), mesh.pid("steady")
    with pytest.raises(Unavailable, match="450 MiB") as told:
        await client.classify("worker", text("eat 4000"), timeout_s=30)
    assert told.value.reason == "MEMORY_LIMIT"
    await mesh.until_replaced("worker", pid, LONGEST_RECOVERY_S)
    await client.classify("steady", text("hello"), timeout_s=30)
    assert mesh.pid("steady") == other


async def test_a_request_for_too_much_memory_is_refused_and_the_service_stays(client, mesh):
    pid = mesh.pid("steady")
    with pytest.raises(ResourceExhausted, match="memory"):
        await client.classify("steady", text("grab 2000"), timeout_s=30)
    await client.classify("steady", text("hello"), timeout_s=30)
    assert mesh.pid("steady") == pid


@pytest.mark.parametrize(("service", "threads"), [("worker", "2"), ("steady", "1")])
async def test_a_service_computes_with_the_threads_of_its_manifest(client, service, threads):
    response = await client.classify(service, text("threads"), timeout_s=30)
    assert response.labels.labels[0].name == threads


async def test_a_killed_router_comes_back(mesh):
    before = mesh.supervisor.state.read()["children"]["router"]["session"]
    os.kill(before, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        known = mesh.supervisor.state.read()
        if known["children"]["router"]["session"] != before and known["router"]:
            break
        await asyncio.sleep(0.1)
    assert status(mesh.settings).router.state == "healthy"


def test_every_path_of_the_mesh_is_its_own(mesh):
    session = mesh.supervisor.state.read()["children"]["ray"]["session"]
    commands = [command_of(pid) for pid in session_members(session)]
    # two for a while after a restart: the one that was replaced serves its connections to their end
    haproxies = [line for line in commands if "/haproxy " in line]
    short_dir = mesh.settings.state_dir / "ray"
    assert haproxies
    assert all(str(short_dir.resolve()) in line for line in haproxies)
