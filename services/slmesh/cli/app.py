"""The command line: which commands there are, and how errors are shown.

Commands are thin: they read arguments, call one function of the package and print. What a program may
read is printed as JSON with ``--json``, on standard output; progress goes to standard error.
"""

from __future__ import annotations

from typing import Any

import click
import typer
from typer.core import TyperGroup

from slmesh.cli import evaluate, lifecycle, models, mesh_calls, routing
from slmesh.cli.output import fail
from slmesh.mesh.errors import MeshError
from slmesh.mesh.naming import suggestion

__all__ = ["app"]


class _Commands(TyperGroup):
    """Suggests the nearest command, and shows an error of the mesh as one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            ctx.fail(f"no command '{args[0]}'{suggestion(args[0], self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except MeshError as error:
            fail(error)
        except KeyboardInterrupt:
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A small-first, large-when-needed mesh of model services.",
)
lifecycle.add_to(app)
routing.add_to(app)
mesh_calls.add_to(app)
models.add_to(app)
evaluate.add_to(app)
