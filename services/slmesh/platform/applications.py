"""Makes the Ray Serve application of a service from its manifest.

Ray Serve imports :func:`build` on every cluster, local or in Kubernetes (``serveConfigV2`` names it),
with the settings in the environment. It knows nothing of where the cluster runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray import serve

from slmesh.mesh.catalog import find_manifest
from slmesh.mesh.errors import InvalidArgument
from slmesh.mesh.memory_limit import limit_memory
from slmesh.mesh.serve import Replica
from slmesh.mesh.settings import load_settings
from slmesh.platform.serve_options import serve_options
from slmesh.policy import open_gate

__all__ = ["build"]


def build(args: Mapping[str, str]) -> serve.Application:
    """Return the application of one service.

    Args:
        args: ``{"service": NAME}``.

    Raises:
        MeshError: There is no such service, or its manifest is wrong.
    """
    if set(args) != {"service"}:
        raise InvalidArgument(f"args must be {{'service': NAME}}, are {dict(args)}", field="args")
    manifest = find_manifest(args["service"], load_settings())
    deployment: Any = serve.deployment(Replica)
    options = serve_options(manifest)
    named = deployment.options(name=manifest.name, **options)
    bound: serve.Application = named.bind(manifest.name, open_gate, limit_memory)
    return bound
