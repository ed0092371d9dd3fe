"""How the command line prints: tables for people, JSON for programs, errors with what to do."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.box import SQUARE
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from slmesh.mesh.errors import MeshError

__all__ = [
    "JsonOption",
    "as_dict",
    "console",
    "fail",
    "print_json",
    "print_table",
    "progress_bar",
    "remark",
    "stderr",
]

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]

_PIPED_WIDTH = 160
"""Columns when nobody's terminal limits them, so that a log or a pipe gets whole words."""

console = Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH)
stderr = Console(stderr=True, width=None if sys.stderr.isatty() else _PIPED_WIDTH)

_ADVICE = {
    "SERVICE_UNAVAILABLE": "Is the mesh up? `slmesh up` starts it, `slmesh status` looks at it;"
    " `--local` does without.",
    "DIGEST_MISMATCH": "Delete the file and fetch it again: `slmesh models fetch`.",
}


def fail(error: MeshError) -> NoReturn:
    """Print an error and what to do about it, and exit with status 1."""
    # "pip install 'slmesh[mesh]'" is no markup
    message = escape(error.message)
    stderr.print(f"[bold red]error[/]: {message}", highlight=False, soft_wrap=True)
    details = [error.reason] + ([f"field {error.field}"] if error.field else [])
    if error.retry_delay_s is not None:
        details.append(f"retry after {error.retry_delay_s:g} s")
    stderr.print(f"       ({', '.join(details)})", style="dim", highlight=False)
    if error.reason in _ADVICE:
        stderr.print(f"       {_ADVICE[error.reason]}", highlight=False, soft_wrap=True)
    sys.exit(1)


def as_dict(message: Message) -> dict[str, Any]:
    """Return a message as JSON-able values with the names of its proto file, zeros included."""
    return MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def print_json(value: Any) -> None:
    """Print one JSON value on one line of standard output, at once for a program that reads along."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


def print_table(
    title: str, columns: Iterable[str], rows: Iterable[Iterable[object]], *, lines: bool = False
) -> None:
    """Print a table; a column whose name starts with ``>`` is aligned to the right."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        show_lines=lines,
        box=None if not lines else SQUARE,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    for column in columns:
        right = column.startswith(">")
        table.add_column(
            column.removeprefix(">"), justify="right" if right else "left", overflow="fold"
        )
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    console.print(table)


def remark(text: str) -> None:
    """Print a line in passing on standard error, dimmed."""
    stderr.print(f"[dim]{text}[/]", highlight=False)


@contextmanager
def progress_bar(task: str, total: int) -> Iterator[Any]:
    """Show a progress bar on standard error; yields a function that advances it by n."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=stderr, transient=True) as progress:
        identifier = progress.add_task(task, total=total)
        yield lambda count=1: progress.advance(identifier, count)
