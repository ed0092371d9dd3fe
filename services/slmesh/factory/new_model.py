"""From a user's file to a service in one call: read, check, split, train, write.

It joins the parts and knows no details of any.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from slmesh.factory.inspection import Finding, inspect
from slmesh.factory.own_recipe import Provided, ordered_levels, write_recipe
from slmesh.factory.service_files import check_service, write_service
from slmesh.factory.table import Columns, read_table
from slmesh.mesh.bundle import Bundle
from slmesh.mesh.errors import InvalidArgument
from slmesh.training.make import train
from slmesh.weights.fetch import Progress

__all__ = ["MODELS_FOLDER", "Made", "Order", "make_service", "next_version"]

MODELS_FOLDER = "models"
"""Where, in a folder of services, their bundles lie."""

_FIRST_VERSION = "0.1.0"


@dataclass(frozen=True)
class Order:
    """What a user asks for.

    Attributes:
        name: The name of the service and its model.
        contract: ``classify``, ``score``, ``rank`` or ``extract``.
        file: The data.
        folder: Where services and models go.
        columns: Which columns to read.
        encoding: Of the file.
        outside_label: The label of rows out of scope, or "".
        levels: For ``score``, the levels, lowest first; may be empty when they are numbers.
        backbone: The encoder, or "" for the linear tier alone.
        description: One sentence for manifest and card, or "".
        licence: Of the data, for the card.
    """

    name: str
    contract: str
    file: Path
    folder: Path
    columns: Columns = field(default_factory=Columns)
    encoding: str = "utf-8"
    outside_label: str = ""
    levels: tuple[str, ...] = ()
    backbone: str = "all-MiniLM-L6-v2"
    description: str = ""
    licence: str = "not stated"


@dataclass(frozen=True)
class Made:
    """What was made.

    Attributes:
        bundle: The bundle.
        service_folder: The folder with the two service files.
        training_rows: Rows that trained.
        validation_rows: Rows that validated.
        findings: What the check of the data found.
    """

    bundle: Bundle
    service_folder: Path
    training_rows: int
    validation_rows: int
    findings: tuple[Finding, ...]


def make_service(
    order: Order,
    cache_dir: Path,
    progress: Progress,
    on_findings: Callable[[tuple[Finding, ...]], None],
) -> Made:
    """Make a service from a file.

    Args:
        order: What is asked for.
        cache_dir: The folder of everything fetched or compiled.
        progress: Told of each step.
        on_findings: Told what the check found, before training begins.

    Raises:
        InvalidArgument: The file or its rows cannot be used; file, row and column are named.
        FailedPrecondition: The name cannot be used, or something training needs is not installed.
    """
    service_folder = order.folder / order.name
    check_service(service_folder, order.contract)
    rows = read_table(order.file, order.columns, order.encoding)
    inspected = inspect(rows, str(order.file), order.outside_label)
    on_findings(inspected.findings)
    if order.outside_label and not inspected.outside:
        raise InvalidArgument(
            f"{order.file}: no usable row has the label '{order.outside_label}' of --outside-label",
            field="outside_label",
        )
    labels = {row.label for row in inspected.train}
    levels = ordered_levels(labels, order.levels) if order.contract == "score" else ()
    description = order.description or _description(order, len(labels))
    models = order.folder / MODELS_FOLDER
    model_folder = models / order.name
    provided = Provided(order.file, description, order.licence, order.backbone, levels=levels)
    write_recipe(model_folder, next_version(model_folder), inspected, provided)
    bundle = train(order.name, models, model_folder, cache_dir, progress)
    write_service(service_folder, order.contract, description)
    return Made(
        bundle, service_folder, len(inspected.train), len(inspected.validation), inspected.findings
    )


def _description(order: Order, labels: int) -> str:
    if order.contract == "score":
        return f"Places a text on a scale of {labels} levels, learnt from {order.file.name}"
    return f"Names which of {labels} labels a text has, learnt from {order.file.name}"


def next_version(model_folder: Path) -> str:
    """Return the version after the newest, its second number one higher; 0.1.0 for the first."""
    found = [
        tuple(map(int, path.parent.name.split(".")))
        for path in model_folder.glob("*/bundle.json")
        if re.fullmatch(r"\d+\.\d+\.\d+", path.parent.name)
    ]
    if not found:
        return _FIRST_VERSION
    major, minor, _ = max(found)
    return f"{major}.{minor + 1}.0"
