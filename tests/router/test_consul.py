"""A router that finds its services in Consul and can be found there itself, with a real agent."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys

import pytest
from tests.ingress import Ingress

from slmesh.api.route.v1 import route_pb2
from slmesh.discovery.agent import ConsulAgent, Registration, TtlCheck
from slmesh.mesh.client import Mesh


@pytest.fixture
def agent(consul_agent):
    return consul_agent


@pytest.fixture
async def ingress(mesh_settings, manifests, agent):
    """An ingress whose services are registered."""
    served = Ingress(mesh_settings, list(manifests.values()))
    await served.start()
    connection = ConsulAgent(agent.address)
    for name in manifests:
        item = Registration(
            id=name, service=name, host="127.0.0.1", port=served.port,
            metadata={"owner": "test"}, check=TtlCheck(ttl_s=60, passing=True),
        )  # fmt: skip
        await connection.register(item)
    await connection.close()
    yield served
    await served.close()


def passing_routers(agent):
    rows = agent.call("GET", "/health/service/slmesh-router?passing=true")
    return [(row["Service"]["Address"], row["Service"]["Port"]) for row in rows]


async def until(condition):
    async with asyncio.timeout(15):
        while not condition():
            await asyncio.sleep(0.05)


async def test_a_router_finds_services_registers_itself_and_leaves(mesh_settings, agent, ingress):
    environment = mesh_settings.with_values(
        discovery="consul", consul_address=agent.address
    ).to_environment()
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SLMESH_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "slmesh.router",
        env=clean | environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(60):
            told = json.loads(await process.stdout.readline())
            await until(lambda: ("127.0.0.1", told["port"]) in passing_routers(agent))
            async with Mesh.connect(told["address"], settings=mesh_settings) as client:
                request = route_pb2.RouteRequest(flow="desk", text="arrive")
                found = (await client.route(request, timeout_s=30)).decision
                process.send_signal(signal.SIGTERM)
                errors = await process.stderr.read()
                assert await process.wait() == 0
            await until(lambda: not passing_routers(agent))
    finally:
        if process.returncode is None:
            process.kill()
    assert found.path == route_pb2.PATH_SMALL
    assert b"Traceback" not in errors


async def test_a_router_serves_on_when_the_agent_is_gone(mesh_settings, agent, ingress):
    from slmesh.discovery.consul import ConsulDiscovery
    from slmesh.mesh.catalog import discover
    from slmesh.mesh.metrics import Metrics
    from slmesh.router.server import RouterServer

    discovery = ConsulDiscovery(ConsulAgent(agent.address), zone="local", region="local")
    await discovery.start()
    services = {name: discover(mesh_settings)[name] for name in ingress.hosts}
    router = await RouterServer.start(
        mesh_settings, discovery, metrics=Metrics(), services=services
    )
    async with Mesh.connect(f"127.0.0.1:{router.port}", settings=mesh_settings) as client:
        request = route_pb2.RouteRequest(flow="desk", text="arrive")
        before = (await client.route(request, timeout_s=30)).decision
        agent.kill()
        after = (await client.route(request, timeout_s=30)).decision
    await router.stop(0.5)
    await discovery.close()
    assert before.path == after.path == route_pb2.PATH_SMALL
    assert not after.degradations
