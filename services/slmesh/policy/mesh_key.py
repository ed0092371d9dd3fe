"""The key of a mesh: one file that every process of it can read, and nobody else."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from slmesh.mesh.errors import FailedPrecondition
from slmesh.mesh.settings import Settings

__all__ = ["KEY_NAME", "mesh_key"]

KEY_NAME = "mesh.key"
"""The file in the state folder, where the settings name no other."""

_BYTES = 32
_LEAST = 32


def mesh_key(settings: Settings) -> bytes:
    """Return the key, made now when the settings name none and the state folder has none yet.

    Raises:
        FailedPrecondition: The file cannot be read or written, or is too short for a key.
    """
    path = settings.mesh_key or settings.state_dir / KEY_NAME
    try:
        if settings.mesh_key is None and not path.exists():
            _make(path)
        key = path.read_bytes().strip()
    except OSError as error:
        raise FailedPrecondition(
            f"the mesh's key {path} cannot be used: {error.strerror}; set SLMESH_MESH_KEY to a file"
            " that every process of the mesh can read",
            reason="MESH_KEY_UNUSABLE",
        ) from None
    if len(key) < _LEAST:
        raise FailedPrecondition(
            f"the mesh's key {path} has {len(key)} characters, and needs {_LEAST} random ones",
            reason="MESH_KEY_UNUSABLE",
        )
    return key


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mine = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(_BYTES) + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        # whoever is first wins, and nobody ever reads half a key
        with contextlib.suppress(FileExistsError):
            os.link(mine, path)
    finally:
        mine.unlink()
