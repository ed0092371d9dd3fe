"""Kills a router under load, over and over, and counts the answers it gave against its records.

The router is a process like any other; the one service behind it answers in this process, over gRPC
and without Ray, so that nothing but the router dies.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc

from slmesh.api.route.v1 import route_pb2
from slmesh.bench.chains import echo_settings
from slmesh.bench.load import ECHO
from slmesh.bench.recorded import recorded_decisions
from slmesh.mesh.catalog import discover
from slmesh.mesh.client import Mesh
from slmesh.mesh.contract import rpcs
from slmesh.mesh.errors import MeshError, Unavailable
from slmesh.mesh.host import ServiceHost
from slmesh.mesh.metrics import Metrics
from slmesh.mesh.settings import Settings, child_environment

__all__ = ["kill_router"]

_FLOW = """\
name: echo
description: Asks one service that does no work.
owner: slmesh
data_classes: [public]
latency_budget_ms: 2000
steps:
  - {name: score, service: echo, timeout_ms: 2000}
answer:
  - signals: true
fallback: There is no answer.
"""
_START_S = 120.0
_ANSWERS = (20, 200)
"""The router is killed after so many answers, chosen anew each time, with more in flight."""
_LOAD_S = 60.0
_SHIP_S = 120.0


async def kill_router(
    settings: Settings,
    *,
    kills: int,
    in_flight: int = 16,
    on_progress: Callable[[str], None] = lambda step: None,
) -> dict[str, Any]:
    """Kill a router and return what was answered and what was recorded.

    Args:
        settings: Settings of the ledger; folder, ports and services are the benchmark's own.
        kills: How often.
        in_flight: Requests in flight.
        on_progress: Is told of every kill.
    """
    answered: list[str] = []
    with tempfile.TemporaryDirectory(prefix="slmesh-bench-") as name:
        folder = Path(name)
        (folder / "flows").mkdir()
        (folder / "flows" / "echo.yaml").write_text(_FLOW, encoding="utf-8")
        own = echo_settings(settings, folder / "state", flow_path=(folder / "flows",))
        async with _service(own):
            for number in range(kills):
                before = len(answered)
                process = await _start(own)
                await _load_and_kill(own, process, in_flight, answered)
                on_progress(f"kill {number + 1} of {kills}: {len(answered) - before} answers")
            process = await _start(own)  # what the killed ones left is shipped by a living one
            recorded = await recorded_decisions(own, ECHO, set(answered), _SHIP_S)
            process.terminate()
            await process.wait()
    return {
        "kills": kills,
        "in_flight": in_flight,
        "answers": len(answered),
        "records": len(recorded),
        "answers_without_a_record": len(set(answered) - recorded),
        "records_without_an_answer": len(recorded - set(answered)),
    }


async def _load_and_kill(
    settings: Settings,
    process: asyncio.subprocess.Process,
    in_flight: int,
    answered: list[str],
) -> None:
    async with Mesh.connect(settings.router_address, settings=settings) as client:

        async def ask() -> None:
            request = route_pb2.RouteRequest(flow="echo", text="Where is my card?")
            while True:
                try:
                    response = await client.route(request, timeout_s=5)
                except MeshError:
                    return
                answered.append(response.decision.decision_id)

        wanted = len(answered) + random.randint(*_ANSWERS)
        end_s = time.monotonic() + _LOAD_S
        asking = [asyncio.create_task(ask()) for _ in range(in_flight)]
        while len(answered) < wanted and time.monotonic() < end_s:
            await asyncio.sleep(0.001)
        process.kill()
        await process.wait()
        await asyncio.gather(*asking)


async def _start(settings: Settings) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "slmesh.router",
        env=child_environment(settings),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    async with asyncio.timeout(_START_S):
        told = await process.stdout.readline()
    if not told:
        raise Unavailable("the router does not start; see `python -m slmesh.router`")
    assert json.loads(told)["event"] == "serving"
    return process


@contextlib.asynccontextmanager
async def _service(settings: Settings) -> AsyncIterator[None]:
    host, rpc = ServiceHost(discover(settings)[ECHO], settings, Metrics(), None), rpcs()["Score"]

    async def answer(payload: bytes, call: Any) -> bytes:
        metadata = call.invocation_metadata() or ()
        return (await host.boundary.unary(rpc, payload, metadata)).SerializeToString()

    await host.start()
    server = grpc.aio.server()
    methods: dict[str, Any] = {rpc.name: grpc.unary_unary_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(rpc.service, methods),))
    server.add_insecure_port(f"{settings.host}:{settings.ingress_port}")
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)
        await host.close()
