"""Commands around the router: ask it, explain a decision, and look at the flows."""

from __future__ import annotations

import sys
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.markup import escape

from slmesh.api.route.v1 import route_pb2
from slmesh.cli import flows as trying
from slmesh.cli.connection import AddressOption, Connection, LocalOption, TenantOption
from slmesh.cli.explaining import print_explanation, said_by
from slmesh.cli.output import JsonOption, as_dict, console, print_json, print_table
from slmesh.cli.rendering import signal_text
from slmesh.library import Mesh
from slmesh.mesh.catalog import discover
from slmesh.mesh.settings import Settings, load_settings

if TYPE_CHECKING:
    from slmesh.router.flow import Condition, Flow
    from slmesh.router.flow_book import FlowBook

__all__ = ["add_to", "drawn"]

FlowOption = Annotated[str, typer.Option("--flow", help="The flow to run.")]

_TIMEOUT_S = 120.0


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("ask")(_ask)
    app.command("explain")(_explain)
    flows = typer.Typer(no_args_is_help=True, help="Flows: list, show, check, run, tune.")
    flows.command("list")(_list_flows)
    flows.command("show")(_show_flow)
    trying.add_to(flows)
    app.add_typer(flows, name="flows")


def _ask(
    text: Annotated[str, typer.Argument(help="What the user says.")],
    flow: FlowOption = "support",
    request_id: Annotated[
        str, typer.Option(help="A UUID; a repeat returns the same decision.")
    ] = "",
    stream: Annotated[
        bool, typer.Option("--stream", help="Print signals and the answer while they come.")
    ] = False,
    address: AddressOption = "",
    local: LocalOption = False,
    tenant: TenantOption = "default",
    as_json: JsonOption = False,
) -> None:
    """Run a flow over a text and explain what was decided."""
    request = route_pb2.RouteRequest(flow=flow, text=text, request_id=request_id)

    async def work(mesh: Mesh, _: Settings) -> None:
        told = ""
        if stream:
            decision_id, told = await _follow(mesh, request, as_json)
            if as_json:
                return  # the decision was the last line
        else:
            response = await mesh.route(request, timeout_s=_TIMEOUT_S)
            decision_id = response.decision.decision_id
        explained = await mesh.explain(route_pb2.ExplainRequest(decision_id=decision_id))
        _print_decision(explained, as_json, told)

    Connection(address, local, tenant).run(work)


async def _follow(mesh: Mesh, request: route_pb2.RouteRequest, as_json: bool) -> tuple[str, str]:
    """Print what a request tells while it runs; returns the decision's id and the text told."""
    decision_id, told = "", ""
    events = cast("Any", mesh.route_stream(request, timeout_s=_TIMEOUT_S))
    async with aclosing(events):  # Ctrl-C closes it, which cancels the call
        async for event in events:
            kind = event.WhichOneof("event")
            if as_json:
                print_json(as_dict(event))
            elif kind == "signal":
                signal = event.signal
                line = f"{signal.step}: {signal_text(signal)} ({said_by(signal)})"
                console.print(f"[dim]{escape(line)}[/]", highlight=False)
            elif kind == "text_delta":
                told += event.text_delta
                sys.stdout.write(event.text_delta)
                sys.stdout.flush()
            if kind == "decision":
                decision_id = event.decision.decision_id
    if told and not as_json:
        console.print()
    return decision_id, told


def _explain(
    decision_id: Annotated[str, typer.Argument(help="The id of a decision.")],
    address: AddressOption = "",
    tenant: TenantOption = "default",
    as_json: JsonOption = False,
) -> None:
    """Explain a decision the router has made."""
    _print_decision(Connection(address, tenant=tenant).explain(decision_id), as_json)


def _print_decision(explained: route_pb2.ExplainResponse, as_json: bool, told: str = "") -> None:
    if as_json:
        print_json(as_dict(explained))
    else:
        print_explanation(explained, told)


def _list_flows(as_json: JsonOption = False) -> None:
    """List the flows there are."""
    flows = list(_flows())
    if as_json:
        for flow in flows:
            print_json({"flow": flow.name, "revision": flow.revision[7:19], "owner": flow.owner})
        return
    print_table(
        "flows",
        ("flow", "revision", "owner", "steps", ">budget ms", "description"),
        (
            (
                flow.name,
                flow.revision[7:19],
                flow.owner,
                ", ".join(step.name for step in flow.steps),
                flow.latency_budget_ms,
                flow.description,
            )
            for flow in flows
        ),
    )


def _show_flow(name: Annotated[str, typer.Argument(help="The flow.")]) -> None:
    """Show a flow: its steps, and what makes it refuse or escalate."""
    flow = _flows().flow(name)
    console.print(
        f"[bold]{flow.name}[/] {flow.revision[7:19]}: {flow.description}", highlight=False
    )
    print_table(
        f"steps, within {flow.latency_budget_ms} ms",
        ("step", "service", "after", "sees", ">timeout ms", "on failure"),
        (
            (
                step.name,
                step.service,
                ", ".join(step.after) or "-",
                step.text,
                step.timeout_ms,
                step.on_failure,
            )
            for step in flow.steps
        ),
    )
    for line in drawn(flow):
        console.print(f"  {escape(line)}", highlight=False, soft_wrap=True)
    print_table(
        "rules, in this order",
        ("then", "reason", "when"),
        (
            (then, rule.reason, escape(" and ".join(_condition(c) for c in rule.when)))
            for then, rules in (("refuse", flow.refuse_when), ("escalate", flow.escalate_when))
            for rule in rules
        ),
    )

    answers = ", ".join(
        next(kind for kind in ("passage", "template", "signals") if getattr(option, kind, None))
        for option in flow.answer
    )
    console.print(
        f"answer: {answers}, the first that applies. When none does (NO_PASSAGE, NO_TEMPLATE), or"
        " passage and intent do not agree (SIGNALS_DISAGREE): "
        + ("escalate." if flow.reasoner else "the fallback."),
        highlight=False,
    )


def drawn(flow: Flow) -> list[str]:
    """Return the graph of a flow, a line for each edge, with the condition of a step on its edges."""
    width = max((len(name) for step in flow.steps for name in step.after), default=0)
    return [
        f"{before:{width}} ─▶ {step.name}{f'  if {step.run_if}' if step.run_if else ''}"
        for step in flow.steps
        for before in step.after or ("",)
    ]


def _condition(condition: Condition) -> str:
    if condition.cel is not None:
        return condition.cel
    tests = {k: v for k, v in vars(condition).items() if k != "step" and v not in (None, {})}
    return f"{condition.step}: " + ", ".join(f"{k} {v}" for k, v in tests.items())


def _flows() -> FlowBook:
    from slmesh.router.flow_book import FlowBook, load_flows

    settings = load_settings()
    return FlowBook(load_flows(settings, discover(settings)))
