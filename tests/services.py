"""Small real services that tests write into a folder, found there like any user's own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

from slmesh.mesh.settings import Settings, load_settings

ECHO = '''
"""Labels a text with its own words, and misbehaves on request."""
import time
from slmesh.api.classify.v1 import classify_pb2 as pb
from slmesh.mesh.errors import InvalidArgument, Unavailable

def threads():
    """Return how many threads NumPy's BLAS multiplies with, as the library itself says."""
    import ctypes, pathlib
    import numpy
    numpy.ones((2, 2)) @ numpy.ones((2, 2))
    lines = pathlib.Path("/proc/self/maps").read_text().splitlines()
    path = next(line.split()[-1] for line in lines if "openblas" in line)
    return str(ctypes.CDLL(path).scipy_openblas_get_num_threads64_())

class Echo:
    """Answers with the first word."""

    def load(self, resources):
        self.sizes = []
        self.manifest = resources.manifest

    def check(self, request):
        if request.text.startswith("refuse"):
            raise InvalidArgument("the text starts with 'refuse'", field="text")

    def answer(self, requests):
        self.sizes.append(len(requests))
        return [self._one(request) for request in requests]

    def _one(self, request):
        word, _, rest = request.text.partition(" ")
        if word == "sleep":
            time.sleep(float(rest))
        if word == "crash":
            raise RuntimeError("secret /etc/passwd 10.0.0.1")
        if word == "eat":
            # piece by piece, as a leak does
            eaten = [time.sleep(0.005) or b"x" * 2**20 for _ in range(int(rest))]
        if word == "grab":
            eaten = b"x" * (int(rest) * 2**20)
        if word == "threads":
            word = threads()
        if word == "down":
            return Unavailable("the model is away", retry_delay_s=2.0)
        label = pb.Label(name=word or "empty", probability=1.0)
        bundle_free = dict(service=self.manifest.name, model="echo", version="1", tier="rules")
        return pb.ClassifyResponse(labels=pb.Labels(labels=[label]), provenance=bundle_free)
'''


def write_service(
    folder: Path, name: str, code: str = ECHO, class_name: str = "Echo", **keys: object
) -> Path:
    """Write a service's two files into ``folder/name`` and return that folder."""
    home = folder / name
    home.mkdir(parents=True, exist_ok=True)
    keys = {"contract": "classify"} | keys
    lines = [f"name: {name}", f"class: {class_name}", *(f"{k}: {v}" for k, v in keys.items())]
    (home / "service.yaml").write_text("\n".join(lines) + "\n")
    (home / "service.py").write_text(textwrap.dedent(code))
    return home


def settings_for(folder: Path, **values: object) -> Settings:
    """Return settings that find services in ``folder`` and keep all state under it."""
    defaults = {"service_path": (folder,), "state_dir": folder / "state"}
    return load_settings({}, **(defaults | values))


def run_slmesh(
    *arguments: str, folder: Path, text: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder as a user does, with no other setting than those given.

    Args:
        arguments: What follows ``slmesh``.
        folder: Where it runs.
        text: Its standard input.
        environment: Its settings, by their variables.
    """
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SLMESH_")}
    return subprocess.run(
        [sys.executable, "-m", "slmesh.cli", *arguments],
        env=clean | environment,
        cwd=folder,
        input=text,
        capture_output=True,
        text=True,
        timeout=300,
    )
