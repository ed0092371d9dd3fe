"""Commands that measure: a model's figures on data, and the mesh's speed and memory."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from slmesh.cli.bench_small import bench_slm
from slmesh.cli.output import JsonOption, print_json, print_table, progress_bar, remark
from slmesh.evaluation.cases import Cases
from slmesh.evaluation.subject import Subject
from slmesh.mesh.client import Mesh
from slmesh.mesh.errors import InvalidArgument
from slmesh.mesh.settings import Settings, load_settings

__all__ = ["add_to"]

_DIGITS = 6

DataOption = Annotated[
    list[Path] | None,
    typer.Option(help="Labelled files of a bank's customers, instead of validation rows."),
]
DataDirOption = Annotated[
    Path, typer.Option("--data-dir", help="Folder with the data sets that validate models.")
]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("eval")(_eval)
    bench = typer.Typer(
        no_args_is_help=True,
        help="Measure: hops, memory, policy, start, small models, the router, latency budgets.",
    )
    bench.command("budget")(_bench_budget)
    bench.command("hop")(_bench_hop)
    bench.command("litellm")(_bench_litellm)
    bench.command("memory")(_bench_memory)
    bench.command("policy")(_bench_policy)
    bench.command("router")(_bench_router)
    bench.command("startup")(_bench_startup)
    bench.command("slm")(bench_slm)
    app.add_typer(bench, name="bench")


def _eval(
    service: Annotated[str, typer.Argument(help="The service, or a model that no service uses.")],
    data: Annotated[
        list[Path], typer.Option("--data", help="JSON Lines, gzip or not; may be given often.")
    ],
    more: Annotated[
        list[Path] | None, typer.Argument(help="More files, after the one of --data.")
    ] = None,
    format_name: Annotated[
        str, typer.Option("--format", help="The files' format; told by their columns when empty.")
    ] = "",
    split: Annotated[
        str,
        typer.Option(help="all, train, validation or test, of a set that is not split already."),
    ] = "all",
    limit: Annotated[
        int | None, typer.Option(min=1, help="The most cases, evenly spread over all.")
    ] = None,
    tier: Annotated[
        str, typer.Option(help="Hold the service to one tier: linear, encoder or cascade.")
    ] = "",
    address: Annotated[
        str, typer.Option("--address", help="host:port of a running mesh to ask instead.")
    ] = "",
    local: Annotated[
        bool, typer.Option("--local", help="Load the service into this process (the default).")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure a service on labelled data: the shipped bundle through the code that serves it."""
    from slmesh.evaluation import manifest_of, read_cases, subject_of, with_tier

    if address and (local or tier):
        raise InvalidArgument("--address goes with neither --local nor --tier", reason="USAGE")
    settings = load_settings()
    manifest = manifest_of(service, settings)
    if tier:
        manifest = with_tier(manifest, tier)
    subject = subject_of(manifest, settings, local=not address)
    data += more or []
    cases = read_cases(data, subject, format_name=format_name, split=split, limit=limit)
    for note in cases.notes:
        remark(note)
    figures = _rounded(asyncio.run(_measure(subject, cases, settings, address)))
    if as_json:
        print_json(figures)
    else:
        print_table(f"{service} on {', '.join(map(str, data))}", ("figure", ">"), _lines(figures))


def _bench_hop(
    rounds: Annotated[int, typer.Option(min=1, help="Rounds that count.")] = 7,
    as_json: JsonOption = False,
) -> None:
    """What a call costs through the mesh, against bare servers and Serve's default chain."""
    from slmesh.bench.hop import run
    from slmesh.cli.lifecycle import _require_mesh_extra

    _require_mesh_extra()
    _show_bench("hop", run(load_settings(), rounds=rounds, on_progress=remark), as_json)


def _bench_budget(
    data: DataOption = None,
    data_dir: DataDirOption = Path("data"),
    seconds: Annotated[float, typer.Option(min=1, help="How long calls come.")] = 60.0,
    as_json: JsonOption = False,
) -> None:
    """Answers within a declared budget of 150 ms, on a mesh at 70 % of what it can do."""
    from slmesh.bench.latency_budget import run
    from slmesh.cli.lifecycle import _require_mesh_extra

    _require_mesh_extra()
    figures = run(
        load_settings(), data_dir=data_dir, data=data or (), seconds=seconds, on_progress=remark
    )
    _show_bench("budget", figures, as_json)


