"""Commands that try flows out: check their files, run one over many texts, choose its thresholds."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slmesh.api.route.v1 import route_pb2
from slmesh.cli.connection import Connection
from slmesh.cli.output import (
    JsonOption,
    console,
    print_json,
    print_table,
    progress_bar,
    remark,
    stderr,
)
from slmesh.cli.rendering import enum_word, money
from slmesh.library import Mesh
from slmesh.mesh.errors import InvalidArgument, MeshError
from slmesh.mesh.settings import Settings, load_settings

if TYPE_CHECKING:
    from slmesh.router.flow import Flow
    from slmesh.router.tuning import Point

__all__ = ["add_to"]

_SHOWN_POINTS = (0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99)

DataOption = Annotated[list[Path], typer.Option("--data", help="JSON Lines, gzip or not.")]
FlowArgument = Annotated[str, typer.Argument(help="The flow.")]


def add_to(flows: typer.Typer) -> None:
    """Add the commands to the group ``flows``."""
    flows.command("validate")(_validate)
    flows.command("schema")(_schema)
    flows.command("tune")(_tune)
    flows.command("run")(_run)
    flows.command("rollback")(_rollback)


def _validate(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Flow files; all that are found when none.")
    ] = None,
) -> None:
    """Check flows: keys, types, steps, conditions, against the services there are."""
    from slmesh.mesh.catalog import discover
    from slmesh.router.flow_book import load_flow, load_flows
    from slmesh.router.medians import bundle_medians

    settings = load_settings()
    if not files:
        for flow in load_flows(settings).values():
            console.print(f"{flow.name} {flow.revision[7:19]}: right", highlight=False)
        return
    services = discover(settings)
    contracts = {name: manifest.contract for name, manifest in services.items()}
    medians_ms = bundle_medians(services, settings)
    wrong = 0
    for file in files:
        try:
            flow = load_flow(file, contracts, medians_ms)
        except MeshError as error:
            wrong += 1
            stderr.print(error.message, highlight=False, markup=False)
        else:
            console.print(f"{file}: flow {flow.name} {flow.revision[7:19]}", highlight=False)
    if wrong:
        raise typer.Exit(1)


def _schema() -> None:
    """Print the JSON Schema of flow files, for editors."""
    from slmesh.router.flow_schema import flow_schema

    print_json(flow_schema())


def _tune(
    name: FlowArgument,
    data: DataOption,
    split: Annotated[str, typer.Option(help="all or validation, of --data.")] = "validation",
    target_precision: Annotated[
        float | None, typer.Option(min=0, max=1, help="Least share of right answers.")
    ] = None,
    target_cost: Annotated[
        float | None, typer.Option(min=0, help="Most US dollars for 1,000 requests.")
    ] = None,
    bound: Annotated[
        bool, typer.Option(help="Let the 95 % lower bound of the precision reach the target.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="The most texts.")] = None,
    plot: Annotated[Path | None, typer.Option(help="SVG file to draw the curve into.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Choose on validation data how sure the small models of a flow must be."""
    from slmesh.router.flow_book import FlowBook, load_flows
    from slmesh.router.trials import refuse_test_data, run_trials
    from slmesh.router.tuning import chosen, curve, deciding_step

    if (target_precision is None) == (target_cost is None):
        raise InvalidArgument("give --target-precision or --target-cost", reason="USAGE")
    refuse_test_data([file.name for file in data], split)
    settings = load_settings()
    flow = FlowBook(load_flows(settings)).flow(name)
    step = deciding_step(flow)
    rows = _labelled(flow, step, data, split, limit, settings)
    with progress_bar(f"run {name}", len(rows)) as advance:
        trials = asyncio.run(run_trials(flow, rows, settings, advance))
    points = curve(flow, trials)
    best = chosen(
        points,
        precision=target_precision,
        usd_micros=None if target_cost is None else target_cost * 1e3,
        bound=bound,
    )
    if plot is not None:
        _draw(plot, name, points)
    if as_json:
        shown = {"chosen": None if best is None else _figures(best)}
        head = {"flow": name, "revision": flow.revision, "step": step, "n": len(rows)}
        print_json({**head, **shown, "curve": [_figures(point) for point in points]})
        return
    _print_curve(points, best)
    if best is None:
        console.print("no threshold reaches the target", highlight=False)
        raise typer.Exit(1)
    console.print(
        f"in the flow's escalate_when: {{step: {step}, probability_below: {best.threshold:g}}}",
        highlight=False,
    )


