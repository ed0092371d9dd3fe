"""Commands that measure: a model's figures on data, and the mesh's speed and memory."""

from __future__ import annotations

import typer

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
