"""Commands that make models: a service from a user's own file, and bundles from recipes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from slmesh.cli.output import JsonOption, console, print_json, print_table, stderr
from slmesh.mesh.settings import load_settings

if TYPE_CHECKING:
    from slmesh.factory.inspection import Finding
    from slmesh.factory.new_model import Made, Order
    from slmesh.mesh.bundle import Bundle

__all__ = ["add_to"]

NameArgument = Annotated[str, typer.Argument(help="The service's name: a-z, 0-9 and hyphens.")]
DataOption = Annotated[
    Path, typer.Option("--data", help="CSV or JSON Lines with a text and a label column.")
]
OutOption = Annotated[Path, typer.Option("--out", help="Folder for the service and its model.")]
TextOption = Annotated[str, typer.Option(help="Column of the text; guessed when left out.")]
LabelOption = Annotated[str, typer.Option(help="Column of the label; guessed when left out.")]
SplitOption = Annotated[
    str, typer.Option(help="Column that says train or validation, if the file is split.")
]
EncodingOption = Annotated[str, typer.Option(help="Encoding of the file.")]
LinearOption = Annotated[
    bool, typer.Option("--linear-only", help="Make the linear tier alone, without an encoder.")
]
BackboneOption = Annotated[
    str, typer.Option(help="The encoder: a known name, or a folder with its weights.")
]
DescriptionOption = Annotated[str, typer.Option(help="One sentence on what it is for.")]
LicenceOption = Annotated[str, typer.Option(help="Licence of the data, for the card.")]


ModelArgument = Annotated[str, typer.Argument(help="A folder of the models folder with a recipe.")]
DataDirOption = Annotated[
    Path, typer.Option("--data-dir", help="Folder with the data sets that the recipe names.")
]
ModelsDirOption = Annotated[Path, typer.Option("--models-dir", help="Folder of all models.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    new = typer.Typer(no_args_is_help=True, help="A service from your own file, in one command.")
    new.command("classify")(_new_classify)
    new.command("score")(_new_score)
    new.command("rank")(_new_rank)
    new.command("extract")(_new_extract)
    app.add_typer(new, name="new")
    app.command("train")(_train)
    app.command("calibrate")(_calibrate)
    app.command("card")(_card)


def _new_classify(
    name: NameArgument,
    data: DataOption,
    out: OutOption = Path("my_services"),
    text_column: TextOption = "",
    label_column: LabelOption = "",
    split_column: SplitOption = "",
    encoding: EncodingOption = "utf-8",
    outside_label: Annotated[
        str, typer.Option(help="The label of rows that are out of scope: it learns to abstain.")
    ] = "",
    linear_only: LinearOption = False,
    backbone: BackboneOption = "all-MiniLM-L6-v2",
    description: DescriptionOption = "",
    licence: LicenceOption = "not stated",
    as_json: JsonOption = False,
) -> None:
    """Make a service that names the label of a text."""
    from slmesh.factory.new_model import Order
    from slmesh.factory.table import Columns

    order = Order(
        name,
        "classify",
        data,
        out,
        Columns(text_column, label_column, split_column),
        encoding,
        outside_label,
        backbone="" if linear_only else backbone,
        description=description,
        licence=licence,
    )
    _make(order, as_json)


def _new_score(
    name: NameArgument,
    data: DataOption,
    levels: Annotated[
        str, typer.Option(help="The levels, lowest first, with commas; numbers need none.")
    ] = "",
    out: OutOption = Path("my_services"),
    text_column: TextOption = "",
    label_column: LabelOption = "",
    split_column: SplitOption = "",
    encoding: EncodingOption = "utf-8",
    linear_only: LinearOption = False,
    backbone: BackboneOption = "all-MiniLM-L6-v2",
    description: DescriptionOption = "",
    licence: LicenceOption = "not stated",
    as_json: JsonOption = False,
) -> None:
    """Make a service that places a text on a scale, the label being the level."""
    from slmesh.factory.new_model import Order
    from slmesh.factory.table import Columns

    order = Order(
        name,
        "score",
        data,
        out,
        Columns(text_column, label_column, split_column),
        encoding,
        levels=tuple(level.strip() for level in levels.split(",") if level.strip()),
        backbone="" if linear_only else backbone,
        description=description,
        licence=licence,
    )
    _make(order, as_json)


def _new_rank(
    name: NameArgument,
    data: DataOption,
    out: OutOption = Path("my_services"),
    text_column: TextOption = "",
    label_column: LabelOption = "",
    encoding: EncodingOption = "utf-8",
    linear_only: Annotated[
        bool, typer.Option("--words-only", help="Rank by words alone, without an encoder.")
    ] = False,
    backbone: BackboneOption = "all-MiniLM-L6-v2",
    description: DescriptionOption = "",
    licence: LicenceOption = "not stated",
    as_json: JsonOption = False,
) -> None:
    """Make a service that orders passages: the text is a question, the label what answers it."""
    from slmesh.factory.new_model import Order
    from slmesh.factory.table import Columns

    order = Order(
        name,
        "rank",
        data,
        out,
        Columns(text_column, label_column),
        encoding,
        backbone="" if linear_only else backbone,
        description=description,
        licence=licence,
    )
    _make(order, as_json)


def _new_extract(
    name: NameArgument,
    data: Annotated[
        Path,
        typer.Option("--data", help="CSV with [marked](field) texts, or JSON Lines with spans."),
    ],
    out: OutOption = Path("my_services"),
    text_column: TextOption = "",
    span_column: Annotated[str, typer.Option(help="Column of the spans, if not marked.")] = "",
    encoding: EncodingOption = "utf-8",
    encoder: Annotated[
        str,
        typer.Option(
            help="Fine-tune this encoder as a second tier: all-MiniLM-L6-v2, or a folder."
        ),
    ] = "",
    description: DescriptionOption = "",
    licence: LicenceOption = "not stated",
    as_json: JsonOption = False,
) -> None:
    """Make a service that finds fields in a text, from texts in which they are marked."""
    from slmesh.factory.new_model import Order
    from slmesh.factory.table import Columns

    order = Order(
        name,
        "extract",
        data,
        out,
        Columns(text_column, span_column),
        encoding,
        backbone=encoder,
        description=description,
        licence=licence,
    )
    _make(order, as_json)


def _train(
    name: ModelArgument,
    data_dir: DataDirOption = Path("data"),
    models_dir: ModelsDirOption = Path("models"),
    injection_only: Annotated[
        bool,
        typer.Option(
            "--injection-only", help="Of a guard: keep the check for personal data as it is."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a model by its recipe: bundle, card and plots. A second run uses what the first kept."""
    from slmesh.training.make import train
    from slmesh.training.shipped import train_injection_again

    making = train_injection_again if injection_only else train
    with step_bars() as progress:
        bundle = making(name, models_dir, data_dir, load_settings().cache_dir, progress)
    _say_written(bundle, as_json)


