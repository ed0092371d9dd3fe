"""What a hop through the mesh costs, against the floor below it and the usual way to build it.

Every chain has two hops: something that routes, something that answers. All run at the same time and
are measured in turns; only ratios within one run mean anything.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from slmesh.bench.chains import bare_chain, mesh, serve_chain
from slmesh.bench.load import Target, measure
from slmesh.bench.machine import machine
from slmesh.mesh.settings import Settings

__all__ = ["TARGETS", "run"]

BARE, MESH, MESH_OFF, SERVE = "bare", "mesh", "mesh_instruments_off", "serve_default"
INGRESS = "ingress_one_hop"

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
        target, shipped = running.enter_context(mesh(MESH, settings))
        targets += [target, Target(INGRESS, _ingress(shipped.settings))]
        on_progress("mesh, without metrics and logs")
        off = running.enter_context(mesh(MESH_OFF, settings, boundary_instruments=False))
        targets.append(off[0])
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
        "ratios": _ratios(chains),
        "targets": TARGETS,
    }


def _ingress(settings: Settings) -> str:
    return f"{settings.host}:{settings.ingress_port}"


def _ratios(chains: dict[str, dict[str, float]]) -> dict[str, float]:
    def ratio(value: str, one: str, other: str) -> float:
        return round(chains[one][value] / chains[other][value], 2)

    return {
        "p50_to_bare_off": ratio("p50_ms", MESH_OFF, BARE),
        "p50_to_bare_shipped": ratio("p50_ms", MESH, BARE),
        "throughput_to_serve": ratio("per_second", MESH, SERVE),
        "throughput_to_bare": ratio("per_second", MESH, BARE),
    }
