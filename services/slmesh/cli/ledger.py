"""Commands for who runs a ledger: what was decided for whom, one record, a file of them, a deletion.

They read the database itself, for all tenants; what still waits in a router's spool is not there yet.
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape

from slmesh.api.ledger.v1 import record_pb2
from slmesh.cli.explaining import print_explanation
from slmesh.cli.output import JsonOption, console, print_json, print_table
from slmesh.cli.rendering import money
from slmesh.mesh.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable
from slmesh.mesh.settings import Settings, load_settings

if TYPE_CHECKING:
    from slmesh.ledger.database import Database, Filter

__all__ = ["add_to", "ledger_database", "recorded"]

TenantFilter = Annotated[str, typer.Option("--tenant", help="Of this tenant only.")]
FlowFilter = Annotated[str, typer.Option("--flow", help="Of this flow only.")]
PathFilter = Annotated[str, typer.Option("--path", help="small, escalated, refused or fallback.")]
SinceFilter = Annotated[
    str, typer.Option("--since", help="From this day or time on, ISO 8601, UTC without a zone.")
]
BeforeFilter = Annotated[str, typer.Option("--before", help="Before this day or time.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    ledger = typer.Typer(no_args_is_help=True, help="Recorded decisions: list, show, export.")
    ledger.command("list")(_list)
    ledger.command("show")(_show)
    ledger.command("export")(_export)
    ledger.command("delete")(_delete)
    app.add_typer(ledger, name="ledger")


@contextmanager
def ledger_database(settings: Settings) -> Iterator[Database]:
    """Open the database the settings name, for the time of a command.

    Raises:
        FailedPrecondition: Nothing is recorded under these settings.
        Unavailable: The database cannot be asked.
    """
    from sqlalchemy.exc import SQLAlchemyError

    from slmesh.ledger.database import Database, database_url, driver_message
    from slmesh.ledger.ledger import NO_LEDGER, ledger_folder

    folder = ledger_folder(settings)
    if settings.ledger_url == NO_LEDGER or not (settings.ledger_url or folder.is_dir()):
        raise FailedPrecondition(
            f"there is no ledger in {folder}: set SLMESH_STATE_DIR or SLMESH_LEDGER_URL to the"
            " router's",
            reason="NO_LEDGER",
        )
    database = Database(database_url(settings.ledger_url, folder))
    try:
        database.prepare()
        yield database
    except SQLAlchemyError as error:
        raise Unavailable(
            f"the ledger's database cannot be asked: {driver_message(error)}",
            reason="LEDGER_DATABASE_UNAVAILABLE",
        ) from None
    finally:
        database.close()


def recorded(decision_id: str, settings: Settings) -> record_pb2.DecisionRecord:
    """Return the record of a decision.

    Raises:
        NotFound: It is not recorded.
        FailedPrecondition: Nothing is recorded under these settings.
        Unavailable: The database cannot be asked.
    """
    from slmesh.ledger.rows import read_record

    with ledger_database(settings) as database:
        payload = database.by_decision(decision_id)
    if payload is None:
        raise NotFound(f"no decision '{decision_id[:64]}' is recorded", reason="DECISION_NOT_FOUND")
    return read_record(payload)


def _list(
    tenant: TenantFilter = "",
    flow: FlowFilter = "",
    path: PathFilter = "",
    since: SinceFilter = "",
    before: BeforeFilter = "",
    limit: Annotated[int, typer.Option(help="How many at most, the newest first.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """List decisions, the newest first."""
    wanted = _filter(tenant, flow, path, since, before)
    with ledger_database(load_settings()) as database:
        rows = list(database.rows(wanted, limit))
        count = database.count(wanted)
    if as_json:
        for row in rows:
            print_json(row)
        return
    print_table(
        f"{len(rows)} of {count} decisions",
        ("received", "decision", "tenant", "flow", "path", "because", ">ms", ">money", "text"),
        (_listed(row) for row in rows),
    )


def _show(
    decision_id: Annotated[str, typer.Argument(help="The id of a decision.")],
    as_json: JsonOption = False,
) -> None:
    """Show one record: what was asked, and why it was decided as it was."""
    from slmesh.ledger.export import as_json as as_json_values
    from slmesh.ledger.rows import columns_of

    record = recorded(decision_id, load_settings())
    columns = columns_of(record)
    if as_json:
        print_json(as_json_values(record))
        return
    text = record.request.text or "(the text is not kept)"
    console.print(f"[dim]{escape(text)}[/]", highlight=False)
    print_explanation(record.explanation)
    console.print(
        f"[dim]tenant {escape(record.tenant)}, text kept: {columns['text_kept']}, recorded"
        f" {_moment(columns['record_time_us'])}, deleted {_moment(columns['expire_time_us'])}, request"
        f" {record.explanation.decision.request_id} sha256:{record.request_digest}[/]",
        highlight=False,
    )


def _export(
    file: Annotated[Path, typer.Argument(help="The file to write.")],
    file_format: Annotated[
        Literal["parquet", "jsonl"] | None,
        typer.Option("--format", help="By the file's suffix when left out."),
    ] = None,
    tenant: TenantFilter = "",
    flow: FlowFilter = "",
    path: PathFilter = "",
    since: SinceFilter = "",
    before: BeforeFilter = "",
) -> None:
    """Write decisions to a Parquet or JSON lines file, the newest first."""
    from slmesh.ledger.export import write_json_lines, write_parquet

    chosen = file_format or {".parquet": "parquet", ".jsonl": "jsonl"}.get(file.suffix)
    if chosen is None:
        raise InvalidArgument(
            f"'{file.name}' ends neither in .parquet nor in .jsonl: name the --format",
            field="format",
        )
    write = write_parquet if chosen == "parquet" else write_json_lines
    try:
        with ledger_database(load_settings()) as database:
            count = write(database.records(_filter(tenant, flow, path, since, before)), file)
    except OSError as error:
        raise FailedPrecondition(
            f"{file} cannot be written: {error.strerror}", reason="FILE_UNWRITABLE"
        ) from None
    sys.stderr.write(f"{count} decisions written to {file}\n")


def _delete(
    subject: Annotated[str, typer.Option(help="The subject, as the callers named it.")],
    tenant: Annotated[str, typer.Option("--tenant", help="The tenant.")] = "default",
    as_json: JsonOption = False,
) -> None:
    """Delete every record of a subject, those on their way from a router included."""
    import time

    from slmesh.ledger.rows import subject_digest

    if not subject:
        raise InvalidArgument("the subject is empty", reason="FIELD_REQUIRED", field="subject")
    with ledger_database(load_settings()) as database:
        count = database.delete_subject(subject_digest(tenant, subject), time.time_ns() // 1000)
    if as_json:
        print_json({"deleted": count})
    else:
        console.print(
            f"{count} records deleted; routers forget theirs within a few seconds", highlight=False
        )


def _listed(row: Mapping[str, Any]) -> tuple[object, ...]:
    return (
        _moment(row["create_time_us"]),
        row["decision_id"],
        escape(row["tenant"]),
        row["flow"],
        row["path"] + (" (degraded)" if row["degraded"] else ""),
        row["reason"],
        f"{row['latency_ms']:.1f}",
        money(row["usd_micros"]),
        row["text_kept"],
    )


def _filter(tenant: str, flow: str, path: str, since: str, before: str) -> Filter:
    from slmesh.ledger.database import Filter

    return Filter(
        tenant=tenant or None,
        flow=flow or None,
        path=path or None,
        since_us=_microseconds("since", since),
        before_us=_microseconds("before", before),
    )


def _microseconds(field: str, text: str) -> int | None:
    if not text:
        return None
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise InvalidArgument(
            f"'{text}' is no day or time such as 2026-11-25 or 2026-11-25T09:30", field=field
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return round(moment.timestamp() * 1e6)


def _moment(time_us: int) -> str:
    moment = datetime.datetime.fromtimestamp(time_us / 1e6, datetime.UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}"
