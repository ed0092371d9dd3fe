"""The router with its reasoner beside LiteLLM's proxy: what each puts between a client and an LLM.

Behind both is the same local server with a fixed time for an answer. A client asks it directly, through
LiteLLM, through the router and the reasoner (decisions are recorded), and through the reasoner alone,
in turns in one run; what a way adds is its time less the direct one's. All answer in one piece, as a
router asks for whose client does not watch.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import grpc

from slmesh.api.reason.v1 import reason_pb2
from slmesh.bench.chains import child, mesh
from slmesh.bench.chat_server import MODEL
from slmesh.bench.levels import Call, measure_levels
from slmesh.bench.machine import machine
from slmesh.bench.peers.litellm import KEY, litellm_proxy, workers
from slmesh.bench.router_cost import RouteCall
from slmesh.mesh.context import APPLICATION_KEY
from slmesh.mesh.contract import rpcs
from slmesh.mesh.errors import Internal, Unavailable
from slmesh.mesh.settings import Settings
from slmesh.mesh.wire import mesh_error

__all__ = ["DIRECT", "LEVELS", "LITELLM", "REASONER", "ROUTER", "TARGETS", "compared", "run"]

DIRECT, LITELLM, ROUTER, REASONER = "direct", "litellm", "router", "reasoner"
LEVELS = (1, 32)
"""Calls in flight: latencies are of the first, throughput is of the second."""

TARGETS = {
    "added_p50_to_litellm": 1.0,
    "added_p99_to_litellm": 1.0,
    "router_share_of_litellm": 0.25,
    "throughput_to_litellm": 1.5,
}
"""What the project promises: at most, at most, at most, at least."""

_FLOW = """\
name: reasoner-only
description: Every request goes to the reasoner.
owner: slmesh
data_classes: [public]
latency_budget_ms: 30000
response_cache: none
steps: []
reasoner:
  service: reasoner
  instruction: {instruction}
  timeout_ms: 30000
  on_failure: fail
