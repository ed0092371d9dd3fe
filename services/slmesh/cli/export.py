"""The command that writes a model as a folder that runs without slmesh."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slmesh.cli.output import JsonOption, console, print_json, remark
from slmesh.mesh.catalog import find_manifest
from slmesh.mesh.settings import load_settings

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export")(_export)


def _export(
    name: Annotated[str, typer.Argument(help="The service, as `slmesh status` lists it.")],
    to: Annotated[Path, typer.Option("--to", help="The folder to make.")],
    as_json: JsonOption = False,
) -> None:
    """Write a classifier or scorer as a folder for a device or a browser: ONNX and examples."""
    from slmesh.export import export_service

    settings = load_settings()

    made = export_service(find_manifest(name, settings), settings, to, lambda step, _: remark(step))
    if as_json:
        print_json(
            {
                "folder": str(made.folder),
                "model": made.model,
                "tiers": list(made.tiers),
                "size_bytes": made.size_bytes,
                "largest_difference": made.largest_difference,
            }
        )
        return
    console.print(
        f"[green]exported[/] {made.model} ({' and '.join(made.tiers)}) to {made.folder}:"
        f" {made.size_bytes / 2**20:.1f} MiB, probabilities within {made.largest_difference:.1g} of the"
        " service's",
        highlight=False,
    )
