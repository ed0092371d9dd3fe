"""slmesh: a small-first, large-when-needed mesh of model services."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slmesh.library import Mesh
    from slmesh.mesh.blocking import Blocking
    from slmesh.mesh.context import RequestContext
    from slmesh.mesh.errors import MeshError
    from slmesh.mesh.settings import Settings

__all__ = ["Blocking", "Mesh", "MeshError", "RequestContext", "Settings", "__version__"]

__version__ = "0.1.0"

_HOMES = {
    "Blocking": "slmesh.mesh.blocking",
    "Mesh": "slmesh.library",
    "MeshError": "slmesh.mesh.errors",
    "RequestContext": "slmesh.mesh.context",
    "Settings": "slmesh.mesh.settings",
}


def __getattr__(name: str) -> Any:
    # lazy, so that a program that needs one name does not pay for gRPC
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module 'slmesh' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)