fallback: There is no answer.
"""
_INSTRUCTION = "You are the support assistant of a bank. Answer in one sentence."
_TEXT = "How do I change the PIN of my card?"
_TIMEOUT_S = 60.0


def run(
    settings: Settings,
    *,
    latency_ms: float = 20.0,
    rounds: int = 7,
    seconds: float = 2.0,
    on_progress: Callable[[str], None] = lambda step: None,
) -> dict[str, Any]:
    """Measure and return the figures.

    Args:
        settings: Settings of the mesh; folder, ports and flows are the benchmark's own.
        latency_ms: The time the server behind all takes for an answer.
        rounds: Rounds that count.
        seconds: Length of one side's turn at one level.
        on_progress: Is told every step.

    Raises:
        MeshError: LiteLLM cannot be installed here, or something does not start.
    """
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="slmesh-flows-"))
        flow = _FLOW.format(instruction=json.dumps(_INSTRUCTION))
        (Path(folder) / "reasoner-only.yaml").write_text(flow, encoding="utf-8")
        server = stack.enter_context(child(["slmesh.bench.chat_server", str(latency_ms)]))
        base_url = f"http://{server['address']}/v1"
        proxy = stack.enter_context(litellm_proxy(settings, MODEL, base_url, on_progress))
        on_progress("mesh of the reasoner")
        router, ingress = stack.enter_context(
            mesh(
                settings,
                services=("reasoner",),
                service_path=settings.service_path,
                flow_path=(Path(folder),),
                reasoner_engine="openai",
                reasoner_base_url=base_url,
                reasoner_model=MODEL,
            )
        )
        rows = asyncio.run(
            _measured(base_url, proxy, router, ingress, rounds, seconds, on_progress)
        )
    return {
        "machine": machine(),
        "latency_ms": latency_ms,
        "rounds": rounds,
        "processes": {LITELLM: f"{workers()} workers", ROUTER: "1 router, 1 reasoner, Ray Serve"},
        "sides": rows,
        **compared(rows),
        "targets": TARGETS,
    }


def compared(rows: Mapping[str, Mapping[int, Mapping[str, float]]]) -> dict[str, Any]:
    """Return what each side adds to the direct way, and ours to LiteLLM's.

    The router's share is what it adds to the reasoner alone.

    Args:
        rows: By side and by calls in flight: ``p50_ms``, ``p99_ms`` and ``per_second``.
    """
    one, many = min(rows[DIRECT]), max(rows[DIRECT])
    added = {
        side: {
            name: round(rows[side][one][name] - rows[DIRECT][one][name], 3)
            for name in ("p50_ms", "p99_ms")
        }
        for side in (LITELLM, ROUTER, REASONER)
    }
    share_ms = rows[ROUTER][one]["p50_ms"] - rows[REASONER][one]["p50_ms"]
    return {
        "added": added,
        "router_share_ms": round(share_ms, 3),
        "added_p50_to_litellm": round(added[ROUTER]["p50_ms"] / added[LITELLM]["p50_ms"], 3),
        "added_p99_to_litellm": round(added[ROUTER]["p99_ms"] / added[LITELLM]["p99_ms"], 3),
        "router_share_of_litellm": round(share_ms / added[LITELLM]["p50_ms"], 3),
        "throughput_to_litellm": round(
            rows[ROUTER][many]["per_second"] / rows[LITELLM][many]["per_second"], 2
        ),
    }


async def _measured(
    base_url: str,
    proxy: str,
    router: str,
    ingress: str,
    rounds: int,
    seconds: float,
    on_progress: Callable[[str], None],
) -> dict[str, dict[int, dict[str, float]]]:
    async with contextlib.AsyncExitStack() as stack:
        to_router = await stack.enter_async_context(grpc.aio.insecure_channel(router))
        to_ingress = await stack.enter_async_context(grpc.aio.insecure_channel(ingress))
        routed = RouteCall(to_router, "reasoner-only", _TIMEOUT_S)

        async def route(_: int) -> None:
            decision = await routed.decision(_TEXT)
            if not decision.answer.HasField("provenance"):
                raise Unavailable("the reasoner has not answered")

        sides: dict[str, Call] = {
            DIRECT: await stack.enter_async_context(_chat(base_url)),
            LITELLM: await stack.enter_async_context(_chat(proxy)),
            ROUTER: route,
            REASONER: _reason(to_ingress),
        }
        return await measure_levels(
            sides, LEVELS, rounds=rounds, seconds=seconds, on_progress=on_progress
        )


@contextlib.asynccontextmanager
async def _chat(base_url: str) -> AsyncIterator[Call]:
    body = {
        "model": MODEL,
        "messages": [
            {"role": "system", "content": _INSTRUCTION},
            {"role": "user", "content": _TEXT},
        ],
    }
    payload, url = json.dumps(body).encode(), f"{base_url}/chat/completions"
    headers = {"content-type": "application/json", "authorization": f"Bearer {KEY}"}
    # servers close idle connections after 5 s, and others have their turn for longer than that
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=2)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def call(_: int) -> None:
            try:
                async with session.post(url, data=payload, headers=headers) as response:
                    answer = json.loads(await response.read())
            except (aiohttp.ClientError, ValueError) as error:
                raise Unavailable(f"{base_url} does not answer: {error}") from None
            if response.status != 200 or not answer["choices"][0]["message"]["content"]:
                raise Unavailable(f"{base_url} answers {response.status}: {answer}")

        yield call


def _reason(channel: grpc.aio.Channel) -> Call:
    method: Any = channel.unary_stream(
        rpcs()["Reason"].path,
        request_serializer=reason_pb2.ReasonRequest.SerializeToString,
        response_deserializer=reason_pb2.ReasonResponse.FromString,
    )
    request = reason_pb2.ReasonRequest(instruction=_INSTRUCTION, text=_TEXT, whole_answer=True)
    metadata = ((APPLICATION_KEY, "reasoner"),)

    async def call(_: int) -> None:
        completed = False
        try:
            async for event in method(request, metadata=metadata, timeout=_TIMEOUT_S):
                completed = completed or event.HasField("completion")
        except grpc.aio.AioRpcError as error:
            raise mesh_error(error, "reasoner") from None
        if not completed:
            raise Internal("the reasoner's stream ended early")

    return call
