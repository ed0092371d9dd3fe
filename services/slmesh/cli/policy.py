"""Commands about policy: check it, try it against a table, and tell why data went where it went."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slmesh.api.route.v1 import route_pb2
from slmesh.cli.connection import AddressOption, Connection, TenantOption
from slmesh.cli.output import (
    JsonOption,
    as_dict,
    console,
    print_json,
    print_table,
    progress_bar,
    remark,
)
from slmesh.cli.rendering import enum_word
from slmesh.mesh.catalog import discover
from slmesh.mesh.errors import FailedPrecondition
from slmesh.mesh.naming import suggestion
from slmesh.mesh.settings import Settings, load_settings

if TYPE_CHECKING:
    from slmesh.mesh.manifest import Manifest
    from slmesh.policy.policy_book import PolicyBook
    from slmesh.policy.question import Target
    from slmesh.router.flow import Flow

__all__ = ["add_to", "print_receipt"]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    policy = typer.Typer(no_args_is_help=True, help="Policy: which data may reach which model.")
    policy.command("validate")(_validate)
    policy.command("test")(_test)
    policy.command("explain")(_explain)
    policy.command("leaks")(_leaks)
    app.add_typer(policy, name="policy")


def _validate(as_json: JsonOption = False) -> None:
    """Check the policy of the settings: rules, tenants, classes of data, and the names in them."""
    from slmesh.policy.targets import targets_of
    from slmesh.router.flow_book import load_flows

    book, settings = _book()
    if as_json:
        for rule in book.rules:
            print_json({"rule": rule.name, "file": str(rule.file), "line": rule.line})
    else:
        print_table(
            f"policy {book.revision[7:19]}",
            ("rule", "effect", "where"),
            ((rule.name, rule.effect, f"{_shown(rule.file)}:{rule.line}") for rule in book.rules),
        )
        tenants = "every tenant is served" if book.tenants is None else ", ".join(book.tenants)
        console.print(f"classes of data: {', '.join(book.classes)}", highlight=False)
        console.print(f"tenants: {tenants}", highlight=False)
    services = discover(settings)
    flows = load_flows(settings, services)
    _must_name_what_there_is(book, services, flows)
    if not as_json:
        _print_flows(book, targets_of(services, settings), flows)


def _print_flows(
    book: PolicyBook, targets: Mapping[str, Target], flows: Mapping[str, Flow]
) -> None:
    """Print what the policy means for the flows that are here, as they declare their data."""
    from slmesh.policy.judge import Judge
    from slmesh.policy.question import Question, sorted_classes

    judge = Judge(book, targets)
    rows = []
    for flow in flows.values():
        calls = [(step.name, step.service) for step in flow.steps]
        if flow.reasoner is not None:
            calls.append(("reasoner", flow.reasoner.service))
        classes = sorted_classes(flow.data_classes)
        for step, service in calls:
            plain, redacted = (
                judge.ruling(Question(flow.name, "default", classes, service, form)).allowed
                for form in (False, True)
            )
            may = "as it is" if plain else "redacted" if redacted else "not at all"
            rows.append((flow.name, ", ".join(classes), step, service, targets[service].zone, may))
    columns = ("flow", "classes", "step", "service", "zone", "text may go")
    print_table("flows, for the tenant default", columns, rows)


def _must_name_what_there_is(
    book: PolicyBook, services: Mapping[str, Manifest], flows: Mapping[str, Flow]
) -> None:
    """Refuse names of flows and services that are not here: a misspelt rule guards nothing."""
    there: dict[str, tuple[str, Collection[str]]] = {
        "Model": ("service", services),
        "Flow": ("flow", flows),
    }
    for rule in book.rules:
        for kind, name in sorted(rule.speaks_of):
            if kind in there and name not in there[kind][1]:
                word, names = there[kind]
                raise rule.error(f"no {word} '{name}' here{suggestion(name, names)}")
    for flow in flows.values():
        for data_class in flow.data_classes:
            if data_class not in book.classes:
                raise FailedPrecondition(
                    f"flow '{flow.name}' declares data of class '{data_class}', which no policy"
                    f" knows{suggestion(data_class, book.classes)}; name it in classes.yaml",
                    reason="INVALID_POLICY",
                )


def _test(
    table: Annotated[
        Path | None, typer.Argument(help="The table; expected.yaml beside the policy if left out.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Hold the policy against a table of hops it should allow and deny."""
    from slmesh.policy.expectations import expectations_file, outcomes
    from slmesh.policy.targets import targets_of

    book, settings = _book()
    file = table or expectations_file(settings)
    found = list(outcomes(file, book, targets_of(discover(settings), settings)))
    wrong = [one for one in found if one.problem]
    rows: list[dict[str, Any]] = [
        {
            "line": one.line,
            "caller": one.expected.flow or "direct",
            "classes": ", ".join(one.expected.classes),
            "model": one.expected.service or one.expected.zone,
            "redacted": "yes" if one.expected.redacted else "no",
            "says": "allow" if one.ruling.allowed else "deny",
            "rule": one.rule,
            "problem": one.problem,
        }
        for one in found
    ]
    if as_json:
        for row in rows:
            print_json(row)
    else:
        columns = (">line", *list(rows[0])[1:]) if rows else ()
        print_table(_shown(file), columns, (row.values() for row in rows))
        console.print(f"{len(found) - len(wrong)} of {len(found)} as expected", highlight=False)
    if wrong or not found:
        raise typer.Exit(1)


