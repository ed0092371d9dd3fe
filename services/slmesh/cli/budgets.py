"""Commands around budgets: show what may be spent, simulate one on recorded traffic."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from slmesh.cli.answered_traffic import answered_traffic
from slmesh.cli.output import JsonOption, console, print_json, print_table
from slmesh.cli.rendering import money
from slmesh.mesh.settings import load_settings

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    budgets = typer.Typer(no_args_is_help=True, help="Budgets of the reasoner: show, simulate.")
    budgets.command("show")(_show)
    budgets.command("simulate")(_simulate)
    app.add_typer(budgets, name="budgets")


def _show(as_json: JsonOption = False) -> None:
    """Show what tenants and flows may spend on the reasoner, and what its tokens cost."""
    from slmesh.budgets.declaration import ANY_TENANT, DEFAULT_BUDGETS, read_budgets
    from slmesh.mesh.catalog import discover
    from slmesh.router.prices import prices_of

    settings = load_settings()
    file = settings.budgets or DEFAULT_BUDGETS
    budgets = read_budgets(file)
    prices = prices_of(settings, discover(settings)).of_service
    scopes = {f"tenant:{name}": limit for name, limit in budgets.tenants.items()}
    scopes |= {f"flow:{name}": limit for name, limit in budgets.flows.items()}
    if as_json:
        print_json(
            {
                "file": str(file),
                "budgets": {scope: asdict(limit) for scope, limit in scopes.items()},
                "prices": {service: asdict(price) for service, price in prices.items()},
            }
        )
        return
    print_table(
        "budgets, SLMESH_BUDGETS" if settings.budgets else "budgets that come along",
        ("scope", ">window s", ">requests", ">tokens", ">money", ">at once"),
        (
            (
                scope,
                f"{limit.window_s:,}",
                _most(limit.requests),
                _most(limit.tokens),
                "-" if limit.usd_micros is None else money(limit.usd_micros),
                _most(limit.concurrent),
            )
            for scope, limit in scopes.items()
        ),
    )
    if ANY_TENANT not in budgets.tenants:
        console.print("every other tenant has no budget, and gets nothing of the reasoner")
    print_table(
        "prices of a million tokens",
        ("reasoner", ">prompt", ">output"),
        (
            (
                service,
                money(price.prompt_usd_micros_per_mtok),
                money(price.output_usd_micros_per_mtok),
            )
            for service, price in prices.items()
        ),
    )


def _most(limit: int | None) -> str:
    return "-" if limit is None else f"{limit:,}"


def _simulate(
    service: Annotated[str, typer.Argument(help="The classifier that answers the traffic.")],
    data: Annotated[list[Path], typer.Option(help="Labelled texts: the traffic.")],
    history: Annotated[
        list[Path], typer.Option(help="Labelled texts: the traffic of the window before.")
    ],
    split: Annotated[str, typer.Option(help="Split of --data.")] = "all",
    history_split: Annotated[str, typer.Option(help="Split of --history.")] = "validation",
    probability_below: Annotated[
        float,
        typer.Option(min=0, max=1, help="A lower probability wants the reasoner."),
    ] = 0.9,
    seed: Annotated[int, typer.Option(help="Of orders and bootstrap.")] = 0,
    plot: Annotated[Path | None, typer.Option(help="SVG file to draw the curve into.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare pacing with first come, first served at 21 budgets, with an oracle as reasoner."""
    from slmesh.budgets.simulation import simulate
    from slmesh.training.plots import curves

    settings = load_settings()
    traffic = asyncio.run(answered_traffic(service, data, split, settings))
    before = asyncio.run(answered_traffic(service, history, history_split, settings))
    figures = simulate(traffic, before, probability_below, seed)
    rows = figures["budgets"]
    if plot is not None:
        points = {
            name: [(row["budget"], row[name]) for row in rows] for name in ("paced", "first_come")
        }
        title = f"Accuracy gained of a budget, {figures['orders']} orders"
        most = max(row["paced"] for row in rows) or 1.0
        drawn = curves(title, "budget, share of demand", "gain", points, top=most)
        plot.write_text(drawn, encoding="utf-8")
    if as_json:
        print_json(figures)
        return
    print_table(
        f"{figures['requests']:,} requests, {figures['demand']:,} want the reasoner;"
        f" {100 * figures['accuracy_small']:.1f} % right without it,"
        f" {100 * figures['accuracy_all']:.1f} % with all of it",
        (">budget", ">first come", ">paced", ">ratio", ">difference, 95 %"),
        [_line(row) for row in rows],
    )


def _line(row: dict[str, Any]) -> tuple[str, ...]:
    ratio = "-" if row["ratio"] is None else f"{row['ratio']:.2f}"
    return (
        f"{100 * row['budget']:.0f} %",
        f"+{100 * row['first_come']:.2f}",
        f"+{100 * row['paced']:.2f}",
        ratio,
        f"{100 * row['low']:+.2f} to {100 * row['high']:+.2f}",
    )
