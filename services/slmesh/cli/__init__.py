"""The ``slmesh`` command."""

from slmesh.cli.app import app, main

__all__ = ["app", "main"]
