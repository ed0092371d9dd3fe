"""What the router costs a request of the flow ``support`` that needs no reasoner.

Against it stands a script that makes the same calls to the same running mesh and decides nothing. The
two take turns, call by call, so that what else the machine does hits both alike; policy and ledger
are on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import grpc

from slmesh.api.route.v1 import route_pb2
from slmesh.bench.chains import mesh
from slmesh.bench.flow_calls import FlowCalls
from slmesh.bench.machine import machine
from slmesh.bench.quantiles import added, median_row, row_of
from slmesh.bench.subjects import bench_subject
from slmesh.mesh.catalog import discover
from slmesh.mesh.contract import rpcs
from slmesh.mesh.errors import FailedPrecondition
from slmesh.mesh.settings import Settings
from slmesh.mesh.wire import mesh_error
from slmesh.router.flow import Flow
from slmesh.router.flow_book import load_flows

__all__ = ["FLOW", "TARGETS", "RouteCall", "run", "small_texts"]

FLOW = "support"
BARE, ROUTER, DECISION = "bare", "router", "decision"

TARGETS = {"added_p50_ms": 1.5, "added_p99_ms": 4.0}
"""What the project promises: at most."""

_TIMEOUT_S = 30.0


class RouteCall:
    """Asks a router for decisions of a flow.

    Args:
        channel: To the router.
        flow: The flow's name.
        timeout_s: The time of a call.
    """

    def __init__(self, channel: grpc.aio.Channel, flow: str, timeout_s: float = _TIMEOUT_S) -> None:
        self._flow = flow
        self._timeout_s = timeout_s
        self._call: Any = channel.unary_unary(
            rpcs()["Route"].path,
            request_serializer=route_pb2.RouteRequest.SerializeToString,
            response_deserializer=route_pb2.RouteResponse.FromString,
        )

    async def decision(self, text: str) -> route_pb2.Decision:
        """Return the decision about a text.

        Raises:
            MeshError: There is none.
        """
        request = route_pb2.RouteRequest(flow=self._flow, text=text)
        try:
            response: route_pb2.RouteResponse = await self._call(request, timeout=self._timeout_s)
        except grpc.aio.AioRpcError as error:
            raise mesh_error(error, "router") from None
        return response.decision


def run(
    settings: Settings,
    *,
    data_dir: Path = Path("data"),
    data: Sequence[Path] = (),
    texts: int = 60,
    rounds: int = 7,
    calls: int = 300,
    on_progress: Callable[[str], None] = lambda step: None,
) -> dict[str, Any]:
    """Measure both and return the figures.

    Args:
        settings: Settings of the mesh; folder and ports are the benchmark's own.
        data_dir: The folder of the data sets; validation texts of a bank's customers are asked.
        data: Labelled files to ask instead, all of their rows.
        texts: The most texts that are asked.
        rounds: Rounds that count.
        calls: Calls of each side in a round.
        on_progress: Is told every step.

    Raises:
        MeshError: There are no texts, or the mesh does not start.
    """
    asked = bench_subject("intent", settings, data_dir, data, limit=4 * texts).texts_in_scope
    services = discover(settings)
    flow = load_flows(settings, services)[FLOW]
    contracts = {name: manifest.contract for name, manifest in services.items()}
    names = [step.service for step in flow.steps]
    on_progress(f"mesh of {', '.join(names)}")
    with mesh(settings, services=names, service_path=settings.service_path) as (router, ingress):
        return asyncio.run(
            _measured(flow, contracts, router, ingress, asked, texts, rounds, calls, on_progress)
        )


async def small_texts(call: RouteCall, texts: Sequence[str], limit: int) -> list[str]:
    """Return texts that the small models answer and nothing is missing from the answer.

    Args:
        call: Asks the router.
        texts: What to ask; each once more when its first answer was degraded, as of a cold service.
        limit: The most texts.
    """
    found: list[str] = []
    for text in texts:
        for _ in range(2):
            decision = await call.decision(text)
            if not decision.degradations:
                break
        if decision.path == route_pb2.PATH_SMALL and not decision.degradations:
            found.append(text)
        if len(found) == limit:
            break
    return found


async def _measured(
    flow: Flow,
    contracts: dict[str, str],
    router: str,
    ingress: str,
    asked: Sequence[str],
    limit: int,
    rounds: int,
    calls: int,
    on_progress: Callable[[str], None],
) -> dict[str, Any]:
    async with (
        grpc.aio.insecure_channel(router) as to_router,
        grpc.aio.insecure_channel(ingress) as to_ingress,
    ):
        routed, script = RouteCall(to_router, flow.name), FlowCalls(flow, contracts, to_ingress)
        on_progress("texts that are not escalated")
        texts = await small_texts(routed, asked, limit)
        if not texts:
            raise FailedPrecondition("every text is escalated: name others", reason="NO_TEXTS")
        requests = [script.requests(text) for text in texts]
        inside_ms: list[float] = []

        async def route(place: int) -> None:
            decision = await routed.decision(texts[place % len(texts)])
            inside_ms.append(decision.latency.ToNanoseconds() / 1e6)

        async def bare(place: int) -> None:
            await script.run(requests[place % len(requests)])

        rows: dict[str, list[dict[str, float]]] = {BARE: [], ROUTER: [], DECISION: []}
        for turn in range(rounds + 1):
            on_progress(f"round {turn} of {rounds}: {calls} calls a side")
            inside_ms.clear()
            times = await _in_turns({BARE: bare, ROUTER: route}, calls)
            if turn:  # the first round warms up
                for side, times_ms in (*times.items(), (DECISION, inside_ms)):
                    rows[side].append(row_of(times_ms))
    more = added(rows[ROUTER], rows[BARE])
    return {
        "machine": machine(),
        "texts": len(texts),
        "rounds": rounds,
        "calls": calls,
        "sides": {side: median_row(found) for side, found in rows.items()},
        "added_p50_ms": more["p50_ms"],
        "added_p99_ms": more["p99_ms"],
        "targets": TARGETS,
    }


async def _in_turns(
    sides: dict[str, Callable[[int], Awaitable[None]]], calls: int
) -> dict[str, list[float]]:
    """Return each side's milliseconds; who goes first changes with every call."""
    times_ms: dict[str, list[float]] = {side: [] for side in sides}
    order = list(sides)
    for place in range(calls):
        order.reverse()
        for side in order:
            started = time.perf_counter()
            await sides[side](place)
            times_ms[side].append((time.perf_counter() - started) * 1e3)
    return times_ms
