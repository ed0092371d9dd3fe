"""Two trained heads over the frozen encoder: one for queries, one for passages.

A sentence encoder puts texts of like meaning together; a question and its answer are not alike. Each
head adds a linear change to the embedding, so that questions come to lie near their answers. They are
applied after encoding: vectors kept from an earlier start stay valid. A bundle without heads ranks by
the encoder's own cosine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["PASSAGE", "QUERY", "Heads", "changed", "load_heads"]

QUERY, PASSAGE = "query.change", "passage.change"
"""What a bundle calls the arrays."""


@dataclass(frozen=True)
class Heads:
    """The heads of a bundle.

    Attributes:
        query: float32 (D, D), or None for no change.
        passage: The same for passages.
    """

    query: np.ndarray | None = None
    passage: np.ndarray | None = None

    def of_queries(self, embeddings: np.ndarray) -> np.ndarray:
        """Return queries as passages are compared with them, (B, D), rows of length 1."""
        return embeddings if self.query is None else changed(embeddings, self.query)

    def of_passages(self, embeddings: np.ndarray) -> np.ndarray:
        """Return passages as queries are compared with them, (B, D), rows of length 1."""
        return embeddings if self.passage is None else changed(embeddings, self.passage)


def changed(embeddings: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Return ``x + x W`` at length 1, float32 (B, D).

    Args:
        embeddings: (B, D), rows of length 1.
        change: (D, D).
    """
    moved = embeddings + embeddings @ change
    rows: np.ndarray = moved / np.linalg.norm(moved, axis=1, keepdims=True).clip(1e-12)
    return rows.astype(np.float32)


def load_heads(tensors: Mapping[str, np.ndarray]) -> Heads:
    """Return the heads among a bundle's arrays; no change where it has none."""
    query, passage = (
        tensors[name].astype(np.float32) if name in tensors else None for name in (QUERY, PASSAGE)
    )
    return Heads(query, passage)
