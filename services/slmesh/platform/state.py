"""The files of a running mesh in its state folder, and the lock that makes it the only one there.

::

    run/mesh.lock             held by the supervisor for as long as it lives
    run/mesh.json             what the supervisor knows: addresses, processes, services
    run/replicas/*.json       one file of each replica, see slmesh.mesh.replica_record
    logs/                     one log of each process
    prometheus/targets.json   what Prometheus scrapes
    ray                       Ray's own files, or a link to them
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slmesh.mesh.errors import FailedPrecondition

__all__ = ["MeshState", "write_json"]

_LONGEST_SHORT_PATH = 30
"""Serve adds up to 67 characters to make the path of a socket of HAProxy, which takes 97."""


class MeshState:
    """The state folder of one mesh.

    Args:
        state_dir: The folder; made when missing.
    """

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir.resolve()
        self._lock: int | None = None

    @property
    def run_dir(self) -> Path:
        """What is only true while the mesh runs."""
        return self.state_dir / "run"

    @property
    def logs_dir(self) -> Path:
        """The logs of the mesh's processes."""
        return self.state_dir / "logs"

    @property
    def targets_path(self) -> Path:
        """The Prometheus ``file_sd`` file."""
        return self.state_dir / "prometheus" / "targets.json"

    def acquire(self) -> None:
        """Become the one supervisor of this folder.

        Raises:
            FailedPrecondition: Another one is at work.
        """
        self.run_dir.mkdir(parents=True, exist_ok=True)
        lock = os.open(self.run_dir / "mesh.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            pid = self.read().get("pid", "unknown")
            raise FailedPrecondition(
                f"the mesh in {self.state_dir} is already up (process {pid}); stop it with"
                " `slmesh down`, or start another one with another SLMESH_STATE_DIR",
                reason="MESH_ALREADY_UP",
            ) from None
        self._lock = lock

    def release(self) -> None:
        """Let another supervisor have the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def is_held(self) -> bool:
        """Return whether a supervisor is at work in this folder."""
        try:
            lock = os.open(self.run_dir / "mesh.lock", os.O_RDWR)
        except OSError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(lock)
        return False

    def read(self) -> dict[str, Any]:
        """Return what the supervisor last wrote; empty when there is nothing."""
        with contextlib.suppress(OSError, ValueError):
            content = json.loads((self.run_dir / "mesh.json").read_text(encoding="utf-8"))
            if isinstance(content, dict):
                return content
        return {}

    def write(self, content: Mapping[str, Any]) -> None:
        """Replace what other processes read."""
        write_json(self.run_dir / "mesh.json", content)

    def make_short_dir(self) -> Path:
        """Return an empty folder for Ray whose path leaves room for the names of Unix sockets.

        It is ``ray`` in the state folder, or a temporary folder that ``ray`` is a link to.
        """
        self.remove_short_dir()
        visible = self.state_dir / "ray"
        if len(str(visible)) <= _LONGEST_SHORT_PATH:
            visible.mkdir(mode=0o700)
            return visible
        short = Path(tempfile.mkdtemp(prefix="slmesh-", dir=_shortest_temporary_folder()))
        visible.symlink_to(short, target_is_directory=True)
        return short

    def remove_short_dir(self) -> None:
        """Remove Ray's files and sockets; its logs of the last run are kept in ``logs/ray``."""
        visible = self.state_dir / "ray"
        if not visible.is_symlink() and not visible.exists():
            return
        self._keep_ray_logs(visible)
        if visible.is_symlink():
            target = visible.readlink()
            if target.name.startswith("slmesh-"):
                shutil.rmtree(target, ignore_errors=True)
            visible.unlink()
        else:
            shutil.rmtree(visible, ignore_errors=True)

    def clear(self) -> None:
        """Remove what is only true while the mesh runs; the lock and the logs stay."""
        (self.run_dir / "mesh.json").unlink(missing_ok=True)
        for name in ("replicas", "failures", "loaded"):
            shutil.rmtree(self.run_dir / name, ignore_errors=True)
        if self.targets_path.exists():
            write_json(self.targets_path, [])

    def _keep_ray_logs(self, ray_dir: Path) -> None:
        kept = self.logs_dir / "ray"
        sessions = sorted(ray_dir.glob("tmp/session_2*/logs"))
        if sessions:
            shutil.rmtree(kept, ignore_errors=True)
            kept.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(OSError, shutil.Error):
                shutil.move(str(sessions[-1]), kept)


def write_json(path: Path, content: Any) -> None:
    """Replace a JSON file; a reader sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(f".{os.getpid()}.new")
    new.write_text(json.dumps(content, indent=1), encoding="utf-8")
    new.replace(path)


def _shortest_temporary_folder() -> str:
    default = tempfile.gettempdir()
    if len(default) > len("/tmp") and os.access("/tmp", os.W_OK):
        return "/tmp"
    return default
