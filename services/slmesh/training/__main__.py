"""``python -m slmesh.training NAME --data-dir DIR``: makes the bundle of one recipe."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from slmesh.mesh.errors import MeshError
from slmesh.mesh.settings import load_settings
from slmesh.training.make import train

__all__ = ["main"]


def main() -> int:
    """Train one model and say where its bundle lies."""
    parser = argparse.ArgumentParser(prog="slmesh.training", description="Train one model.")
    parser.add_argument("name", help="a folder of the models folder with a recipe.yaml")
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    arguments = parser.parse_args()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, disable=not sys.stderr.isatty()) as bars:
        tasks: dict[str, int] = {}

        def show(step: str, fraction: float) -> None:
            if step not in tasks:
                tasks[step] = int(bars.add_task(step, total=1.0))
                if bars.disable:
                    sys.stderr.write(f"{step}\n")
            bars.update(tasks[step], completed=fraction)  # type: ignore[arg-type]

        try:
            cache_dir = load_settings().cache_dir
            bundle = train(
                arguments.name, arguments.models_dir, arguments.data_dir, cache_dir, show
            )
        except MeshError as error:
            sys.stderr.write(f"{error.message}\n")
            return 1
    sys.stdout.write(f"{bundle.folder} {bundle.digest}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
