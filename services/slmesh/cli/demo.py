"""The demo: start a mesh, route real messages through it, print what happened, stop it."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from rich.box import SQUARE
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from slmesh.api.classify.v1 import classify_pb2
from slmesh.api.route.v1 import route_pb2
from slmesh.cli.output import console, progress_bar
from slmesh.cli.rendering import DESCRIBE, answered_by, enum_word, money, signals_of
from slmesh.library import Mesh
from slmesh.mesh.errors import MeshError

__all__ = ["read_messages", "route_all", "show"]

_IN_FLIGHT = 2
_TIMEOUT_S = 90.0
_PIPED_WIDTH = 200
_TABLE_WIDTH = 170
"""Columns below which ten table columns break words."""

_COLUMNS = (
    "message", "route: why", "intent", "fields", "urgency", "guard", "answered by", "ms", "cost",
    "all LLM",
)  # fmt: skip


@dataclass(frozen=True)
class Routed:
    """One message and what became of it.

    Attributes:
        message: The row of ``messages.jsonl``.
        decision: The router's decision, or None when it failed.
        error: Why it failed.
    """

    message: Mapping[str, str]
    decision: route_pb2.Decision | None
    error: MeshError | None = None


def read_messages() -> list[dict[str, str]]:
    """Return the demo's messages, written for this project."""
    text = files("slmesh.demo").joinpath("messages.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


async def run_messages(mesh: Mesh, messages: Sequence[Mapping[str, str]]) -> list[Routed]:
    """Route the messages, a few at a time, and return them in their order."""
    room = asyncio.Semaphore(_IN_FLIGHT)

    async def route(message: Mapping[str, str], advance: Any) -> Routed:
        request = route_pb2.RouteRequest(flow=message["flow"], text=message["text"])
        async with room:
            try:
                response = await mesh.route(request, timeout_s=_TIMEOUT_S)
                routed = Routed(message, response.decision)
            except MeshError as error:
                routed = Routed(message, None, error)
        advance()
        return routed

    with progress_bar("routing messages", len(messages)) as advance:
        return list(await asyncio.gather(*(route(message, advance) for message in messages)))


def show(routed: Sequence[Routed], seconds: float) -> None:
    """Print what became of each message, one answer of each kind, and the summary."""
    wide = console if console.is_terminal else Console(width=_PIPED_WIDTH)
    console.print(f"\n[bold]{len(routed)} messages through the router[/]")
    if wide.width >= _TABLE_WIDTH:
        wide.print(_table(routed))
    else:
        for number, row in enumerate(routed, 1):
            _print_block(number, row)
    _print_answers(routed)
    _summarise(routed, seconds)


def _table(routed: Sequence[Routed]) -> Table:
    table = Table(show_lines=True, box=SQUARE, expand=True)
    ratios = (9, 7, 6, 7, 3, 4, 5)
    for name, ratio in zip(_COLUMNS, ratios, strict=False):
        table.add_column(name, ratio=ratio, overflow="fold")
    for name in _COLUMNS[len(ratios) :]:
        table.add_column(name, no_wrap=True, justify="right")
    for row in routed:
        table.add_row(*_cells(row))
    return table


def _print_block(number: int, row: Routed) -> None:
    """Print a message as lines, for a terminal that is too narrow for ten columns."""
    text, *cells = _cells(row)
    named = [
        f"[dim]{name}[/] {cell}"
        for name, cell in zip(_COLUMNS[2:], cells[1:], strict=True)
        if cell not in ("", "-", "nothing found")
    ]
    console.print(f"[bold]{number}.[/] {text.replace(chr(10), ' ')}", highlight=False)
    below = Text.from_markup(f"{cells[0]}\n{' · '.join(named)}")
    console.print(Padding(below, (0, 0, 0, 4)), highlight=False)


def _cells(row: Routed) -> list[str]:
    text = f"{row.message['text']}\n[dim]{row.message['flow']}, {row.message['kind']}[/]"
    if row.decision is None:
        assert row.error is not None
        return [text, f"[red]{row.error.reason}[/]", *[""] * 8]
    decision = row.decision
    said = signals_of(decision)
    path = enum_word(route_pb2.Path, "PATH_", decision.path)
    codes = dict.fromkeys(r.code for r in decision.reasons if r.code != "SMALL_MODELS_SUFFICE")
    why = ", ".join(code.replace("_", " ").lower() for code in codes)
    degraded = " [yellow](degraded)[/]" if decision.degradations else ""
    source = enum_word(route_pb2.AnswerSource, "ANSWER_SOURCE_", decision.answer.source)
    model = answered_by(decision.answer.provenance)
    return [
        text,
        f"[bold]{path}[/]{degraded}{f': {why}' if why else ''}",
        _intent(said.get("classify")),
        DESCRIBE["extract"](said["extract"]) if "extract" in said else "-",
        _urgency(said.get("score")),
        DESCRIBE["guard"](said["guard"]) if "guard" in said else "-",
        f"{source}: {model}" if model else source,
        str(decision.latency.ToMilliseconds()),
        money(decision.cost.usd_micros),
        money(decision.all_llm_cost.usd_micros),
    ]


def _intent(answer: classify_pb2.ClassifyResponse | None) -> str:
    if answer is None:
        return "-"
    if answer.WhichOneof("outcome") == "labels":
        top = answer.labels.labels[0]
        return f"{top.name} {top.probability:.2f} [dim]({answer.provenance.tier})[/]"
    return f"{DESCRIBE['classify'](answer).partition(' (')[0]} [dim]({answer.provenance.tier})[/]"


def _urgency(answer: Any) -> str:
    if answer is None or answer.WhichOneof("outcome") != "scores":
        return "-"
    for score in answer.scores.scores:
        if score.scale == "urgency":
            top = max(score.levels, key=lambda level: level.probability)
            return f"{top.name} {top.probability:.2f}"
    return "-"


def _print_answers(routed: Sequence[Routed]) -> None:
    console.print("\n[bold]One answer of each kind[/]")
    seen: set[tuple[int, int]] = set()
    for row in routed:
        if row.decision is None or row.decision.degradations:
            continue
        key = (row.decision.path, row.decision.answer.source)
        if key in seen or not row.decision.answer.text:
            continue
        seen.add(key)
        source = enum_word(route_pb2.AnswerSource, "ANSWER_SOURCE_", key[1])
        console.print(f"[dim]{source}[/] {row.message['text']}", highlight=False)
        console.print(f"    → {row.decision.answer.text.strip()}", highlight=False)


def _summarise(routed: Sequence[Routed], seconds: float) -> None:
    decisions = [row.decision for row in routed if row.decision is not None]
    paths = Counter(enum_word(route_pb2.Path, "PATH_", d.path) for d in decisions)
    small = [d for d in decisions if d.cost.usd_micros == 0]
    cost = sum(d.cost.usd_micros for d in decisions)
    all_llm = sum(d.all_llm_cost.usd_micros for d in decisions)
    console.print("\n[bold]Summary[/]")
    counted = ", ".join(f"{count} {path}" for path, count in paths.most_common())
    failed = len(routed) - len(decisions)
    console.print(
        f"  {len(routed)} messages in {seconds:.1f} s: {counted}, {failed} failed",
        highlight=False,
    )
    lacking = Counter(d.code.replace("_", " ").lower() for x in decisions for d in x.degradations)
    if lacking:
        listed = ", ".join(f"{count} {code}" for code, count in lacking.most_common())
        console.print(f"  marked as degraded: {listed}", highlight=False)
    if not decisions:
        return
    console.print(
        f"  {len(small)} of {len(decisions)} ({len(small) / len(decisions):.0%}) without the LLM,"
        f" median {_median_ms(small)} ms; with it, median"
        f" {_median_ms([d for d in decisions if d.cost.usd_micros])} ms",
        highlight=False,
    )
    saved = f", {1 - cost / all_llm:.0%} less" if all_llm else ""
    console.print(
        f"  cost {money(cost)}, everything to the LLM {money(all_llm)}{saved}"
        "\n  [dim]prices: SLMESH_PRICE_*; the small models' own machine is not counted; an escalated"
        " message costs more than the LLM alone, since the signals are tokens too[/]",
        highlight=False,
    )


def _median_ms(decisions: Sequence[route_pb2.Decision]) -> str:
    if not decisions:
        return "-"
    return f"{statistics.median(d.latency.ToMicroseconds() for d in decisions) / 1e3:.1f}"


async def route_all(mesh: Mesh) -> tuple[list[Routed], float]:
    """Route every message of the demo; returns them and the seconds it took."""
    started = time.perf_counter()
    routed = await run_messages(mesh, read_messages())
    return routed, time.perf_counter() - started
