"""The command line: which commands there are, and how errors are shown.

Commands are thin: they read arguments, call one function of the package and print. What a program may
read is printed as JSON with ``--json``, on standard output; progress goes to standard error.
"""

from __future__ import annotations

import typer

from slmesh.cli import (
    budgets,
    deployment,
    drill,
    escalation,
    evaluate,
    export,
    factory,
    ledger,
    lifecycle,
    mesh_calls,
    models,
    policy,
    replay,
    routing,
)
from slmesh.cli.output import fail
from slmesh.mesh.errors import MeshError

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    suggest_commands=True,
    help="A small-first, large-when-needed mesh of model services.",
)
lifecycle.add_to(app)
routing.add_to(app)
mesh_calls.add_to(app)
models.add_to(app)
evaluate.add_to(app)
drill.add_to(app)
budgets.add_to(app)
escalation.add_to(app)
ledger.add_to(app)
replay.add_to(app)
policy.add_to(app)
factory.add_to(app)
export.add_to(app)
deployment.add_to(app)


def main() -> None:
    """Run the command line; an error of the mesh is printed with what to do about it."""
    try:
        app()
    except MeshError as error:
        fail(error)
