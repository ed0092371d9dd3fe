"""Model bundles: one version of one model on disk, verified before a byte of it is used.

A bundle is a folder with ``bundle.json`` and the files it lists, each with its SHA-256. The digest of
the bundle is taken over the canonical JSON of ``bundle.json`` without the digest itself, and so over
everything. Weights are safetensors or ONNX; nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from slmesh.api.types.v1.provenance_pb2 import Provenance
from slmesh.mesh.errors import FailedPrecondition, NotFound
from slmesh.mesh.naming import suggestion

if TYPE_CHECKING:
    import numpy as np

__all__ = ["BUNDLE_FILE", "Bundle", "digest_of", "find_bundle", "load_bundle", "write_bundle"]

BUNDLE_FILE = "bundle.json"
FORMAT = 1
_WEIGHTS = "weights.safetensors"
_REQUIRED = ("name", "version", "contract", "label_set", "tiers", "files", "digest")


@dataclass(frozen=True)
class Bundle:
    """A verified bundle.

    Attributes:
        folder: Where it lies.
        content: Everything ``bundle.json`` says, read-only.
    """

    folder: Path
    content: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The model's name."""
        return str(self.content["name"])

    @property
    def version(self) -> str:
        """The bundle's version, three numbers."""
        return str(self.content["version"])

    @property
    def contract(self) -> str:
        """The contract and its revision the bundle was made for: ``classify/v1``."""
        return str(self.content["contract"])

    @property
    def digest(self) -> str:
        """``sha256:`` and the digest over the whole bundle."""
        return str(self.content["digest"])

    @property
    def label_set_revision(self) -> str:
        """The revision of the label set."""
        return str(self.content["label_set"]["revision"])

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of the weights' columns."""
        return tuple(self.content["label_set"]["labels"])

    @property
    def tiers(self) -> tuple[str, ...]:
        """The tiers the bundle has weights for, cheapest first."""
        return tuple(self.content["tiers"])

    @property
    def backbone(self) -> Mapping[str, str] | None:
        """Name and digest of the encoder the bundle builds on, or None."""
        return self.content.get("backbone")

    @property
    def calibration(self) -> Mapping[str, Any]:
        """What turns scores into probabilities."""
        return self.content.get("calibration") or {}

    @property
    def thresholds(self) -> Mapping[str, Any]:
        """Operating thresholds, chosen on validation data."""
        return self.content.get("thresholds") or {}

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Numbers the model's own code needs."""
        return self.content.get("parameters") or {}

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Figures measured on validation data when the bundle was made."""
        return self.content.get("metrics") or {}

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the bundle's arrays by name."""
        from safetensors.numpy import load_file

        return load_file(self.folder / _WEIGHTS)

    def provenance(self, service: str, tier: str) -> Provenance:
        """Return the provenance of an answer this bundle gave."""
        return Provenance(
            service=service,
            model=self.name,
            version=self.version,
            digest=self.digest,
            label_set_revision=self.label_set_revision,
            tier=tier,
        )


def load_bundle(folder: Path) -> Bundle:
    """Read and verify a bundle.

    Raises:
        FailedPrecondition: A file is missing, or its digest is not the one written down; the file,
            the expected and the found digest are named.
    """
    path = folder / BUNDLE_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _refused(f"{path} is missing") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise _refused(f"{path} cannot be read: {error}") from error
    missing = [key for key in _REQUIRED if key not in content]
    if missing:
        raise _refused(f"{path} lacks {', '.join(missing)}")
    if content.get("format") != FORMAT:
        raise _refused(f"{path} has format {content.get('format')}, this version reads {FORMAT}")
    for name, expected in content["files"].items():
        if Path(name).name != name:
            raise _refused(f"{path} lists '{name}', which is not a file of the bundle's folder")
        _verify(folder / name, expected)
    found = _content_digest(content)
    if found != content["digest"]:
        raise _mismatch(path, content["digest"], found)
    return Bundle(folder, MappingProxyType(content))


def find_bundle(reference: str, folders: Iterable[Path]) -> Path:
    """Return the folder of a bundle.

    Args:
        reference: ``name``, which means its newest version, or ``name@version``.
        folders: Folders to search, in order; the first that has the model wins.

    Raises:
        NotFound: No folder has it.
    """
    name, _, wanted = reference.partition("@")
    known: set[str] = set()
    for root in folders:
        versions = {path.parent.name: path.parent for path in root.glob(f"{name}/*/{BUNDLE_FILE}")}
        known |= {path.parent.parent.name for path in root.glob(f"*/*/{BUNDLE_FILE}")}
        if not versions:
            continue
        if not wanted:
            return versions[max(versions, key=_version_key)]
        if wanted in versions:
            return versions[wanted]
        raise NotFound(
            f"model '{name}' has no version '{wanted}'{suggestion(wanted, versions)}",
            reason="MODEL_NOT_FOUND",
        )
    raise NotFound(f"no model '{name}'{suggestion(name, known)}", reason="MODEL_NOT_FOUND")


def write_bundle(
    folder: Path,
    content: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray],
    texts: Mapping[str, str],
) -> Bundle:
    """Write a bundle and read it back verified.

    Args:
        folder: Where to; made when missing.
        content: What ``bundle.json`` says, without ``format``, ``files``, ``digest`` and the label
            set's revision, which are filled in.
        tensors: Arrays by name.
        texts: Further files by name, such as ``card.md``.
    """
    import numpy as np
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    # safetensors writes an array in Fortran order without a word as if it were in C order
    ordered = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    save_file(ordered, folder / _WEIGHTS)
    (folder / _WEIGHTS).chmod(0o644)  # safetensors writes for its owner alone
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    labels = sorted(content["label_set"]["labels"])
    revision = hashlib.sha256("\n".join(labels).encode()).hexdigest()[:12]
    complete = dict(content) | {
        "format": FORMAT,
        "label_set": dict(content["label_set"]) | {"revision": revision},
        "files": {name: digest_of(folder / name) for name in sorted([_WEIGHTS, *texts])},
    }
    complete["digest"] = _content_digest(complete)
    text = json.dumps(complete, indent=1, ensure_ascii=False, sort_keys=True)
    (folder / BUNDLE_FILE).write_text(text + "\n", encoding="utf-8")
    return load_bundle(folder)


def digest_of(path: Path) -> str:
    """Return ``sha256:`` and the digest of a file."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def _content_digest(content: Mapping[str, Any]) -> str:
    bare = {key: value for key, value in content.items() if key != "digest"}
    text = json.dumps(bare, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def _verify(path: Path, expected: str) -> None:
    try:
        found = digest_of(path)
    except OSError:
        raise _refused(f"{path} is missing") from None
    if found != expected:
        raise _mismatch(path, expected, found)


def _mismatch(path: Path, expected: str, found: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"{path} was changed: expected {expected}, found {found}",
        reason="DIGEST_MISMATCH",
        metadata={"file": path.name, "expected": expected, "found": found},
    )


def _refused(message: str) -> FailedPrecondition:
    return FailedPrecondition(message, reason="INVALID_BUNDLE")


def _version_key(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))
