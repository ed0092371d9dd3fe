"""Commands that call one service: one text, or a JSONL file in batches."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf.json_format import ParseDict, ParseError

from slmesh.cli.connection import AddressOption, Connection, LocalOption, TenantOption
from slmesh.cli.output import JsonOption, as_dict, console, print_json, progress_bar, stderr
from slmesh.cli.rendering import DESCRIBE, answered_by
from slmesh.library import Mesh
from slmesh.mesh.catalog import find_manifest
from slmesh.mesh.contract import contract
from slmesh.mesh.errors import InvalidArgument, MeshError
from slmesh.mesh.settings import Settings, load_settings

__all__ = ["add_to"]

_BATCH_ITEMS = 256

ServiceArgument = Annotated[str, typer.Argument(help="The service, as `slmesh status` lists it.")]
TextArgument = Annotated[str, typer.Argument(help="The text; `-` reads it from standard input.")]
FileOption = Annotated[
    Path | None,
    typer.Option("--file", help='JSONL instead of a text: a request, or {"text": ...}, a line.'),
]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for name, about in (
        ("classify", "Ask a classifier for the label of a text."),
        ("extract", "Ask an extractor for the fields of a text."),
        ("guard", "Ask a guard what it finds in a text."),
        ("score", "Ask a scorer where a text lies on its scales."),
    ):
        app.command(name, help=about)(_command(name))
    app.command("rank")(_rank)
    app.command("reason")(_reason)


def _command(spoken: str) -> Callable[..., None]:
    def command(
        service: ServiceArgument,
        text: TextArgument = "",
        file: FileOption = None,
        address: AddressOption = "",
        local: LocalOption = False,
        tenant: TenantOption = "default",
        as_json: JsonOption = False,
    ) -> None:
        connection = Connection(address, local, tenant)
        _answer(spoken, service, _rows(text, file), connection, as_json, {}, alone=file is None)

    return command


def _rank(
    service: ServiceArgument,
    text: TextArgument = "",
    file: FileOption = None,
    collection: Annotated[str, typer.Option(help="A collection the service declares.")] = "",
    candidates: Annotated[
        Path | None, typer.Option(help='JSONL of {"id": ..., "text": ...} to rank instead.')
    ] = None,
    address: AddressOption = "",
    local: LocalOption = False,
    tenant: TenantOption = "default",
    as_json: JsonOption = False,
) -> None:
    """Ask a ranker which passages fit a question."""
    source: dict[str, Any] = {"collection": collection} if collection else {}
    if candidates is not None:
        source = {"candidates": {"candidates": list(_read_jsonl(candidates))}}
    connection = Connection(address, local, tenant)
    _answer("rank", service, _rows(text, file), connection, as_json, source, alone=file is None)


def _reason(
    text: TextArgument,
    instruction: Annotated[
        str, typer.Option(help="What to do with the text.")
    ] = "Answer the user's message briefly and honestly.",
    service: Annotated[str, typer.Option(help="The reasoner to ask.")] = "reasoner",
    max_output_tokens: Annotated[int, typer.Option(min=1, help="Limit of the answer.")] = 128,
    address: AddressOption = "",
    local: LocalOption = False,
    tenant: TenantOption = "default",
    as_json: JsonOption = False,
) -> None:
    """Ask the reasoner and print its answer while it is generated."""
    from slmesh.api.reason.v1 import reason_pb2

    request = reason_pb2.ReasonRequest(
        instruction=instruction, text=_read_text(text), max_output_tokens=max_output_tokens
    )

    async def work(mesh: Mesh, _: Settings) -> None:
        started = time.perf_counter()
        async for event in mesh.reason(service, request, timeout_s=120):
            if as_json:
                print_json(as_dict(event))
            elif event.WhichOneof("event") == "text_delta":
                sys.stdout.write(event.text_delta)
                sys.stdout.flush()
            elif event.WhichOneof("event") == "completion":
                usage, seconds = event.completion.usage, time.perf_counter() - started
                console.print(
                    f"\n[dim]{answered_by(event.completion.provenance)},"
                    f" {usage.prompt_tokens} + {usage.output_tokens} tokens, {seconds:.1f} s[/]",
                    highlight=False,
                )

    Connection(address, local, tenant).run(work)


def _answer(
    spoken: str,
    service: str,
    rows: Sequence[dict[str, Any]],
    connection: Connection,
    as_json: bool,
    extra: dict[str, Any],
    *,
    alone: bool,
) -> None:
    _check_service(spoken, service)
    requests = [_request(spoken, row | extra, number) for number, row in enumerate(rows, 1)]
    rpc = contract(spoken)
    started = time.perf_counter()

    async def work(mesh: Mesh, _: Settings) -> list[Any]:
        if alone:
            return [await mesh.call(rpc.single.name, service, requests[0])]
        assert rpc.batch is not None
        results: list[Any] = []
        with progress_bar(f"{spoken} with {service}", len(requests)) as advance:
            for start in range(0, len(requests), _BATCH_ITEMS):
                part = requests[start : start + _BATCH_ITEMS]
                batch = rpc.batch.request_type(requests=part)
                response: Any = await mesh.call(rpc.batch.name, service, batch, 120)
                results.extend(response.results)
                advance(len(part))
        return results

    failed = 0
    for row, result in zip(rows, connection.run(work), strict=True):
        failed += _show(spoken, row, result, as_json, alone)
    if not alone:
        seconds = time.perf_counter() - started
        stderr.print(
            f"{len(rows)} texts in {seconds:.2f} s, {len(rows) / seconds:.0f} a second,"
            f" {failed} failed",
            highlight=False,
        )
    if failed:
        raise typer.Exit(1)


def _show(spoken: str, row: dict[str, Any], result: Any, as_json: bool, alone: bool) -> bool:
    if alone:
        response, error = result, None
    else:
        failed = result.WhichOneof("result") == "error"
        error = MeshError.from_status(result.error) if failed else None
        response = result.response
    if as_json:
        print_json(as_dict(result))
    elif error is not None:
        console.print(f"[red]{error.reason}[/] {error.message}", highlight=False)
    else:
        text = "" if alone else f"{str(row.get('text', row.get('query', '')))[:48]:<50}"
        line = f"{text}{DESCRIBE[spoken](response)}"
        console.print(line, f"[dim]{answered_by(response.provenance)}[/]", highlight=False)
    return error is not None


def _check_service(spoken: str, service: str) -> None:
    """Refuse a service of another contract; one that is not known here may be known to the mesh."""
    try:
        manifest = find_manifest(service, load_settings())
    except MeshError as error:
        if error.reason != "SERVICE_NOT_FOUND":
            raise
        stderr.print(f"[dim]{error.message} (in this folder; asking the mesh)[/]", highlight=False)
        return
    if manifest.contract != spoken:
        raise InvalidArgument(
            f"service '{service}' speaks the contract {manifest.contract}: use"
            f" `slmesh {manifest.contract} {service}`",
            reason="WRONG_CONTRACT",
        )


def _request(spoken: str, row: dict[str, Any], number: int) -> Any:
    values = dict(row)
    if "text" in values and spoken == "rank":
        values["query"] = values.pop("text")
    if "text" in values and spoken == "guard":
        values["segments"] = [{"text": values.pop("text"), "origin": "ORIGIN_USER"}]
    fields = contract(spoken).single.request_type.DESCRIPTOR.fields_by_name
    try:
        known = {key: value for key, value in values.items() if key in fields}
        if not known:
            raise ParseError(
                f"none of its keys ({', '.join(values)}) is one of {', '.join(fields)}"
            )
        return ParseDict(known, contract(spoken).single.request_type())
    except ParseError as error:
        raise InvalidArgument(f"row {number}: {error}", reason="INVALID_ROW") from None


def _rows(text: str, file: Path | None) -> list[dict[str, Any]]:
    if file is not None and text:
        raise InvalidArgument("give a text or --file, not both", reason="USAGE")
    rows = list(_read_jsonl(file)) if file is not None else [{"text": _read_text(text)}]
    if not rows:
        raise InvalidArgument(f"{file} has no rows", reason="EMPTY_FILE")
    return rows


def _read_text(text: str) -> str:
    if text == "-":
        return sys.stdin.read().rstrip("\n")
    if not text:
        raise InvalidArgument("no text: give one, or --file, or `-` to read it", reason="USAGE")
    return text


def _read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{path} cannot be read: {error}", reason="FILE_UNREADABLE") from None
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InvalidArgument(f"{path}, line {number}: {error}", reason="INVALID_ROW") from None
        if not isinstance(row, dict):
            raise InvalidArgument(f"{path}, line {number}: not an object", reason="INVALID_ROW")
        yield row