def _explain(
    decision_id: Annotated[str, typer.Argument(help="The id of a decision.")],
    address: AddressOption = "",
    tenant: TenantOption = "default",
    as_json: JsonOption = False,
) -> None:
    """Tell which data of a request went to which model, by which rule, and what was kept back."""
    decision = Connection(address, tenant=tenant).explain(decision_id).decision
    if as_json:
        print_json(as_dict(decision.receipt))
        return
    print_receipt(decision)
    book, _settings = _book()
    if book.revision != decision.receipt.policy_revision:
        console.print(
            f"the policy of this folder is another one: {book.revision[7:19]}", highlight=False
        )
        return
    named = {one.rule for hop in decision.receipt.hops for one in hop.rulings}
    for rule in book.rules:
        if rule.name in named:
            console.print(
                f"\n{rule.name}, {_shown(rule.file)}:{rule.line}\n[dim]{rule.text}[/]",
                highlight=False,
            )


def print_receipt(decision: route_pb2.Decision) -> None:
    """Print the receipt of a decision."""
    if decision.cached_decision_id:
        console.print(
            f"nothing was sent: the answer is that of decision {decision.cached_decision_id}",
            highlight=False,
        )
        return
    print_table(
        f"data, under policy {decision.receipt.policy_revision[7:19]}",
        ("step", "model", "zone", "region", "redacted", "class", "fields", "ruling", "rule"),
        (
            (
                (f"{hop.step}, sent {hop.attempts} times" if hop.attempts > 1 else hop.step)
                if first
                else "",
                f"{hop.service}: {hop.model} {hop.version}".rstrip(" :") if first else "",
                hop.zone if first else "",
                hop.region if first else "",
                ("yes" if hop.redacted else "no") if first else "",
                ruling.data_class,
                ", ".join(ruling.fields) or "-",
                _ruling(hop, ruling),
                ruling.rule or "-",
            )
            for hop in decision.receipt.hops
            for first, ruling in ((ruling is hop.rulings[0], ruling) for ruling in hop.rulings)
        ),
    )


def _ruling(hop: route_pb2.Hop, ruling: route_pb2.ClassRuling) -> str:
    if hop.state == route_pb2.HOP_STATE_ALLOWED:
        return "allowed"
    if hop.state == route_pb2.HOP_STATE_REFUSED and ruling.allowed:
        return "allowed, kept back"
    return enum_word(route_pb2.HopState, "HOP_STATE_", hop.state)


def _leaks(
    data: Annotated[
        list[Path], typer.Argument(help="JSON Lines with marked personal data (presidio_pii).")
    ],
    split: Annotated[
        str, typer.Option(help="all, train, validation or test; templates never cross.")
    ] = "validation",
    service: Annotated[str, typer.Option(help="The guard.")] = "guard",
    as_json: JsonOption = False,
) -> None:
    """Measure what redaction lets through: characters of marked values that stay in the text."""
    import asyncio

    from slmesh.evaluation import read_cases, subject_of
    from slmesh.evaluation.evaluate import local_mesh
    from slmesh.evaluation.leaks import leak_figures
    from slmesh.mesh.catalog import find_manifest

    settings = load_settings()
    subject = subject_of(find_manifest(service, settings), settings, local=True)
    cases = read_cases(data, subject, split=split)
    for note in cases.notes:
        remark(note)

    async def work() -> dict[str, Any]:
        with (
            local_mesh(subject, cases, settings) as opened,
            progress_bar("redacting", len(cases.cases)) as advance,
        ):
            async with opened as mesh:
                return await leak_figures(mesh, subject.name, cases, advance)

    figures = asyncio.run(work())
    if as_json:
        print_json(figures)
        return
    groups = {**figures["groups"], **figures["kinds"]}
    print_table(
        f"characters left of {figures['texts']} texts",
        ("kind", ">characters", ">left", ">share", ">values", ">whole"),
        (
            (name, row["characters"], row["left"], f"{row['share']:.4f}", row["values"],
             row["whole"])
            for name, row in groups.items()
        ),
    )  # fmt: skip
    console.print(
        f"values the guard found that are still in the redacted text: {figures['found_left']} of"
        f" {figures['found']}",
        highlight=False,
    )


def _book() -> tuple[PolicyBook, Settings]:
    from slmesh.policy.policy_book import load_policies

    settings = load_settings()
    return load_policies(settings), settings


def _shown(file: Path) -> str:
    here = Path.cwd()
    return str(file.relative_to(here) if file.is_relative_to(here) else file)
