"""The command that makes services fail, one at a time, and shows what the others do meanwhile."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from slmesh.cli.output import JsonOption, print_json, print_table, remark
from slmesh.mesh.settings import load_settings

__all__ = ["add_to"]

_QUICK_CALLS = 300
_QUICK_SERVICES = ("triage",)
_QUICK_SATURATION_S = 2.0


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("drill")(_drill)


def _drill(
    calls: Annotated[
        int | None,
        typer.Option(
            min=1, help="Direct calls without a fault, and during each fault; 5000, quick 300."
        ),
    ] = None,
    services: Annotated[
        str, typer.Option(help="Services to hit, separated by commas; all, quick triage alone.")
    ] = "",
    faults: Annotated[
        str,
        typer.Option(
            help="kill, hang, crash-loop, hog, slow-down; separated by commas; all when empty."
        ),
    ] = "",
    load: Annotated[
        float, typer.Option(min=0.01, max=1.0, help="Share of the flow's saturation.")
    ] = 0.25,
    quick: Annotated[
        bool, typer.Option("--quick", help="One service and few calls: does it work at all?")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Start a mesh of its own, fail one service at a time, and count what the others do.

    Exits with 1 when a target is missed.
    """
    from slmesh.bench.drill.drill import DrillOptions, run
    from slmesh.cli.lifecycle import _require_mesh_extra

    _require_mesh_extra()
    options = DrillOptions(
        calls=calls or (_QUICK_CALLS if quick else DrillOptions.calls),
        load=load,
        services=_names(services) or (_QUICK_SERVICES if quick else ()),
        faults=_names(faults),
        saturation_s=_QUICK_SATURATION_S if quick else DrillOptions.saturation_s,
    )
    found = run(load_settings(), options, on_progress=remark)
    if as_json:
        print_json(found)
    else:
        _show(found)
    if not all(target["kept"] for target in found["targets"]):
        raise typer.Exit(1)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _show(found: dict[str, Any]) -> None:
    columns = (">calls", ">success", ">p50 ms", ">p99 ms")
    print_table(
        f"without a fault: {found['flow_per_second']} flows/s and {found['direct_per_second']}"
        f" direct calls/s, {found['load']:.0%} of {found['flow_per_second_at_saturation']} flows/s",
        ("called", *columns),
        [(name, *_figures(row)) for name, row in found["undisturbed"].items()],
    )
    print_table(
        "services that were not hit, over all hits of the others",
        ("fault", "service", *columns, ">p99 ratio", "failures"),
        [
            (row["fault"], row["service"], *_figures(row), _shown(row["p99_ratio"]),
             _counts(row["failures"]))
            for row in found["others"]
        ],
    )  # fmt: skip
    print_table(
        "the service that was hit, and the flow meanwhile",
        ("fault", "service", ">back after s", ">flows", ">correct", ">degraded", ">wrong",
         ">errors", ">lost", ">not in ledger", "reasons"),
        [_flow(row, found["recoveries"]) for row in found["flows"]],
    )  # fmt: skip
    print_table(
        f"targets, after {found['took_s']:.0f} s",
        ("target", ">wanted", ">found", ""),
        [
            (row["target"], row["wanted"], _shown(row["found"]), "pass" if row["kept"] else "FAIL")
            for row in found["targets"]
        ],
    )


def _figures(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        str(row["calls"]), f"{row['success']:.2%}", _shown(row["p50_ms"]), _shown(row["p99_ms"]),
    )  # fmt: skip


def _flow(row: dict[str, Any], recoveries: list[dict[str, Any]]) -> tuple[str, ...]:
    back = next(
        (r["recovered_s"] for r in recoveries
         if (r["fault"], r["service"]) == (row["fault"], row["service"])), None
    )  # fmt: skip
    counts = ("requests", "correct", "degraded", "wrong", "errors", "lost", "unrecorded")
    return (
        row["fault"], row["service"], _shown(back), *(str(row[name]) for name in counts),
        _counts(row["reasons"]),
    )  # fmt: skip


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if isinstance(value, float) else str(value)
