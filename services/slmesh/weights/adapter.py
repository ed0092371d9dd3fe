"""Adapters of fine-tuned encoders: how a bundle holds one, its digest, and its merge into a backbone.

An adapter is small float16 arrays named after the backbone's weights: ``<weight>.a`` and
``<weight>.b``, whose product ``b a`` is added to a matrix, and ``<name>.delta``, which is added to a
vector. Pure numpy; this module knows no task and does not train.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from shutil import copyfile

import numpy as np

from slmesh.mesh.errors import FailedPrecondition

__all__ = ["PREFIX", "adapted_digest", "adapter_of", "merge_adapter"]

PREFIX = "adapter."
"""What the names of an adapter's arrays begin with in a bundle."""


def adapter_of(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the adapter among a bundle's arrays; nothing when it has none."""
    return {
        name.removeprefix(PREFIX): array
        for name, array in tensors.items()
        if name.startswith(PREFIX)
    }


def adapted_digest(backbone_digest: str, adapter: Mapping[str, np.ndarray]) -> str:
    """Return ``sha256:`` and the digest of a backbone with an adapter.

    It depends on what is compiled and on nothing else of the bundle, so that a new threshold or card
    compiles nothing anew; the bundle's own digest is over the arrays as well.
    """
    digest = hashlib.sha256(backbone_digest.encode())
    for name in sorted(adapter):
        array = np.ascontiguousarray(adapter[name])
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return "sha256:" + digest.hexdigest()


def merge_adapter(weights: Path, adapter: Mapping[str, np.ndarray], folder: Path) -> None:
    """Write a backbone with an adapter merged into it.

    Args:
        weights: A folder with ``model.safetensors``, ``config.json`` and ``tokenizer.json``.
        adapter: See the module.
        folder: Where the same three files are written.

    Raises:
        FailedPrecondition: The adapter names a weight the backbone lacks, or is of another shape.
    """
    from safetensors.numpy import load_file, save_file

    arrays = load_file(weights / "model.safetensors")
    for name, change in _changes(adapter).items():
        found = arrays[name].shape if name in arrays else "no such weight"
        if found != change.shape:
            raise FailedPrecondition(
                f"the adapter does not fit {weights.name}: '{name}' is {change.shape} in the"
                f" adapter and {found} in the backbone",
                reason="INVALID_BUNDLE",
            )
        arrays[name] = (arrays[name].astype(np.float32) + change).astype(arrays[name].dtype)
    save_file(arrays, folder / "model.safetensors", metadata={"format": "pt"})
    for name in ("config.json", "tokenizer.json"):
        copyfile(weights / name, folder / name)


def _changes(adapter: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what is added to each weight, float32."""
    changes = {}
    for name, array in adapter.items():
        weight, _, part = name.rpartition(".")
        if part == "a":
            changes[weight] = adapter[f"{weight}.b"].astype(np.float32) @ array.astype(np.float32)
        elif part == "delta":
            changes[weight] = array.astype(np.float32)
    return changes
