"""A mesh that Consul knows: its services are registered, found through Consul, and taken back."""

from __future__ import annotations

import time

from tests.running_mesh import settings_on_free_ports
from tests.services import write_service

import slmesh
from slmesh.api.classify.v1 import classify_pb2
from slmesh.mesh.errors import MeshError
from slmesh.platform.supervisor import Supervisor


def passing(agent, service: str) -> int:
    """Return how many instances of a service pass their checks."""
    return len(agent.call("GET", f"/health/service/slmesh-{service}?passing=true"))


def until(condition, timeout_s: float = 60.0) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.1)


async def test_a_mesh_is_found_through_consul_and_taken_back_when_it_stops(consul_agent, tmp_path):
    write_service(tmp_path / "services", "steady")
    settings = settings_on_free_ports(tmp_path / "state", tmp_path / "services").with_values(
        discovery="consul", consul_address=consul_agent.address, zone="a", region="eu"
    )
    with Supervisor(settings, services=["steady"]):
        until(lambda: passing(consul_agent, "steady") == 1)
        until(lambda: passing(consul_agent, "router") == 1)
        async with slmesh.Mesh.connect(settings=settings) as mesh:
            answer = await answered(mesh)
        assert answer.labels.labels[0].name == "hello"
    until(lambda: passing(consul_agent, "steady") == 0)
    until(lambda: passing(consul_agent, "router") == 0)


async def answered(mesh):
    """Return the answer to a call, once the router has heard of the service."""
    deadline = time.monotonic() + 60
    while True:
        try:
            request = classify_pb2.ClassifyRequest(text="hello there")
            return await mesh.classify("steady", request, timeout_s=30)
        except MeshError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
