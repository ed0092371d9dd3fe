"""Whether answers come within a declared latency budget, on a mesh at 70 % of what it can do.

The flow is ``support`` without its reasoner, under a budget of 150 ms that its callers set as their
deadline too. What the mesh can do is measured first, in the same run, on the same flow with time to
spare; then calls come when they are due, whatever became of those before them.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import yaml

from slmesh.api.route.v1 import route_pb2
from slmesh.bench.chains import mesh
from slmesh.bench.levels import measure_levels
from slmesh.bench.machine import machine
from slmesh.bench.open_load import send_at
from slmesh.bench.quantiles import quantile
from slmesh.bench.router_cost import FLOW, RouteCall, small_texts
from slmesh.bench.subjects import bench_subject
from slmesh.mesh.errors import MeshError
from slmesh.mesh.settings import Settings
from slmesh.router.flow_book import flow_source

__all__ = ["BUDGET_MS", "TARGETS", "Outcome", "figures", "run"]

BUDGET_MS = 150
SHARE_OF_SATURATION = 0.7
TARGETS = {"in_time": 0.999, "undegraded": 0.95}
"""What the project promises: shares, at least."""

_IN_TIME, _UNHURRIED = "support-in-time", "support-unhurried"
_IN_FLIGHT = 16
"""As many keep two cores busy, and wait for each other for less than the budget."""


@dataclass(frozen=True)
class Outcome:
    """What became of one call.

    Attributes:
        elapsed_ms: From the moment it was due until its end.
        answered: Whether it was answered at all.
        small: Whether the small models can answer its text.
        whole: Whether they did, and nothing is missing from the answer.
        codes: What is missing from the answer, or the error's reason.
    """

    elapsed_ms: float
    answered: bool
    small: bool
    whole: bool
    codes: tuple[str, ...]


def run(
    settings: Settings,
    *,
    data_dir: Path = Path("data"),
    data: Sequence[Path] = (),
    texts: int = 150,
    seconds: float = 60.0,
    on_progress: Callable[[str], None] = lambda step: None,
) -> dict[str, Any]:
    """Measure and return the figures.

    Args:
        settings: Settings of the mesh; folder, ports and flows are the benchmark's own.
        data_dir: The folder of the data sets; validation texts of a bank's customers are asked.
        data: Labelled files to ask instead, all of their rows.
        texts: The most texts, evenly spread.
        seconds: How long calls come.
        on_progress: Is told every step.

    Raises:
        MeshError: There are no texts, or the mesh does not start.
    """
    asked = bench_subject("intent", settings, data_dir, data, limit=texts).texts_in_scope
    shipped = yaml.safe_load(flow_source(FLOW, settings))
    names = [step["service"] for step in shipped["steps"]]
    with tempfile.TemporaryDirectory(prefix="slmesh-flows-") as folder:
        for name, budget_ms in ((_IN_TIME, BUDGET_MS), (_UNHURRIED, shipped["latency_budget_ms"])):
            text = yaml.safe_dump(within(shipped, name, budget_ms), sort_keys=False)
            (Path(folder) / f"{name}.yaml").write_text(text, encoding="utf-8")
        on_progress(f"mesh of {', '.join(names)}")
        with mesh(
            settings,
            services=names,
            service_path=settings.service_path,
            flow_path=(Path(folder),),
        ) as (router, _):
            return asyncio.run(_measured(router, asked, seconds, on_progress))


def within(shipped: Mapping[str, Any], name: str, budget_ms: int) -> dict[str, Any]:
    """Return the declaration of a flow under another name and budget, and without its reasoner."""
    steps = [
        {**step, "timeout_ms": min(step.get("timeout_ms", budget_ms), budget_ms)}
        for step in shipped["steps"]
    ]
    kept = {key: value for key, value in shipped.items() if key != "reasoner"}
    return kept | {"name": name, "latency_budget_ms": budget_ms, "steps": steps}


def figures(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return shares, latencies and what was missing how often.

    Args:
        outcomes: At least one.
    """
    in_time = [one.answered and one.elapsed_ms <= BUDGET_MS for one in outcomes]
    small = [one for one in outcomes if one.small]
    missing: dict[str, int] = {}
    for one in outcomes:
        for code in one.codes:
            missing[code] = missing.get(code, 0) + 1
    times_ms = [one.elapsed_ms for one in outcomes]
    return {
        "calls": len(outcomes),
        "in_time": round(statistics.fmean(in_time), 5),
        "late_or_failed": len(outcomes) - sum(in_time),
        "need_no_escalation": len(small),
        "undegraded": round(statistics.fmean(one.whole for one in small), 4) if small else None,
        "p50_ms": round(quantile(times_ms, 0.5), 1),
        "p99_ms": round(quantile(times_ms, 0.99), 1),
        "p999_ms": round(quantile(times_ms, 0.999), 1),
        "missing": dict(sorted(missing.items(), key=lambda item: -item[1])),
    }


async def _measured(
    router: str, texts: Sequence[str], seconds: float, on_progress: Callable[[str], None]
) -> dict[str, Any]:
    async with grpc.aio.insecure_channel(router) as channel:
        unhurried = RouteCall(channel, _UNHURRIED)
        on_progress(f"{len(texts)} texts, one after the other")
        small = frozenset(await small_texts(unhurried, texts, len(texts)))

        async def ask(place: int) -> None:
            await unhurried.decision(texts[place % len(texts)])

        measured = await measure_levels(
            {FLOW: ask}, (_IN_FLIGHT,), rounds=3, seconds=3.0, on_progress=on_progress
        )
        saturation = measured[FLOW][_IN_FLIGHT]["per_second"]
        rate = SHARE_OF_SATURATION * saturation
        hurried = RouteCall(channel, _IN_TIME, timeout_s=BUDGET_MS / 1e3)

        async def route(place: int) -> tuple[str, route_pb2.Decision | MeshError]:
            text = texts[place % len(texts)]
            try:
                return text, await hurried.decision(text)
            except MeshError as error:
                return text, error

        on_progress(f"{rate:.0f} calls a second for {seconds:g} s")
        await send_at(rate, min(seconds, 5.0), route, seed=0)  # latencies are learnt
        sent = await send_at(rate, seconds, route)
    outcomes = [_outcome(text in small, answer, ms) for (text, answer), ms in sent]
    return {
        "machine": machine(),
        "budget_ms": BUDGET_MS,
        "saturation_per_s": round(saturation, 1),
        "rate_per_s": round(rate, 1),
        **figures(outcomes),
        "targets": TARGETS,
    }


def _outcome(small: bool, answer: route_pb2.Decision | MeshError, elapsed_ms: float) -> Outcome:
    if isinstance(answer, MeshError):
        return Outcome(elapsed_ms, False, small, False, (answer.reason,))
    codes = tuple(f"{one.step} {one.code}".strip() for one in answer.degradations)
    whole = answer.path == route_pb2.PATH_SMALL and not codes
    # the fallback says that there is no answer: it is no shortfall of a text nobody can answer
    return Outcome(elapsed_ms, True, small, whole, codes)
