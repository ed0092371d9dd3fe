"""Hashed n-grams of words and of characters inside words: the features of the linear tier.

Training and serving use this code alike. A whole batch is hashed in a few numpy calls: the hash of
any piece of text is the difference of two prefix sums of a polynomial, so no piece is ever cut out.
The hashes are part of every bundle's format: changing them makes old bundles unreadable.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["READ_CODE_POINTS", "NgramHasher", "Ngrams", "tokens"]

READ_CODE_POINTS = 100_000
"""Code points read of a text; of longer texts the rest is not read."""

_CHUNK_CODE_POINTS = 1 << 16
_SPACE = 32
_BASE = 0x9E3779B97F4A7C15  # odd, so it has an inverse modulo 2**64; 2**64 / golden ratio
_MIX = np.uint64(0xFF51AFD7ED558CCD)  # finaliser of MurmurHash3
_SHIFT = np.uint64(33)
_WORD_SALT = np.uint64(0x2545F4914F6CDD1D)
_PATTERN = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Ngrams:
    """The n-grams of some texts, in compressed rows.

    Attributes:
        row_starts: int64 (B + 1,): the n-grams of text i are at [row_starts[i], row_starts[i+1]).
        buckets: uint32 (N,): the hash bucket of each n-gram, unique and rising within a text.
        counts: float32 (N,): how often the text has it, >= 1.
    """

    row_starts: np.ndarray
    buckets: np.ndarray
    counts: np.ndarray


def tokens(text: str) -> list[str]:
    """Return the words and punctuation marks of a text, in lower case."""
    return _PATTERN.findall(text[:READ_CODE_POINTS].lower())


class NgramHasher:
    """Hashes texts into n-grams.

    Args:
        bits: Binary logarithm of the number of buckets, in [8, 24].
        word_sizes: Lengths of word n-grams, in words: 1, or 1 and 2.
        char_sizes: Lengths of character n-grams, in code points, >= 2; the spaces around a word
            count as characters, and no n-gram spans two words.
    """

    def __init__(
        self,
        bits: int = 20,
        word_sizes: Sequence[int] = (1, 2),
        char_sizes: Sequence[int] = (2, 3, 4, 5),
    ) -> None:
        """Precompute the powers of the polynomial."""
        self.bits = bits
        self.word_sizes = tuple(word_sizes)
        self.char_sizes = tuple(char_sizes)
        self._char_sizes = np.array(self.char_sizes, np.int64).reshape(-1, 1)  # (S, 1)
        self._down = np.uint64(64 - bits)
        # A text has at most one space more than twice its code points, and 1 at either end.
        length = 2 * READ_CODE_POINTS + _CHUNK_CODE_POINTS + 4
        self._powers = _powers(_BASE, length)
        self._inverses = _powers(pow(_BASE, -1, 1 << 64), length)

    def transform(self, texts: Sequence[str]) -> Ngrams:
        """Return the n-grams of each text."""
        spaced = [f" {' '.join(tokens(text))} " for text in texts]
        parts = [self._hash(chunk) for chunk in _chunks(spaced)]
        if not parts:
            empty = np.zeros(0, np.uint32)
            return Ngrams(np.zeros(1, np.int64), empty, empty.astype(np.float32))
        if len(parts) == 1:
            return parts[0]
        sizes = np.concatenate([np.diff(part.row_starts) for part in parts])
        return Ngrams(
            np.concatenate(([0], np.cumsum(sizes))),
            np.concatenate([part.buckets for part in parts]),
            np.concatenate([part.counts for part in parts]),
        )

    def _hash(self, spaced: list[str]) -> Ngrams:
        codes = np.frombuffer("".join(spaced).encode("utf-32-le", "replace"), np.uint32)  # (L,)
        rows = np.repeat(np.arange(len(spaced)), [len(text) for text in spaced])  # (L,)
        prefix = np.zeros(len(codes) + 1, np.uint64)
        np.cumsum(codes * self._powers[: len(codes)], out=prefix[1:])
        spaces = np.flatnonzero(codes == _SPACE)
        gaps = spaces[1:] - spaces[:-1]
        starts, ends = self._char_pieces(spaces, gaps)
        characters = len(starts)
        word_starts, word_ends = self._word_pieces(spaces, gaps)
        starts, ends = np.concatenate((starts, word_starts)), np.concatenate((ends, word_ends))
        hashes = (prefix.take(ends) - prefix.take(starts)) * self._inverses.take(starts)
        hashes[characters:] ^= _WORD_SALT
        hashes ^= hashes >> _SHIFT
        hashes *= _MIX
        buckets = (hashes ^ (hashes >> _SHIFT)) * _MIX >> self._down
        row_of = rows.take(starts).astype(np.uint64)
        # One sort groups by text and by bucket; a text's equal n-grams become one with a count.
        keys = np.sort((row_of << np.uint64(32)) | buckets)
        new = np.ones(len(keys) + 1, bool)  # the end stands for one more
        np.not_equal(keys[1:], keys[:-1], out=new[1:-1])
        first = np.flatnonzero(new)
        counts = (first[1:] - first[:-1]).astype(np.float32)
        keys = keys[first[:-1]]
        bounds = np.arange(len(spaced) + 1, dtype=np.uint64) << np.uint64(32)
        return Ngrams(
            np.searchsorted(keys, bounds), (keys & np.uint64(0xFFFFFFFF)).astype(np.uint32), counts
        )

    def _char_pieces(self, spaces: np.ndarray, gaps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return starts and ends of all character n-grams: spaces only at their ends.

        Args:
            spaces: Where spaces are; the first one is at 0, and one is last.
            gaps: How far each is from the next one.
        """
        # An n-gram may reach to behind the first space after its start, which itself it may hold.
        reach = np.repeat(spaces[1:] + 1, gaps)  # (L - 1,)
        ends = np.arange(len(reach)) + self._char_sizes  # (S, L - 1)
        inside = ends <= reach
        if 2 in self.char_sizes:  # two spaces: the seam of two texts
            inside[self.char_sizes.index(2), spaces[:-1][gaps == 1]] = False
        chosen = np.flatnonzero(inside)
        return chosen % len(reach), ends.ravel().take(chosen)

    def _word_pieces(self, spaces: np.ndarray, gaps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return starts and ends of all word n-grams, the spaces around them left out."""
        starts, ends = [], []
        word = gaps > 1  # (W,): no word stands between the spaces of a seam
        for size in self.word_sizes:
            if len(word) < size:
                continue
            whole = word[: len(word) - size + 1]
            for k in range(1, size):
                whole = whole & word[k : len(word) - size + 1 + k]
            chosen = np.flatnonzero(whole)
            starts.append(spaces[chosen] + 1)
            ends.append(spaces[chosen + size])
        if not starts:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        return np.concatenate(starts), np.concatenate(ends)


def _powers(base: int, count: int) -> np.ndarray:
    """Return base**0 ... base**(count-1) modulo 2**64, uint64 (count,)."""
    powers = np.full(count, base, np.uint64)
    powers[0] = 1
    return np.multiply.accumulate(powers)


def _chunks(spaced: list[str]) -> list[list[str]]:
    """Group texts so that no group but a single long text is above the chunk size."""
    chunks: list[list[str]] = []
    size = 0
    for text in spaced:
        if not chunks or size + len(text) > _CHUNK_CODE_POINTS:
            chunks.append([])
            size = 0
        chunks[-1].append(text)
        size += len(text)
    return chunks
