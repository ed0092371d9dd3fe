"""Embeddings of training texts, computed by the compiled encoder once and kept in the cache.

Training sees exactly what serving will compute. Safe to delete. It knows no task.
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
    path = cache_dir / "embeddings" / f"{_key(texts, folder / INT8_FILE)}.npy"
    if path.is_file():
        progress(f"embedding {len(texts)} texts: reusing", 1.0)
        kept: np.ndarray = np.load(path, allow_pickle=False)
        return kept
    # Long texts together, so that little of a batch is padding.
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    embeddings = np.empty((len(texts), encoder.dimensions), np.float32)
    for start in range(0, len(order), _STEP):
        chosen = order[start : start + _STEP]
        embeddings[chosen] = encoder.encode([texts[i] for i in chosen])
        progress(f"embedding {len(texts)} texts", min(1.0, (start + _STEP) / len(texts)))
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part.npy")
    np.save(unfinished, embeddings)
    unfinished.replace(path)
    return embeddings


def _key(texts: Sequence[str], model: Path) -> str:
    digest = hashlib.sha256(model.read_bytes())
    for text in texts:
        digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()[:32]
