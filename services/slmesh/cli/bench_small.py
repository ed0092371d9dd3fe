"""The command that measures small models: tiers, cascade, the wire, and other model servers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from slmesh.cli.output import JsonOption, print_json, print_table, remark
from slmesh.mesh.settings import load_settings

__all__ = ["bench_slm"]


def bench_slm(
    services: Annotated[
        list[str] | None, typer.Argument(help="Classifiers; intent and assistant when left out.")
    ] = None,
    data: Annotated[
        list[Path] | None, typer.Option(help="Labelled files, instead of validation rows.")
    ] = None,
    data_dir: Annotated[
        Path, typer.Option("--data-dir", help="Folder with the data sets that validate models.")
    ] = Path("data"),
    only: Annotated[
        list[str] | None, typer.Option(help="encoder, tiers or grpc; may be given often.")
    ] = None,
    peers: Annotated[
        bool,
        typer.Option(
            "--peers", help="Beside MLServer, LitServe and BentoML, installed if need be."
        ),
    ] = False,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds that count.")] = 5,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of a turn under load.")] = 2.0,
    limit: Annotated[int | None, typer.Option(min=1, help="The most texts of a service.")] = None,
    plots: Annotated[Path | None, typer.Option(help="Folder for the curves as SVG.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Speed of each tier with its accuracy, the cost of gRPC, and other model servers beside ours."""
    from slmesh.bench.slm import PARTS, SERVICES, run
    from slmesh.cli.lifecycle import _require_mesh_extra

    parts = list(only or ([] if peers else PARTS[:3])) + (["peers"] if peers else [])
    if {"grpc", "peers"} & set(parts):
        _require_mesh_extra()
    figures = run(
        load_settings(),
        services=services or SERVICES,
        parts=parts,
        data_dir=data_dir,
        data=data or (),
        limit=limit,
        rounds=rounds,
        seconds=seconds,
        plots=plots,
        on_progress=remark,
    )
    if as_json:
        print_json(figures)
    else:
        _show(figures)


def _show(figures: dict[str, Any]) -> None:
    for name, part in figures.items():
        if name == "peers":
            _show_peers(part)
        elif isinstance(part, dict) and "curve" in part:
            _show_service(name, part)
        elif isinstance(part, dict):
            print_table(f"bench slm: {name}", ("figure", ">"), _flat(part))


def _show_service(name: str, part: dict[str, Any]) -> None:
    tiers = part["tiers"]["tiers"]
    columns = list(dict.fromkeys(key for row in tiers.values() for key in row))
    rows = [(tier, *(_shown(row.get(key, "")) for key in columns)) for tier, row in tiers.items()]
    print_table(f"bench slm: {name}, tiers", ("tier", *(f">{key}" for key in columns)), rows)
    curve = part["curve"]
    keys = list(curve[0])
    points = [[_shown(point[key]) for key in keys] for point in curve]
    print_table(f"bench slm: {name}, linear share", [f">{key}" for key in keys], points)
    rest = {key: value for key, value in part.items() if key not in ("curve", "data")}
    rest["tiers"] = {key: value for key, value in part["tiers"].items() if key != "tiers"}
    print_table(f"bench slm: {name}", ("figure", ">"), _flat(rest))


def _show_peers(part: dict[str, Any]) -> None:
    for tier, found in part.items():
        rows = [
            (
                name,
                level,
                row["per_second"],
                row["p50_ms"],
                row["p99_ms"],
                row.get("texts_per_s", ""),
                row.get("failed", ""),
            )
            for name, by_level in found["rows"].items()
            for level, row in by_level.items()
        ]
        columns = ("server", ">in flight", ">calls/s", ">p50 ms", ">p99 ms", ">texts/s", ">failed")
        print_table(f"bench slm: {tier} tier beside other servers", columns, rows)
        print_table("", ("figure", ">"), _flat(found["ratios"] | {"left out": found["left_out"]}))


def _flat(values: dict[str, Any], before: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{before}{name} ")
        else:
            rows.append((before + name, _shown(value)))
    return rows


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
