"""Makes each peer's environment: a virtual environment of its own with the pinned requirements."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from slmesh.mesh.errors import Unavailable
from slmesh.mesh.settings import Settings

__all__ = ["PEERS", "peer_python"]

PEERS = ("litserve", "bentoml", "mlserver")
"""Names of the peers; each has a file of requirements here."""

_TIMEOUT_S = 1800
_READY = "ready"


def peer_python(
    peer: str, settings: Settings, on_progress: Callable[[str], None] = lambda step: None
) -> Path:
    """Return the interpreter of a peer's environment, made when its requirements are new.

    Raises:
        Unavailable: The requirements cannot be installed; pip's last words are in the message.
    """
    requirements = files("slmesh.bench.peers").joinpath(f"{peer}.requirements.txt").read_text()
    digest = hashlib.sha256(requirements.encode()).hexdigest()[:12]
    folder = settings.state_dir / "bench" / "peers" / f"{peer}-{digest}"
    python = folder.absolute() / "bin" / "python"
    if (folder / _READY).is_file():
        return python
    on_progress(f"installing {peer} into {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    pinned = folder / "requirements.txt"
    pinned.write_text(requirements, encoding="utf-8")
    install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [*install, "-r", str(pinned)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S)
        if done.returncode:
            raise Unavailable(f"{peer} cannot be installed here: {done.stderr[-1000:]}")
    (folder / _READY).touch()
    return python
