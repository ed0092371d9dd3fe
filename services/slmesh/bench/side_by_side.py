"""The mesh beside other model servers: same model files, same predict function, same threads, in turns.

Ours is called at its ingress over gRPC, one text a call and in batches; the others as they are made to
be called. Every row is kept, the ones that lose too.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc

from slmesh.api.classify.v1.classify_pb2 import ClassifyResponse
from slmesh.bench.grpc_speed import BATCH_ITEMS, batches_of, grpc_call, tier_mesh
from slmesh.bench.levels import Call, measure_levels
from slmesh.bench.peers.serving import VARIANTS, Running, Variant, calls, peer_server
from slmesh.bench.subjects import BenchSubject
from slmesh.bench.tier_services import tier_service
from slmesh.mesh.errors import FailedPrecondition, MeshError
from slmesh.mesh.settings import Settings

__all__ = ["LEVELS", "OURS", "OURS_BATCHED", "TARGETS", "TIERS", "ratios", "side_by_side"]

TIERS = ("linear", "encoder")
LEVELS = (1, 8, 32)
"""Calls in flight."""

OURS, OURS_BATCHED = "slmesh, grpc", "slmesh BatchClassify, grpc"
TARGETS = {"linear": 1.2, "linear_batched": 5.0, "encoder": 1.0}
"""What the project promises: requests (texts) a second, at least so many times the best peer's."""

_BATCHES_IN_FLIGHT = (2,)
_COMPARED_TEXTS = 5


def side_by_side(
    subject: BenchSubject,
    settings: Settings,
    *,
    rounds: int,
    seconds: float,
    tiers: Sequence[str] = TIERS,
    variants: Sequence[Variant] = VARIANTS,
    on_progress: Callable[[str], None] = lambda step: None,
) -> dict[str, Any]:
    """Return for each tier a row for each side: requests a second and latency by calls in flight.

    Args:
        subject: The classifier and its texts.
        settings: Where models and environments are.
        rounds: Rounds that count.
        seconds: Length of one side's turn at one level.
        tiers: Of :data:`TIERS`.
        variants: The peers to start; one that cannot be installed is named under ``left_out``.
        on_progress: Is told every step.
    """
    found: dict[str, Any] = {}
    for tier in tiers:
        left_out: dict[str, str] = {}
        with contextlib.ExitStack() as stack:
            on_progress(f"{tier}: starting")
            address = stack.enter_context(tier_mesh(subject, settings, (tier,)))
            running: list[Running] = []
            for variant in variants:
                try:
                    server = peer_server(variant, subject, tier, settings, on_progress)
                    running.append(stack.enter_context(server))
                except MeshError as error:
                    left_out[variant.name] = error.message
            measured = asyncio.run(
                _measured(subject, tier, address, running, left_out, rounds, seconds, on_progress)
            )
        found[tier] = {"rows": measured, "ratios": ratios(measured), "left_out": left_out}
    return found


def ratios(rows: Mapping[str, Mapping[int, Mapping[str, float]]]) -> dict[str, Any]:
    """Return our requests a second to the best peer's at each level, and our batched texts to it.

    Both name the best peer. Latency is compared too, as the least p50 of a peer to ours.
    """
    peers = {name: row for name, row in rows.items() if name not in (OURS, OURS_BATCHED)}
    if not peers:
        return {}
    found: dict[str, Any] = {}
    for level in rows[OURS]:
        name, best = max(
            ((name, row[level]["per_second"]) for name, row in peers.items()), key=lambda x: x[1]
        )
        p50_ms = min(row[level]["p50_ms"] for row in peers.values())
        found[f"in_flight_{level}"] = {
            "times_the_best": rows[OURS][level]["per_second"] / best,
            "best": name,
            "p50_to_the_least": rows[OURS][level]["p50_ms"] / p50_ms,
        }
    best = max(row[level]["per_second"] for row in peers.values() for level in row)
    (batched,) = rows[OURS_BATCHED].values()
    ours = max(row["per_second"] for row in rows[OURS].values())
    found["unary"] = ours / best
    found["batched_texts"] = batched["texts_per_s"] / best
    return found


async def _measured(
    subject: BenchSubject,
    tier: str,
    address: str,
    running: Sequence[Running],
    left_out: dict[str, str],
    rounds: int,
    seconds: float,
    on_progress: Callable[[str], None],
) -> dict[str, Any]:
    service = tier_service(subject.manifest.name, tier)
    async with contextlib.AsyncExitStack() as stack:
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(address))
        sides: dict[str, Call] = {OURS: grpc_call(channel, "Classify", service, subject.requests())}
        for server in running:
            on_progress(f"waiting for {server.variant.name}")
            try:
                sides |= await stack.enter_async_context(calls(server, subject.texts))
            except MeshError as error:
                left_out[server.variant.name] = error.message
        await _require_same_answers(sides)
        rows: dict[str, Any] = await measure_levels(
            sides, LEVELS, rounds=rounds, seconds=seconds, on_progress=on_progress
        )
        batched = await measure_levels(
            {OURS_BATCHED: grpc_call(channel, "BatchClassify", service, batches_of(subject))},
            _BATCHES_IN_FLIGHT,
            rounds=rounds,
            seconds=max(seconds, 1.0),
            on_progress=on_progress,
        )
    for row in batched[OURS_BATCHED].values():
        row["texts_per_s"] = row["per_second"] * BATCH_ITEMS
    return rows | batched


async def _require_same_answers(sides: Mapping[str, Call]) -> None:
    """Refuse to compare servers that do not answer the same.

    Raises:
        FailedPrecondition: The label that ours names first is not in the answer of another.
    """
    for place in range(_COMPARED_TEXTS):
        payload: Any = await sides[OURS](place)
        answer = ClassifyResponse.FromString(payload)
        label = (answer.labels.labels or answer.nearest)[0].name
        for name, call in sides.items():
            found: Any = await call(place)
            if label.encode() not in found:
                raise FailedPrecondition(
                    f"{name} answers {found[:200]!r} where ours has '{label}'",
                    reason="PEER_DISAGREES",
                )
