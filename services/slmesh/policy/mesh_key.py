"""The key of a mesh: one file that every process of it can read, and nobody else."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from slmesh.mesh.errors import FailedPrecondition
from slmesh.mesh.settings import Settings

__all__ = ["KEY_NAME", "accepted_key", "key_files", "mesh_key"]

KEY_NAME = "mesh.key"
"""The file in the state folder, where the settings name no other."""

_ACCEPTED = ".accepted"
"""After the name of the key's file: the file of another key, whose seals count too."""

_BYTES = 32
_LEAST = 32


def mesh_key(settings: Settings) -> bytes:
    """Return the key, made now when the settings name none and the state folder has none yet.

    Raises:
        FailedPrecondition: The file cannot be read or written, or is too short for a key.
    """
    path, _ = key_files(settings)
    if settings.mesh_key is None and not path.exists():
        try:
            _make(path)
        except OSError as error:
            raise _unusable(path, error) from None
    return _read(path)


def accepted_key(settings: Settings) -> bytes | None:
    """Return the key that never seals and whose seals count too, or None where there is none.

    Raises:
        FailedPrecondition: The file cannot be read, or is too short for a key.
    """
    _, path = key_files(settings)
    return _read(path) if path.exists() else None


def key_files(settings: Settings) -> tuple[Path, Path]:
    """Return the file of the key that seals, and that of the other that is accepted."""
    path = settings.mesh_key or settings.state_dir / KEY_NAME
    return path, path.with_name(path.name + _ACCEPTED)


def _read(path: Path) -> bytes:
    try:
        key = path.read_bytes().strip()
    except OSError as error:
        raise _unusable(path, error) from None
    if len(key) < _LEAST:
        raise FailedPrecondition(
            f"the mesh's key {path} has {len(key)} characters, and needs {_LEAST} random ones",
            reason="MESH_KEY_UNUSABLE",
        )
    return key


def _unusable(path: Path, error: OSError) -> FailedPrecondition:
    return FailedPrecondition(
        f"the mesh's key {path} cannot be used: {error.strerror}; set SLMESH_MESH_KEY to a file"
        " that every process of the mesh can read",
        reason="MESH_KEY_UNUSABLE",
    )


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