def _run(
    name: FlowArgument,
    data: DataOption,
    address: Annotated[str, typer.Option(help="host:port of the router; local when empty.")] = "",
    limit: Annotated[int | None, typer.Option(min=1, help="The most texts.")] = None,
    batch: Annotated[int, typer.Option(min=1, max=512, help="Texts of one call.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Run a flow over the texts of a file, and count which ways they took, and how fast."""
    from slmesh.evaluation.formats import open_file

    texts = []
    for path in data:
        file = open_file(path)
        texts += [row.text(file.format.text) for row in file.rows]
    texts = texts[:limit]
    connection = Connection(address, local=not address, settings=load_settings())
    started_s = time.perf_counter()
    with progress_bar(f"run {name}", len(texts)) as advance:

        async def work(mesh: Mesh, _: Settings) -> list[route_pb2.Decision]:
            decisions: list[route_pb2.Decision] = []
            for start in range(0, len(texts), batch):
                requests = [
                    route_pb2.RouteRequest(flow=name, text=text)
                    for text in texts[start : start + batch]
                ]
                decisions += await _routed(mesh, requests)
                advance(len(requests))
            return decisions

        decisions = connection.run(work)
    _print_paths(name, decisions, len(texts) / (time.perf_counter() - started_s), as_json)


async def _routed(
    mesh: Mesh, requests: Sequence[route_pb2.RouteRequest]
) -> list[route_pb2.Decision]:
    if len(requests) == 1:
        return [(await mesh.route(requests[0], timeout_s=120)).decision]
    response = await mesh.batch_route(route_pb2.BatchRouteRequest(requests=requests), timeout_s=120)
    for result in response.results:
        if result.HasField("error"):
            raise MeshError.from_status(result.error)
    return [result.response.decision for result in response.results]


def _rollback(name: FlowArgument) -> None:
    """Put the version of a flow that the router served before in the place of its file."""
    from slmesh.router.flow_watch import roll_back

    version, file = roll_back(load_settings(), name)
    console.print(
        f"{file} is {version.stem} again; a router that runs serves it within a few seconds",
        highlight=False,
    )


def _print_paths(
    name: str, decisions: Sequence[route_pb2.Decision], texts_per_s: float, as_json: bool
) -> None:
    paths = Counter(enum_word(route_pb2.Path, "PATH_", one.path) for one in decisions)
    reasons = Counter(one.reasons[0].code for one in decisions if one.reasons)
    degraded = sum(bool(one.degradations) for one in decisions)
    spent = sum(one.cost.usd_micros for one in decisions)
    all_llm = sum(one.all_llm_cost.usd_micros for one in decisions)
    if as_json:
        print_json(
            {
                "flow": name,
                "n": len(decisions),
                "texts_per_s": round(texts_per_s, 1),
                "paths": dict(paths),
                "reasons": dict(reasons),
                "degraded": degraded,
                "usd_micros": spent,
                "all_llm_usd_micros": all_llm,
            }
        )
        return
    total = len(decisions)
    print_table(
        f"{name}: {total:,} texts, {texts_per_s:.0f} a second, {degraded:,} degraded,"
        f" {money(spent)} (all LLM: {money(all_llm)})",
        ("path or first reason", ">texts", ">share"),
        [
            (what, f"{count:,}", f"{100 * count / total:.1f} %")
            for what, count in (*paths.most_common(), *reasons.most_common())
        ],
    )


def _labelled(
    flow: Flow, step: str, data: list[Path], split: str, limit: int | None, settings: Settings
) -> list[tuple[str, str]]:
    from slmesh.evaluation import read_cases, subject_of
    from slmesh.mesh.catalog import find_manifest

    subject = subject_of(find_manifest(flow.step(step).service, settings), settings, local=True)
    if subject.contract != "classify":
        raise InvalidArgument(f"step '{step}' does not classify", reason="NOTHING_TO_TUNE")
    cases = read_cases(data, subject, split=split, limit=limit)
    for note in cases.notes:
        remark(note)
    return [(case.requests()[0].text, case.expected.label) for case in cases.cases]  # type: ignore[attr-defined]


def _draw(file: Path, name: str, points: Sequence[Point]) -> None:
    from slmesh.training.plots import curves

    shown = [point for point in points if point.answered]
    drawn = {
        "precision": sorted((point.coverage, point.precision) for point in shown),
        "lower bound": sorted((point.coverage, point.least_precision) for point in shown),
    }
    title = f"{name}: precision over coverage, {points[0].total:,} texts"
    file.write_text(curves(title, "share answered", "right", drawn), encoding="utf-8")


def _figures(point: Point) -> dict[str, float]:
    return {
        "threshold": point.threshold,
        "coverage": round(point.coverage, 6),
        "precision": round(point.precision, 6),
        "least_precision": round(point.least_precision, 6),
        "answered": point.answered,
        "usd_micros": round(point.usd_micros, 3),
    }


def _print_curve(points: Sequence[Point], best: Point | None) -> None:
    print_table(
        f"{points[0].total:,} texts; the lower bound is one-sided, 95 %",
        (">probability", ">answered", ">right", ">lower bound", ">US dollars for 1,000", ""),
        [
            (
                f"{point.threshold:g}",
                f"{100 * point.coverage:.1f} %",
                f"{100 * point.precision:.2f} %",
                f"{100 * point.least_precision:.2f} %",
                f"{point.usd_micros / 1e3:.4f}",
                "chosen" if best is not None and point.threshold == best.threshold else "",
            )
            for point in points
            if point.threshold in _SHOWN_POINTS
            or (best is not None and point.threshold == best.threshold)
        ],
    )
