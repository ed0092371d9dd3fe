"""The ``slmesh`` command."""

from slmesh.cli.app import app

__all__ = ["app"]
