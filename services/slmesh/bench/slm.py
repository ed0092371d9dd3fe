"""What a small model's tiers are worth: speed and accuracy of each, cost of the wire, other servers.

Every ratio is of one run, of sides that took turns, each on one thread. Parts that start a mesh are
left out where Ray is not installed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from slmesh.bench import encoder_speed, grpc_speed, side_by_side, tier_speed
from slmesh.bench.machine import machine
from slmesh.bench.share_plot import share_plot
from slmesh.bench.subjects import BenchSubject, bench_subject
from slmesh.mesh.errors import InvalidArgument
from slmesh.mesh.naming import suggestion
from slmesh.mesh.settings import Settings

__all__ = ["PARTS", "SERVICES", "TARGETS", "run"]

PARTS = ("encoder", "tiers", "grpc", "peers")
"""The encoder alone; the tiers in one process; through gRPC; beside other servers."""

SERVICES = ("intent", "assistant")
TARGETS = {
    "encoder": encoder_speed.TARGETS,
    "tiers": tier_speed.TARGETS,
    "grpc": grpc_speed.TARGETS,
    "peers": side_by_side.TARGETS,
}
"""What the project promises; each module says which way."""


def run(
    settings: Settings,
    *,
    services: Sequence[str] = SERVICES,
    parts: Sequence[str] = PARTS[:3],
    data_dir: Path = Path("data"),
    data: Sequence[Path] = (),
    limit: int | None = None,
    rounds: int = 5,
    seconds: float = 2.0,
    plots: Path | None = None,
    on_progress: Callable[[str], None] = lambda step: None,
) -> dict[str, Any]:
    """Measure and return the figures.

    Args:
        settings: Where services, models and the cache are.
        services: Classifiers with two tiers; the first one is measured through gRPC and beside peers.
        parts: Of :data:`PARTS`.
        data_dir: The folder of the data sets; validation rows are asked.
        data: Labelled files to ask instead, all of their rows.
        limit: The most texts of a service, evenly spread.
        rounds: Rounds that count.
        seconds: Length of a turn under load.
        plots: A folder for the curves as SVG files; None for no plots.
        on_progress: Is told every step.

    Raises:
        MeshError: A part is unknown, texts or a compiled encoder are missing, or a mesh does not start.
    """
    for part in parts:
        if part not in PARTS:
            raise InvalidArgument(f"no part '{part}'{suggestion(part, PARTS)}", reason="USAGE")
    found: dict[str, Any] = {"machine": machine(), "rounds": rounds, "seconds": seconds}
    if "encoder" in parts:
        on_progress("encoder")
        found["encoder"] = encoder_speed.encoder_speed(settings, rounds)
    subjects = [bench_subject(name, settings, data_dir, data, limit) for name in services]
    for subject in subjects if {"tiers", "encoder"} & set(parts) else ():
        name = subject.manifest.name
        on_progress(f"{name}: {len(subject.texts)} texts")
        found[name] = _of_service(subject, settings, parts, rounds)
        if "tiers" in parts and plots is not None:
            _plot(name, found[name], plots)
    if "grpc" in parts:
        found["grpc"] = grpc_speed.grpc_speed(
            subjects[0], settings, rounds=rounds, seconds=seconds, on_progress=on_progress
        )
    if "peers" in parts:
        found["peers"] = side_by_side.side_by_side(
            subjects[0], settings, rounds=rounds, seconds=seconds, on_progress=on_progress
        )
    return {**found, "targets": {part: TARGETS[part] for part in parts}}


def _of_service(
    subject: BenchSubject, settings: Settings, parts: Sequence[str], rounds: int
) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "model": f"{subject.bundle.name} {subject.bundle.version}",
        "data": list(subject.source),
    }
    if "encoder" in parts:
        figures["int8"] = encoder_speed.int8_loss(subject, settings)
    if "tiers" in parts:
        figures["linear"] = tier_speed.linear_latency(subject, rounds)
        figures["tiers"] = tier_speed.tier_figures(subject, settings, rounds)
        figures["curve"] = tier_speed.share_curve(subject, settings)
    return figures


def _plot(name: str, figures: dict[str, Any], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shipped = figures["tiers"]["tiers"]["cascade"]["linear_share"]
    title = f"{figures['model']}: {figures['tiers']['texts']:,} texts"
    drawing = share_plot(title, figures["curve"], shipped)
    (folder / f"{name}-linear-share.svg").write_text(drawing, encoding="utf-8")
