"""Services that take memory when they are told to, for a mesh of the drill's own.

A shipped service has no such hook. The drill writes service folders that stand above the shipped ones
of the same name: the same manifest, model and class, and a thread that waits at a pipe in the folder.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

import slmesh
from slmesh.mesh.manifest import Manifest
from slmesh.mesh.service import Resources

__all__ = ["hogging", "is_shipped", "start_hog", "write_drilled_services"]

_PACKAGE = Path(slmesh.__file__).resolve().parent
_PIPE = "hog"
_PIECE_BYTES = 4 * 1024 * 1024
_PAUSE_S = 0.005
_SERVICE = """\
from {module} import {name}

from slmesh.bench.drill.hog import hogging

Drilled = hogging({name})
"""


def is_shipped(manifest: Manifest) -> bool:
    """Return whether a service is one of the package."""
    return manifest.folder.is_relative_to(_PACKAGE)


def write_drilled_services(folder: Path, manifests: Iterable[Manifest]) -> None:
    """Write a folder for each of the shipped services.

    Args:
        folder: The service path to be.
        manifests: The shipped services.
    """
    for manifest in manifests:
        home = folder / manifest.name
        shutil.copytree(manifest.folder, home, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
        declared = yaml.safe_load((home / "service.yaml").read_text(encoding="utf-8"))
        declared["class"] = "Drilled"
        (home / "service.yaml").write_text(yaml.safe_dump(declared), encoding="utf-8")
        module = (manifest.folder / "service").relative_to(_PACKAGE.parent)
        code = _SERVICE.format(module=".".join(module.parts), name=manifest.class_name)
        (home / "service.py").write_text(code, encoding="utf-8")
        os.mkfifo(home / _PIPE)


def start_hog(folder: Path) -> None:
    """Tell the replica of a drilled service to take memory.

    Raises:
        OSError: No replica waits.
    """
    pipe = os.open(folder / _PIPE, os.O_WRONLY | os.O_NONBLOCK)
    os.close(pipe)


def hogging(service: type[Any]) -> type[Any]:
    """Return a service's class whose process can be told to take memory."""

    def load(self: Any, resources: Resources) -> None:
        service.load(self, resources)
        pipe = resources.manifest.folder / _PIPE
        threading.Thread(target=_hog, args=(pipe,), daemon=True).start()

    return type("Drilled", (service,), {"load": load})


def _hog(pipe: Path) -> None:
    with pipe.open("rb"):  # waits until somebody opens the other end
        pass
    held: list[bytes] = []
    while True:
        with contextlib.suppress(MemoryError):  # it keeps what it has
            held.append(b"x" * _PIECE_BYTES)
        time.sleep(_PAUSE_S)
