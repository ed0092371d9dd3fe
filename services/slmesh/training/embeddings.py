"""Embeddings of training texts, computed by the compiled encoder once and kept in the cache.

Training sees exactly what serving will compute. They are kept in parts as they are made, so that a
run that was killed goes on where it was. Safe to delete. It knows no task.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from slmesh.tiers.encoder import INT8_FILE, SentenceEncoder, encoder_folder
from slmesh.weights.fetch import Progress, silent

__all__ = ["embed"]

_STEP = 256
_PART = 2048
"""Texts that are kept together: some seconds of work, which a killed run loses at most."""


def embed(
    texts: Sequence[str],
    cache_dir: Path,
    backbone_digest: str,
    progress: Progress = silent,
) -> np.ndarray:
    """Return the embeddings of some texts, float32 (B, D).

    Args:
        texts: What to embed.
        cache_dir: The folder of everything fetched or compiled.
        backbone_digest: The encoder's digest.
        progress: Told of each step.

    Raises:
        FailedPrecondition: The encoder is not compiled, or damaged.
    """
    folder = encoder_folder(cache_dir, backbone_digest)
    encoder = SentenceEncoder(folder)
    kept = cache_dir / "embeddings"
    path = kept / f"{_key(texts, folder / INT8_FILE)}.npy"
    if path.is_file():
        progress(f"embedding {len(texts)} texts: reusing", 1.0)
        return _read(path)
    # Long texts together, so that little of a batch is padding.
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    embeddings = np.empty((len(texts), encoder.dimensions), np.float32)
    parts = [order[start : start + _PART] for start in range(0, len(order), _PART)]
    part_paths = [path.with_suffix(f".{number}.npy") for number in range(len(parts))]
    for number, (chosen, part_path) in enumerate(zip(parts, part_paths, strict=True)):
        if part_path.is_file():
            embeddings[chosen] = _read(part_path)
            continue
        for start in range(0, len(chosen), _STEP):
            some = chosen[start : start + _STEP]
            embeddings[some] = encoder.encode([texts[i] for i in some])
            done = number * _PART + start + len(some)
            progress(f"embedding {len(texts)} texts", done / len(texts))
        if len(parts) > 1:
            _write(part_path, embeddings[chosen])
    _write(path, embeddings)
    for part_path in part_paths:
        part_path.unlink(missing_ok=True)
    return embeddings


def _read(path: Path) -> np.ndarray:
    kept: np.ndarray = np.load(path, allow_pickle=False)
    return kept


def _write(path: Path, embeddings: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished.npy")
    np.save(unfinished, embeddings)
    unfinished.replace(path)


def _key(texts: Sequence[str], model: Path) -> str:
    digest = hashlib.sha256(model.read_bytes())
    for text in texts:
        digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()[:32]
