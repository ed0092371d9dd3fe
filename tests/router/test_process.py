"""The router as a process: what it prints, how it stops, and how it says that it cannot start."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import urllib.request

import pytest
from tests.ingress import Ingress

from slmesh.api.route.v1 import route_pb2
from slmesh.mesh.client import Mesh


async def start(settings, **environment):
    named = settings.to_environment() | environment
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SLMESH_")}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "slmesh.router",
        env=clean | named,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["term", "int"])
async def test_it_says_where_it_serves_and_stops_when_told(mesh_settings, manifests, number):
    ingress = Ingress(mesh_settings, list(manifests.values()))
    await ingress.start()
    process = await start(mesh_settings, SLMESH_INGRESS_PORT=str(ingress.port))
    try:
        async with asyncio.timeout(30):
            told = json.loads(await process.stdout.readline())
            async with Mesh.connect(told["address"], settings=mesh_settings) as client:
                request = route_pb2.RouteRequest(flow="desk", text="arrive")
                response = await client.route(request, timeout_s=30)
            url = f"http://{told['metrics_address']}/metrics"
            metrics = await asyncio.to_thread(lambda: urllib.request.urlopen(url).read())
            process.send_signal(number)
            errors = await process.stderr.read()
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
        await ingress.close()
    assert response.decision.path == route_pb2.PATH_SMALL
    assert b'slmesh_decisions_total{degraded="false",flow="desk",path="small"} 1.0' in metrics
    assert b"Traceback" not in errors
    events = [json.loads(line) for line in errors.splitlines()]
    assert {"router serves", "decision", "router stopped"} <= {e["event"] for e in events}
    assert b"arrive" not in errors  # a user's text is never logged


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        pytest.param({"SLMESH_DISCOVERY": "dns"}, "'static' or 'consul'", id="discovery"),
        pytest.param({"SLMESH_ROUTER_PROT": "1"}, "did you mean SLMESH_ROUTER_PORT", id="typo"),
        pytest.param({"SLMESH_FLOW_PATH": "/nowhere"}, "which is not a folder", id="flow-path"),
        pytest.param({"SLMESH_TLS_KEY": "/nowhere"}, "SLMESH_TLS_CERTIFICATE too", id="tls"),
    ],
)
async def test_it_says_in_one_line_why_it_cannot_start(mesh_settings, environment, message):
    process = await start(mesh_settings, **environment)
    async with asyncio.timeout(30):
        output, errors = await process.communicate()
    assert process.returncode == 1
    assert not output
    assert errors.decode().startswith("slmesh router: ")
    assert message.replace("'", "") in errors.decode().replace("'", "")
    assert len(errors.splitlines()) == 1