def _calibrate(
    name: ModelArgument,
    data_dir: DataDirOption = Path("data"),
    models_dir: ModelsDirOption = Path("models"),
    data: Annotated[
        Path | None, typer.Option("--data", help="Rows of your own instead of the recipe's.")
    ] = None,
    text_column: TextOption = "",
    label_column: LabelOption = "",
    as_json: JsonOption = False,
) -> None:
    """Choose temperatures and thresholds anew, weights as they are; makes the next version."""
    from slmesh.factory.table import Columns, read_table
    from slmesh.training.shipped import calibrate

    own = read_table(data, Columns(text_column, label_column)) if data is not None else ()
    with step_bars() as progress:
        cache_dir = load_settings().cache_dir
        bundle = calibrate(name, models_dir, data_dir, cache_dir, progress, own)
    _say_written(bundle, as_json)


def _card(
    name: ModelArgument,
    data_dir: DataDirOption = Path("data"),
    models_dir: ModelsDirOption = Path("models"),
    left_out: Annotated[
        bool,
        typer.Option(
            "--left-out", help="Of a guard: also train without each attack set (minutes)."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure a bundle again on its validation rows, and write its card and plots."""
    from slmesh.training.shipped import write_card_again

    with step_bars() as progress:
        cache_dir = load_settings().cache_dir
        bundle = write_card_again(name, models_dir, data_dir, cache_dir, progress, left_out)
    _say_written(bundle, as_json)


def _say_written(bundle: Bundle, as_json: bool) -> None:
    if as_json:
        described = {"model": bundle.name, "version": bundle.version, "digest": bundle.digest}
        print_json(described | {"bundle": str(bundle.folder), "metrics": dict(bundle.metrics)})
        return
    console.print(f"[green]written[/] {bundle.folder}", highlight=False, soft_wrap=True)
    console.print(f"        {bundle.digest}", highlight=False, soft_wrap=True)
    console.print(f"        {bundle.folder / 'card.md'}", highlight=False, soft_wrap=True)


def _make(order: Order, as_json: bool) -> None:
    from slmesh.factory.new_extractor import make_extractor
    from slmesh.factory.new_model import make_service
    from slmesh.factory.new_ranking import make_ranking

    make = {"rank": make_ranking, "extract": make_extractor}.get(order.contract, make_service)
    started = time.perf_counter()
    with step_bars() as progress:
        made = make(order, load_settings().cache_dir, progress, _show_findings)
    seconds = time.perf_counter() - started
    if as_json:
        print_json(_described(made, seconds))
        return
    _show(order, made, seconds)


@contextmanager
def step_bars() -> Iterator[Any]:
    """Show a bar with the time left for each step; yields what training reports to."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=stderr, transient=True) as bars:
        tasks: dict[str, Any] = {}

        def show(step: str, fraction: float) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=1.0)
                if not stderr.is_terminal:
                    stderr.print(f"  {step}", style="dim", highlight=False)
            bars.update(tasks[step], completed=fraction)

        yield show


def _show_findings(findings: tuple[Finding, ...]) -> None:
    if not findings:
        stderr.print("  data: nothing to remark", highlight=False)
    for finding in findings:
        message = escape(finding.message)
        stderr.print(f"  [yellow]data[/]: {message}", highlight=False, soft_wrap=True)


def _described(made: Made, seconds: float) -> dict[str, Any]:
    return {
        "model": made.bundle.name,
        "version": made.bundle.version,
        "contract": made.bundle.contract,
        "bundle": str(made.bundle.folder),
        "service": str(made.service_folder),
        "training_rows": made.training_rows,
        "validation_rows": made.validation_rows,
        "labels": len(made.bundle.labels),
        "findings": [
            {"kind": f.kind, "message": f.message, "rows": list(f.rows)} for f in made.findings
        ],
        "metrics": dict(made.bundle.metrics),
        "seconds": round(seconds, 1),
    }


_COLUMNS = {
    "classify": {
        "accuracy": "in_scope_accuracy_forced",
        "macro-F1": "macro_f1",
        "ECE": "ece",
        "p50 ms": "p50_ms",
    },
    "score": {"accuracy": "accuracy", "macro-F1": "macro_f1", "ECE": "ece", "p50 ms": "p50_ms"},
    "extract": {"precision": "precision", "recall": "recall", "span F1": "f1"},
    "rank": {"MRR@10": "mrr_10", "first is right": "right_first", "ECE": "ece"},
}


def _show(order: Order, made: Made, seconds: float) -> None:
    bundle = made.bundle
    metrics = bundle.metrics[order.name] if order.contract == "score" else bundle.metrics
    if order.contract == "extract":
        metrics = {tier: row["spans"] for tier, row in metrics.items()}
    columns = _COLUMNS[order.contract]
    console.print(
        f"[bold]{order.name} {bundle.version}[/]: {made.training_rows:,} rows trained it,"
        f" {made.validation_rows:,} measured it, {seconds:.0f} s",
        highlight=False,
    )
    print_table(
        "",
        ("tier", *(f">{name}" for name in columns)),
        ((tier, *(f"{row[key]:.3f}" for key in columns.values())) for tier, row in metrics.items()),
    )
    collection = f" --collection {order.name}" if order.contract == "rank" else ""
    for line in (
        "",
        f"service  {made.service_folder}/service.yaml, service.py",
        f"card     {bundle.folder / 'card.md'}",
        "",
        "next:",
        f"  export SLMESH_SERVICE_PATH={order.folder}",
        f'  slmesh {order.contract} {order.name} "a text of yours"{collection} --local',
        "  slmesh up",
    ):
        console.print(line, highlight=False, soft_wrap=True)
