"""What a hop through the mesh costs, against the floor below it and the usual way to build it.

Every chain has two hops: something that routes, something that answers. All run at the same time and
are measured in turns; only ratios within one run mean anything.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from slmesh.bench.chains import bare_chain, mesh, serve_chain
from slmesh.bench.load import Target, measure
from slmesh.bench.machine import machine
from slmesh.mesh.settings import Settings

__all__ = ["TARGETS", "ratios", "run"]

BARE, MESH, MESH_OFF, SERVE = "bare", "mesh", "mesh_instruments_off", "serve_default"
INGRESS, FALLBACK = "ingress_one_hop", "ingress_one_hop_without_haproxy"

TARGETS = {"p50_to_bare_off": 1.6, "p50_to_bare_shipped": 2.0, "throughput_to_serve": 3.0}
"""What the project promises: at most, at most, and at least."""


def run(
    settings: Settings,
    *,
    rounds: int = 7,
    calls: int = 200,
    seconds: float = 1.5,
    in_flight: int = 16,
    on_progress: Callable[[str], None] = lambda step: None,
) -> dict[str, Any]:
    """Measure every chain and return the figures.

    Args:
        settings: Settings of the meshes; folder, ports and services are the benchmark's own.
        rounds: Rounds that count.
        calls: Calls of a round with one in flight.
        seconds: Length of a round with many in flight.
        in_flight: How many are in flight then.
        on_progress: Is told every step.
    """
    with contextlib.ExitStack() as running:
        targets: list[Target] = []
        on_progress("bare servers")
        targets.append(running.enter_context(bare_chain(BARE)))
        on_progress("mesh, as shipped")
        router, ingress = running.enter_context(mesh(settings))
        targets += [Target(MESH, router), Target(INGRESS, ingress)]
        on_progress("mesh, without metrics and logs")
        router, _ = running.enter_context(mesh(settings, boundary_instruments=False))
        targets.append(Target(MESH_OFF, router))
        on_progress("mesh, without HAProxy")
        _, ingress = running.enter_context(mesh(settings, with_haproxy=False))
        targets.append(Target(FALLBACK, ingress))
        on_progress("Serve with its defaults")
        targets.append(running.enter_context(serve_chain(SERVE)))
        on_progress(f"{rounds} rounds of {len(targets)} chains")
        measured = asyncio.run(
            measure(targets, rounds=rounds, calls=calls, seconds=seconds, in_flight=in_flight)
        )
    chains = {name: result.medians() for name, result in measured.items()}
    return {
        "machine": machine(),
        "rounds": rounds,
        "in_flight": in_flight,
        "chains": chains,
        "ratios": ratios(chains),
        "targets": TARGETS,
    }


def ratios(chains: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return the ratios that the project promises, and what HAProxy is worth."""

    def ratio(value: str, one: str, other: str) -> float:
        return round(chains[one][value] / chains[other][value], 2)

    return {
        "p50_to_bare_off": ratio("p50_ms", MESH_OFF, BARE),
        "p50_to_bare_shipped": ratio("p50_ms", MESH, BARE),
        "throughput_to_serve": ratio("per_second", MESH, SERVE),
        "throughput_to_bare": ratio("per_second", MESH, BARE),
        "p50_without_haproxy": ratio("p50_ms", FALLBACK, INGRESS),
        "throughput_without_haproxy": ratio("per_second", FALLBACK, INGRESS),
    }
