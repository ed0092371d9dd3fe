"""The linear tier: hashed n-grams weighted by rarity, and one sparse linear score for each class.

Weights are int8 with one scale a class. This module scores; it does not train and does not know
what a score means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from slmesh.mesh.errors import FailedPrecondition
from slmesh.tiers.ngrams import READ_CODE_POINTS, NgramHasher

__all__ = ["LinearFeatures", "LinearScores", "LinearTier", "Rows", "quantise_columns"]


@dataclass(frozen=True)
class Rows:
    """The features of some texts, in compressed rows; each non-empty row has length 1.

    Attributes:
        row_starts: int64 (B + 1,).
        columns: int64 (N,): positions in the vocabulary.
        values: float32 (N,).
        known: float32 (B,): share of each text's distinct n-grams that the vocabulary has.
        has_content: bool (B,): whether the text holds any word or mark at all.
    """

    row_starts: np.ndarray
    columns: np.ndarray
    values: np.ndarray
    known: np.ndarray
    has_content: np.ndarray


class LinearFeatures:
    """Turns texts into weighted features over a vocabulary of n-grams.

    Args:
        hasher: Hashes the n-grams.
        buckets: uint32 (K,), rising: the vocabulary.
        rarity: float32 (K,): the weight of each n-gram, higher for rare ones.
    """

    def __init__(self, hasher: NgramHasher, buckets: np.ndarray, rarity: np.ndarray) -> None:
        """Build the table from bucket to column."""
        self.hasher = hasher
        self.rarity = rarity.astype(np.float32)
        self._column_of = np.full(1 << hasher.bits, -1, np.int32)
        self._column_of[buckets] = np.arange(len(buckets), dtype=np.int32)

    def rows(self, texts: Sequence[str]) -> Rows:
        """Return the features of each text."""
        ngrams = self.hasher.transform(texts)
        columns = self._column_of.take(ngrams.buckets)
        kept = np.flatnonzero(columns >= 0)
        columns = columns.take(kept)
        row_starts = np.searchsorted(kept, ngrams.row_starts)
        sizes = row_starts[1:] - row_starts[:-1]
        values = (1.0 + np.log(ngrams.counts.take(kept))) * self.rarity.take(columns)
        # Sums of squares by prefix sums, because reduceat cannot do empty rows.
        squares = np.zeros(len(values) + 1)
        np.cumsum(np.square(values, dtype=np.float64), out=squares[1:])
        norms = np.sqrt(squares[row_starts[1:]] - squares[row_starts[:-1]])
        values = values / np.repeat(norms, sizes)
        all_sizes = ngrams.row_starts[1:] - ngrams.row_starts[:-1]
        known = (sizes / np.maximum(all_sizes, 1)).astype(np.float32)
        return Rows(row_starts, columns, values.astype(np.float32), known, all_sizes > 0)


@dataclass(frozen=True)
class LinearScores:
    """What the linear tier makes of some texts.

    Attributes:
        scores: float32 (B, C): not calibrated, not bounded.
        known: float32 (B,): share of each text's n-grams that the vocabulary has.
        has_content: bool (B,).
        truncated_at: For each text the offset in code points from which it was not read, or None.
    """

    scores: np.ndarray
    known: np.ndarray
    has_content: np.ndarray
    truncated_at: tuple[int | None, ...]


class LinearTier:
    """Scores texts for each class.

    Args:
        features: Turns texts into rows of K features.
        weights: float32 (K, C).
        bias: float32 (C,).
    """

    def __init__(self, features: LinearFeatures, weights: np.ndarray, bias: np.ndarray) -> None:
        """Keep the weights in the order rows are gathered in."""
        self.features = features
        self._weights = np.ascontiguousarray(weights, np.float32)
        self._bias = bias.astype(np.float32)

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, np.ndarray], ngrams: Mapping[str, Any], prefix: str = "linear."
    ) -> LinearTier:
        """Build the tier from a bundle's arrays.

        Args:
            tensors: ``buckets`` (K,), ``rarity`` (K,), ``weights`` int8 (K, C), ``scales`` (C,) and
                ``bias`` (C,), each under the prefix.
            ngrams: ``bits``, ``word_sizes`` and ``char_sizes`` of the hasher.
            prefix: What the names of the arrays begin with.

        Raises:
            FailedPrecondition: An array is missing, or holds a value that is not a number.
        """
        names = ("buckets", "rarity", "weights", "scales", "bias")
        missing = [prefix + name for name in names if prefix + name not in tensors]
        if missing:
            raise FailedPrecondition(
                f"the bundle lacks the arrays {', '.join(missing)}", reason="INVALID_BUNDLE"
            )
        arrays = {name: tensors[prefix + name] for name in names}
        for name in names[1:]:
            if not np.isfinite(arrays[name]).all():
                raise FailedPrecondition(
                    f"the bundle's array {prefix}{name} holds values that are not numbers",
                    reason="INVALID_BUNDLE",
                )
        hasher = NgramHasher(ngrams["bits"], ngrams["word_sizes"], ngrams["char_sizes"])
        features = LinearFeatures(hasher, arrays["buckets"], arrays["rarity"])
        weights = arrays["weights"].astype(np.float32) * arrays["scales"].astype(np.float32)
        return cls(features, weights, arrays["bias"])

    def scores(self, texts: Sequence[str]) -> LinearScores:
        """Return the score of each text for each class."""
        rows = self.features.rows(texts)
        scores = np.repeat(self._bias[None], len(texts), axis=0)
        bounds = rows.row_starts.tolist()
        for i, (start, end) in enumerate(pairwise(bounds)):
            if end > start:
                # take: gathering rows by an index in brackets was measured two to five times slower
                scores[i] += rows.values[start:end] @ self._weights.take(
                    rows.columns[start:end], axis=0
                )
        cuts = tuple(READ_CODE_POINTS if len(text) > READ_CODE_POINTS else None for text in texts)
        return LinearScores(scores, rows.known, rows.has_content, cuts)


def quantise_columns(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Round weights to int8 with one scale a column.

    Args:
        weights: (K, C).

    Returns:
        int8 (K, C) and float32 (C,), whose product is near the weights.
    """
    scales = np.maximum(np.abs(weights).max(axis=0), 1e-12) / 127
    rounded = np.rint(weights / scales).astype(np.int8, order="C")  # files hold rows
    return rounded, scales.astype(np.float32)
