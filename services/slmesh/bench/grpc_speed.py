"""What a classifier's answer costs through gRPC: beside an empty echo, and in batches.

One mesh serves the echo and the classifier held to each tier; calls go to its ingress, past the router.
The client runs on the same cores.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
from google.protobuf.message import Message

from slmesh.api.classify.v1.classify_pb2 import BatchClassifyRequest
from slmesh.api.score.v1.score_pb2 import ScoreRequest
from slmesh.bench.chains import ECHO_FOLDER, mesh
from slmesh.bench.levels import Call, measure_levels
from slmesh.bench.load import ECHO
from slmesh.bench.subjects import BenchSubject
from slmesh.bench.tier_services import tier_service, write_tier_services
from slmesh.mesh.context import APPLICATION_KEY
from slmesh.mesh.contract import rpcs
from slmesh.mesh.settings import Settings
from slmesh.mesh.wire import mesh_error

__all__ = ["TARGETS", "batches_of", "grpc_call", "grpc_speed", "tier_mesh"]

TARGETS = {"over_echo_ms": 0.6, "linear_texts_per_s": 4000.0, "cascade_texts_per_s": 1500.0}
"""What the project promises: at most, at least, at least."""

BATCH_ITEMS = 256
"""Texts of one BatchClassify call."""

_BATCHES_IN_FLIGHT = 2  # one is computed while the next one travels
_TIMEOUT_S = 60.0


@contextmanager
def tier_mesh(subject: BenchSubject, settings: Settings, tiers: Sequence[str]) -> Iterator[str]:
    """Run a mesh of the echo and of the classifier held to each tier; yield its ingress' address."""
    with TemporaryDirectory(prefix="slmesh-bench-") as folder:
        names = write_tier_services(subject.manifest, tiers, Path(folder))
        paths = (Path(folder), ECHO_FOLDER, *settings.service_path)
        with mesh(
            settings, services=[ECHO, *names], service_path=paths, with_router=False
        ) as found:
            yield found[1]


def grpc_call(
    channel: grpc.aio.Channel, rpc: str, application: str, requests: Sequence[Message]
) -> Call:
    """Return a call of one RPC; the requests take turns, and are serialised beforehand."""
    method: Any = channel.unary_unary(rpcs()[rpc].path)
    payloads = [request.SerializeToString() for request in requests]
    metadata = ((APPLICATION_KEY, application),)

    async def call(place: int) -> object:
        payload = payloads[place % len(payloads)]
        try:
            answer: object = await method(payload, metadata=metadata, timeout=_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            raise mesh_error(error, application) from None
        return answer

    return call


def batches_of(subject: BenchSubject) -> list[BatchClassifyRequest]:
    """Return the subject's texts as requests of :data:`BATCH_ITEMS` texts."""
    requests = subject.requests()
    while len(requests) < BATCH_ITEMS:
        requests += requests
    count = len(requests) // BATCH_ITEMS * BATCH_ITEMS
    return [
        BatchClassifyRequest(requests=requests[i : i + BATCH_ITEMS])
        for i in range(0, count, BATCH_ITEMS)
    ]


def grpc_speed(
    subject: BenchSubject,
    settings: Settings,
    *,
    rounds: int,
    seconds: float,
    on_progress: Callable[[str], None] = lambda step: None,
) -> dict[str, Any]:
    """Return p50 of the linear tier and of an empty echo, and texts a second in batches.

    Raises:
        MeshError: The mesh does not start.
    """
    on_progress("mesh of the echo and of the tiers")
    with tier_mesh(subject, settings, ("linear", "cascade")) as address:
        return asyncio.run(_measured(subject, address, rounds, seconds, on_progress))


async def _measured(
    subject: BenchSubject,
    address: str,
    rounds: int,
    seconds: float,
    on_progress: Callable[[str], None],
) -> dict[str, Any]:
    names = {tier: tier_service(subject.manifest.name, tier) for tier in ("linear", "cascade")}
    requests, batches = subject.requests(), batches_of(subject)
    async with grpc.aio.insecure_channel(address) as channel:
        echoed = [ScoreRequest(text=text) for text in subject.texts]
        single = {
            "echo": grpc_call(channel, "Score", ECHO, echoed),
            "linear": grpc_call(channel, "Classify", names["linear"], requests),
        }
        ones = await measure_levels(
            single, (1,), rounds=rounds, seconds=seconds, on_progress=on_progress
        )
        many = {
            tier: grpc_call(channel, "BatchClassify", name, batches) for tier, name in names.items()
        }
        batched = await measure_levels(
            many,
            (_BATCHES_IN_FLIGHT,),
            rounds=rounds,
            seconds=max(seconds, 1.0),
            on_progress=on_progress,
        )
    rows = {name: by_level[1] for name, by_level in ones.items()}
    return {
        "unary": rows,
        "over_echo_ms": rows["linear"]["p50_ms"] - rows["echo"]["p50_ms"],
        **{
            f"{tier}_texts_per_s": by_level[_BATCHES_IN_FLIGHT]["per_second"] * BATCH_ITEMS
            for tier, by_level in batched.items()
        },
    }
