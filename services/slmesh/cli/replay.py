"""Decides a recorded request anew, with another flow or other models, and shows what changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from slmesh.api.ledger.v1 import record_pb2
from slmesh.api.route.v1 import route_pb2
from slmesh.cli.connection import AddressOption, Connection
from slmesh.cli.explaining import said_by
from slmesh.cli.ledger import recorded
from slmesh.cli.output import JsonOption, as_dict, console, print_json, print_table
from slmesh.cli.rendering import answered_by, enum_word, money, signal_text
from slmesh.library import Mesh
from slmesh.mesh.context import RequestContext
from slmesh.mesh.errors import FailedPrecondition
from slmesh.mesh.settings import Settings, load_settings
from slmesh.router.condition_values import written_values

__all__ = ["add_to", "differences", "facts_of"]

_NOTHING = "-"


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("replay")(_replay)


def _replay(
    decision_id: Annotated[str, typer.Argument(help="The id of a recorded decision.")],
    flow_path: Annotated[
        Path | None, typer.Option(help="Folder with the other version of the flow.")
    ] = None,
    service_path: Annotated[
        Path | None, typer.Option(help="Folder with other services and models.")
    ] = None,
    flow: Annotated[str, typer.Option(help="Another flow than the recorded one.")] = "",
    address: AddressOption = "",
    as_json: JsonOption = False,
) -> None:
    """Decide a recorded request anew and show what changes.

    In this process, with the flows and services that are found here, unless an address names a
    router. The text is the recorded one: with the guard's placeholders, unless the tenant's texts are
    kept in full.
    """
    settings = load_settings()
    record = _record(decision_id, settings)
    request = route_pb2.RouteRequest()
    request.CopyFrom(record.request)
    request.request_id = ""
    request.flow = flow or request.flow
    if not request.HasField("reference_time"):
        # "tomorrow" is to mean the day it meant then
        request.reference_time.CopyFrom(record.explanation.decision.create_time)
    request.decide_anew = True
    connection = Connection(
        address,
        local=not address,
        settings=_other_version(settings, flow_path, service_path),
    )

    async def work(mesh: Mesh, _: Settings) -> route_pb2.ExplainResponse:
        context = RequestContext(tenant=record.tenant)
        response = await mesh.route(request, timeout_s=120, context=context)
        wanted = route_pb2.ExplainRequest(decision_id=response.decision.decision_id)
        return await mesh.explain(wanted, context=context)

    replayed = connection.run(work)
    found = differences(record.explanation, replayed)
    if as_json:
        changed = {what: {"recorded": old, "replayed": new} for what, old, new in found}
        print_json({"changed": changed, "replayed": as_dict(replayed)})
        return
    if record.text_kept == record_pb2.TEXT_KEPT_REDACTED:
        console.print(
            "[dim]over the redacted text: values, and a little of every probability, may differ for"
            " that alone[/]",
            highlight=False,
        )
    if not found:
        console.print("nothing changes", highlight=False)
        return
    print_table(f"{len(found)} changes", ("", "recorded", "replayed"), _escaped(found), lines=True)


def differences(
    recorded: route_pb2.ExplainResponse, replayed: route_pb2.ExplainResponse
) -> list[tuple[str, str, str]]:
    """Return what differs between two decisions: what it is, in the first, in the second."""
    old, new = facts_of(recorded), facts_of(replayed)
    return [
        (what, old.get(what, _NOTHING), new.get(what, _NOTHING))
        for what in dict.fromkeys((*old, *new))
        if old.get(what, _NOTHING) != new.get(what, _NOTHING)
    ]


def facts_of(explained: route_pb2.ExplainResponse) -> Mapping[str, str]:
    """Return what a decision comes to, by what it is; times and ids, which always differ, left out."""
    decision = explained.decision
    facts = {
        "flow": decision.flow,
        "flow revision": decision.flow_revision[7:19],
        "path": enum_word(route_pb2.Path, "PATH_", decision.path),
        "because": ", ".join(reason.code for reason in decision.reasons),
        "answered by": enum_word(route_pb2.AnswerSource, "ANSWER_SOURCE_", decision.answer.source),
        "answering model": answered_by(decision.answer.provenance),
        "answer": decision.answer.text,
        "degraded": ", ".join(one.code for one in decision.degradations),
        "cost": money(decision.cost.usd_micros),
        "policy": decision.receipt.policy_revision[7:19],
    }
    for step in decision.steps:
        again = step.state == route_pb2.STEP_STATE_CACHED  # it had succeeded in an earlier decision
        state = route_pb2.STEP_STATE_SUCCEEDED if again else step.state
        facts[f"{step.name}: state"] = enum_word(route_pb2.StepState, "STEP_STATE_", state)
        facts[f"{step.name}: said"] = signal_text(step.signal)
        facts[f"{step.name}: model"] = said_by(step.signal)
    for one in explained.conditions:
        name = f"{one.code}: {one.step} {one.quantity}"
        value = f"{one.value:.3f}" if one.HasField("value") else written_values(one.values)
        limit = f" against {one.threshold:g}" if one.HasField("threshold") else ""
        facts[name] = f"{value}{limit}, {'held' if one.held else 'did not hold'}".lstrip(" ,")
    return {what: text or _NOTHING for what, text in facts.items()}


def _record(decision_id: str, settings: Settings) -> record_pb2.DecisionRecord:
    record = recorded(decision_id, settings)
    if not record.request.text:
        raise FailedPrecondition(
            f"the text of decision '{decision_id}' is not kept, so it cannot be decided anew:"
            " SLMESH_LEDGER_TEXT, or a flow without a guard",
            reason="TEXT_NOT_KEPT",
        )
    return record


def _other_version(
    settings: Settings, flow_path: Path | None, service_path: Path | None
) -> Settings:
    """Return settings whose last folders are those; what is decided anew is not recorded."""
    return settings.with_values(
        ledger_url="",
        flow_path=settings.flow_path + ((flow_path,) if flow_path else ()),
        service_path=settings.service_path + ((service_path,) if service_path else ()),
    )


def _escaped(found: Sequence[tuple[str, str, str]]) -> list[tuple[str, ...]]:
    return [tuple(escape(text) for text in row) for row in found]