def _bench_litellm(
    rounds: Annotated[int, typer.Option(min=1, help="Rounds that count.")] = 7,
    latency_ms: Annotated[
        float, typer.Option(min=0, help="What the server behind all takes for an answer.")
    ] = 20.0,
    as_json: JsonOption = False,
) -> None:
    """What the router adds to a call of an LLM, beside LiteLLM's proxy, installed if need be."""
    from slmesh.bench.llm_gateway import run
    from slmesh.cli.lifecycle import _require_mesh_extra

    _require_mesh_extra()
    figures = run(load_settings(), rounds=rounds, latency_ms=latency_ms, on_progress=remark)
    _show_bench("litellm", figures, as_json)


def _bench_router(
    data: DataOption = None,
    data_dir: DataDirOption = Path("data"),
    rounds: Annotated[int, typer.Option(min=1, help="Rounds that count.")] = 7,
    calls: Annotated[int, typer.Option(min=1, help="Calls of each side in a round.")] = 300,
    as_json: JsonOption = False,
) -> None:
    """What the router costs a request that needs no LLM, against a script with the same calls."""
    from slmesh.bench.router_cost import run
    from slmesh.cli.lifecycle import _require_mesh_extra

    _require_mesh_extra()
    figures = run(
        load_settings(),
        data_dir=data_dir,
        data=data or (),
        rounds=rounds,
        calls=calls,
        on_progress=remark,
    )
    _show_bench("router", figures, as_json)


def _bench_memory(as_json: JsonOption = False) -> None:
    """What the processes of the mesh that is up take in memory."""
    from slmesh.bench.memory import run

    _show_bench("memory", run(load_settings()), as_json)


def _bench_policy(
    rounds: Annotated[int, typer.Option(min=1, help="Rounds that count.")] = 7,
    as_json: JsonOption = False,
) -> None:
    """What the policy costs a hop, both ends together."""
    from slmesh.bench.policy_hop import run

    _show_bench("policy", run(load_settings(), rounds=rounds), as_json)


def _bench_startup(
    rounds: Annotated[int, typer.Option(min=1, help="Local meshes to start.")] = 3,
    as_json: JsonOption = False,
) -> None:
    """How long a mesh takes until all is healthy, and a local mesh to its first answer."""
    from slmesh.bench.startup import run
    from slmesh.cli.lifecycle import _require_mesh_extra

    _require_mesh_extra()
    _show_bench("startup", run(load_settings(), rounds=rounds, on_progress=remark), as_json)


def _show_bench(what: str, figures: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(figures)
    else:
        print_table(f"bench {what}", ("figure", ">"), _lines(figures))


async def _measure(
    subject: Subject, cases: Cases, settings: Settings, address: str
) -> dict[str, Any]:
    from slmesh.evaluation import evaluate, local_mesh

    with progress_bar(f"evaluate {subject.name}", len(cases.cases)) as advance:
        if address:
            async with Mesh.connect(address, settings=settings) as mesh:
                return await evaluate(mesh, subject, cases, advance)
        with local_mesh(subject, cases, settings) as mesh:
            async with mesh:
                return await evaluate(mesh, subject, cases, advance)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, _DIGITS)
    return (
        {key: _rounded(item) for key, item in value.items()} if isinstance(value, dict) else value
    )


def _lines(figures: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the figures as rows of a table, those of a group indented under its name."""
    rows: list[tuple[str, str]] = []
    for name, value in figures.items():
        if isinstance(value, dict):
            rows.append((name, ""))
            rows += [(f"  {inner}", shown) for inner, shown in _lines(value)]
        elif isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
            # a list of records: one line each, so that they can be compared
            rows += [(name, ", ".join(f"{k} {v}" for k, v in row.items() if v)) for row in value]
        else:
            rows.append((name, f"{value:.4f}" if isinstance(value, float) else str(value)))
    return rows
