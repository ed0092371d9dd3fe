"""Votes of training texts for their labels, nearer ones more: what no linear head can express.

A kernel estimate of each label's density around an embedding. Pure numpy; it knows no tier, no
request and no threshold, and does not train.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from slmesh.tiers.linear import quantise_columns

__all__ = ["VOTE_FLOOR", "Neighbours", "neighbour_arrays"]

VOTE_FLOOR = 1e-3
"""Share of all votes that every label has at least, so that no label is ruled out by distance."""


class Neighbours:
    """Training texts that vote.

    A text of cosine ``c`` with the embedding weighs ``exp((c - 1) / width)``; a label's vote is the
    logarithm of its share of all weights. Source: Parzen, Annals of Mathematical Statistics 33, 1962.

    Args:
        embeddings: (D, N), columns of length 1, those of one label side by side.
        counts: int (C,), >= 1: how many columns each label has.
        width: Of the kernel, in cosine, > 0.
        share: What votes are multiplied with before they are added to logits.
    """

    def __init__(
        self, embeddings: np.ndarray, counts: np.ndarray, width: float, share: float
    ) -> None:
        """Keep the embeddings in float32."""
        self._embeddings = np.ascontiguousarray(embeddings, np.float32)
        self._starts = np.concatenate(([0], np.cumsum(counts)[:-1]))
        self._width, self._share = np.float32(width), np.float32(share)

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, np.ndarray], calibration: Mapping[str, Any], prefix: str = ""
    ) -> Neighbours | None:
        """Return the neighbours among an encoder tier's arrays, or None when it has none.

        Args:
            tensors: See :func:`neighbour_arrays`, each under the prefix.
            calibration: ``neighbour_width`` and ``neighbour_share``.
            prefix: What the names of the arrays begin with.
        """
        if f"{prefix}neighbours" not in tensors:
            return None
        scales = tensors[f"{prefix}neighbour_scales"].astype(np.float32)
        return cls(
            tensors[f"{prefix}neighbours"].astype(np.float32) * scales,
            tensors[f"{prefix}neighbour_counts"],
            calibration["neighbour_width"],
            calibration["neighbour_share"],
        )

    def logits(self, embeddings: np.ndarray) -> np.ndarray:
        """Return the weighted votes, (B, C), for embeddings of length 1, (B, D)."""
        nearness = embeddings.astype(np.float32) @ self._embeddings  # (B, N)
        nearness -= np.float32(1.0)
        nearness /= self._width
        weights = np.add.reduceat(np.exp(nearness, out=nearness), self._starts, axis=1)  # (B, C)
        shares = weights / weights.sum(axis=1, keepdims=True)
        votes: np.ndarray = self._share * np.log(shares + np.float32(VOTE_FLOOR))
        return votes


def neighbour_arrays(embeddings: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Return training texts as a bundle holds them.

    Args:
        embeddings: float32 (N, D), rows of length 1.
        labels: int (N,), each of [0, C) at least once.

    Returns:
        ``neighbours`` int8 (D, N), sorted by label, with one scale a column in ``neighbour_scales``
        float32 (N,), and ``neighbour_counts`` int32 (C,).
    """
    order = np.argsort(labels, kind="stable")
    columns, scales = quantise_columns(embeddings[order].T)
    return {
        "neighbours": columns,
        "neighbour_scales": scales,
        "neighbour_counts": np.bincount(labels).astype(np.int32),
    }
