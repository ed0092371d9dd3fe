"""Commands around escalation: how many LLM calls a classifier saves, how well difficulty is told."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slmesh.cli.answered_traffic import answered_traffic
from slmesh.cli.output import JsonOption, print_json, print_table, remark
from slmesh.mesh.settings import load_settings

if TYPE_CHECKING:
    from slmesh.budgets.simulation import Traffic

__all__ = ["add_to"]

_MOST_WRONG = 0.1
"""Where the axis of wrong answers ends."""

_DRAWN = ("random", "prompt length, fitted", "all three", "oracle")


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    escalation = typer.Typer(
        no_args_is_help=True, help="Escalation to the LLM: calls saved, difficulty of questions."
    )
    escalation.command("saved")(_saved)
    escalation.command("difficulty")(_difficulty)
    app.add_typer(escalation, name="escalation")


def _saved(
    service: Annotated[str, typer.Argument(help="The classifier.")],
    validation: Annotated[list[Path], typer.Option(help="Labelled texts to choose thresholds on.")],
    data: Annotated[list[Path], typer.Option(help="Labelled texts to measure on.")],
    validation_split: Annotated[str, typer.Option(help="Split of --validation.")] = "validation",
    split: Annotated[str, typer.Option(help="Split of --data.")] = "all",
    target_precision: Annotated[
        list[float] | None,
        typer.Option(min=0.5, max=0.9999, help="Lower bound to reach; 0.95 and 0.98 if left out."),
    ] = None,
    target_removed: Annotated[
        list[float] | None,
        typer.Option(min=0.01, max=1, help="Share of calls to save; beside the precisions."),
    ] = None,
    tier: Annotated[
        list[str] | None,
        typer.Option(help="Hold it to linear, encoder or cascade; may be given often."),
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="SVG file to draw the curve into.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the share of LLM calls a classifier saves, with an oracle as the LLM."""
    from slmesh.evaluation.selective import saved_calls
    from slmesh.router.trials import refuse_test_data
    from slmesh.training.plots import curves

    refuse_test_data([file.name for file in validation], validation_split)
    settings = load_settings()
    rows: list[dict[str, Any]] = []
    lines: dict[str, list[tuple[float, float]]] = {}
    for name in tier or [""]:
        chosen_on = asyncio.run(
            answered_traffic(service, validation, validation_split, settings, name)
        )
        traffic = asyncio.run(answered_traffic(service, data, split, settings, name))
        targets = (target_precision or (0.95, 0.98), target_removed or ())
        rows += [
            {"tier": name or "as declared", **row}
            for row in saved_calls(chosen_on, traffic, *targets)
        ]
        lines |= _lines_of(name, traffic)
    counts = {"validation": len(chosen_on.probability), "test": len(traffic.probability)}
    if plot is not None:
        title = f"{service}: LLM calls removed, {counts['test']:,} texts"
        drawn = curves(title, "calls removed", "answered wrong", lines, top=_MOST_WRONG)
        plot.write_text(drawn, encoding="utf-8")
    if as_json:
        print_json({"service": service, "n": counts, "rows": rows})
        return
    _print_saved(service, counts, rows)


def _print_saved(service: str, counts: dict[str, int], rows: list[dict[str, Any]]) -> None:
    print_table(
        f"{service}: {counts['validation']:,} texts to choose on, {counts['test']:,} to measure on;"
        " the lower bound is one-sided, 95 %",
        (
            "tier",
            "chosen for",
            ">probability",
            ">removed, chosen on",
            ">right, chosen on",
            ">removed",
            ">right",
            ">lower bound",
            ">right with the oracle",
        ),
        [_saved_line(row) for row in rows],
    )


def _saved_line(row: dict[str, Any]) -> tuple[str, ...]:
    chosen, found = row["validation"], row["test"]
    return (
        row["tier"],
        f"{row['chosen_for']} {row['target']:g}",
        f"{found['threshold']:.4f}",
        _percent(chosen["removed"]),
        _percent(chosen["precision"]),
        _percent(found["removed"]),
        _percent(found["precision"]),
        _percent(found["least_precision"]),
        _percent(found["accuracy"]),
    )


def _lines_of(tier: str, traffic: Traffic) -> dict[str, list[tuple[float, float]]]:
    from slmesh.evaluation.selective import curve

    points = curve(traffic)
    wrong = [(one.removed, 1 - one.precision) for one in points]
    bound = [(one.removed, 1 - one.least_precision) for one in points]
    lines = {tier or "wrong": wrong, f"{tier or 'wrong'}, 95 % bound": bound}
    return {name: [(x, y) for x, y in line if y <= _MOST_WRONG] for name, line in lines.items()}


def _difficulty(
    data: Annotated[
        list[Path], typer.Option(help="Cached answers of a weak and a strong model; JSON Lines.")
    ],
    plot: Annotated[
        Path | None, typer.Option(help="SVG file to draw the routers' curves into.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell from a question alone whether the strong model is needed, by 5-fold cross-validation."""
    from slmesh.training.difficulty import measure

    figures = measure(data, load_settings(), on_progress=remark)
    curve = {name: figures["curves"][name] for name in _DRAWN}
    del figures["curves"]
    if plot is not None:
        from slmesh.training.plots import curves

        title = f"Gap recovered, {figures['n']:,} questions"
        most = max(y for points in curve.values() for _, y in points)
        drawn = curves(title, "share of strong calls", "gap recovered", curve, top=most)
        plot.write_text(drawn, encoding="utf-8")
    if as_json:
        print_json(figures)
        return
    print_table(
        f"{figures['n']:,} questions; weak {_percent(figures['weak'])}, strong"
        f" {_percent(figures['strong'])} right",
        ("router", ">APGR", ">95 %", ">CPT(50)", ">CPT(80)", ">over prompt length, 95 %"),
        [_router_line(name, row) for name, row in figures["routers"].items()],
    )


def _router_line(name: str, row: dict[str, float]) -> tuple[str, ...]:
    return (
        name,
        f"{row['apgr']:.3f}",
        f"{row['low']:.3f} to {row['high']:.3f}",
        _percent(row["cpt_50"]),
        _percent(row["cpt_80"]),
        f"{row['difference_low']:+.3f} to {row['difference_high']:+.3f}",
    )


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
