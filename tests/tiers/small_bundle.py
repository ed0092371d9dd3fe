"""A small real bundle with both tiers, trained here on a handful of texts, and an encoder for it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from slmesh.mesh.bundle import Bundle, write_bundle
from slmesh.tiers.encoder import Encoded
from slmesh.tiers.linear import quantise_columns
from slmesh.tiers.ngrams import NgramHasher

NGRAMS = {"bits": 12, "word_sizes": [1, 2], "char_sizes": [3, 4]}
LABELS = ["card", "loan", "transfer"]
TEXTS = {
    "card": ["my card is lost", "block the card", "new card please", "card was stolen"],
    "loan": ["apply for a loan", "loan interest rate", "repay my loan early", "loan for a house"],
    "transfer": ["transfer to my wife", "cancel the transfer", "send a transfer", "transfer fee"],
}
DIMENSIONS = 16
SURE = {"linear_scope": 0.0, "encoder_scope": 0.0, "switch": 0.0}


class WordEncoder:
    """Encodes a text as the mean of fixed random vectors of its words, and counts what it did."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def encode_with_cuts(self, texts: list[str]) -> Encoded:
        self.texts.extend(texts)
        rows = np.stack(
            [sum(map(_vector, text.split()), np.full(DIMENSIONS, 1e-6)) for text in texts]
        )
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return Encoded(rows.astype(np.float32), tuple(9 if len(t) > 200 else None for t in texts))


def _vector(word: str) -> np.ndarray:
    seed = int(hashlib.sha256(word.encode()).hexdigest()[:8], 16)
    return np.random.default_rng(seed).normal(size=DIMENSIONS)


def tensors() -> dict[str, np.ndarray]:
    """Return arrays of both tiers: the class means of the texts' features, as weights."""
    hasher = NgramHasher(**NGRAMS)
    texts = [text for label in LABELS for text in TEXTS[label]]
    ngrams = hasher.transform(texts)
    buckets = np.unique(ngrams.buckets)
    dense = np.zeros((len(texts), len(buckets)), np.float32)
    rows = np.repeat(np.arange(len(texts)), np.diff(ngrams.row_starts))
    dense[rows, np.searchsorted(buckets, ngrams.buckets)] = ngrams.counts
    per_label = len(texts) // len(LABELS)
    means = dense.reshape(len(LABELS), per_label, -1).mean(axis=1)
    weights, scales = quantise_columns((means - means.mean(axis=0)).T)
    embeddings = WordEncoder().encode_with_cuts(texts).embeddings
    centroids = embeddings.reshape(len(LABELS), per_label, -1).mean(axis=1)
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    return {
        "linear.buckets": buckets.astype(np.uint32),
        "linear.rarity": np.ones(len(buckets), np.float32),
        "linear.weights": weights,
        "linear.scales": scales,
        "linear.bias": np.zeros(len(LABELS), np.float32),
        "encoder.weights": (4 * centroids.T).astype(np.float16, order="C"),
        "encoder.bias": np.zeros(len(LABELS), np.float32),
        "encoder.centroids": centroids.astype(np.float16),
    }


def calibration() -> dict[str, Any]:
    """Return numbers by which every text is in scope."""
    scope = {"scope_weights": [0.0] * 4, "scope_intercept": 30.0}
    return {
        "linear": {"temperature": 0.5, **scope},
        "encoder": {"temperature": 1.0, "linear_share": 0.5, **scope},
    }


def classifier_bundle(
    folder: Path, arrays: dict[str, np.ndarray] | None = None, **changes: Any
) -> Bundle:
    """Write a classifier's bundle; keyword arguments replace what ``bundle.json`` says."""
    content = {
        "name": "small",
        "version": "0.1.0",
        "contract": "classify/v1",
        "label_set": {"labels": LABELS},
        "tiers": ["linear", "encoder"],
        "backbone": {"name": "words", "digest": "sha256:" + "0" * 64},
        "calibration": calibration(),
        "thresholds": SURE,
        "parameters": {"ngrams": NGRAMS},
    }
    return write_bundle(folder, content | changes, arrays or tensors(), {"card.md": "# small\n"})


def scorer_bundle(folder: Path) -> Bundle:
    """Write a scorer's bundle with two scales that share their arrays."""
    arrays = tensors()
    both = {
        f"{scale}.{name}": array for scale in ("size", "mood") for name, array in arrays.items()
    }
    return classifier_bundle(
        folder,
        both,
        contract="score/v1",
        label_set={"labels": [f"{s}/{level}" for s in ("size", "mood") for level in LABELS]},
        calibration={"size": calibration(), "mood": calibration()},
        thresholds={"size": {**SURE, "switch": 1.01}, "mood": {**SURE, "switch": 1.01}},
        parameters={
            "ngrams": NGRAMS,
            "scales": [{"name": name, "levels": LABELS} for name in ("size", "mood")],
        },
    )
