"""What the guard's tagger knows of single words: how they are written, what they mean, what they name.

Two tables, both looked up by a hash of the word in lower case: vectors of common words, and flags of
words that occur in names of persons, streets, places and organisations. It knows no sentence.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np

__all__ = ["FLAGS", "PARTS", "Lexicon", "Token", "WordFeatures", "hash_of", "shape", "tokens"]

_TOKEN = re.compile(r"\w+|[^\w\s]|\n")

FLAGS = ("first", "last", "place", "country", "street", "organisation", "common", "unknown")
"""What is known of a word, a bit each: it is (part of) a first name and so on; ``common`` has a
vector; ``unknown`` is set where nothing else is."""

PARTS = 5
"""Learnt features of a word: itself when common, its start, two ends, and how it is written."""


@dataclass(frozen=True, slots=True)
class Token:
    """A word, a mark or a line break with its half-open range of code points."""

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class WordFeatures:
    """The features of the words of a text.

    Attributes:
        parts: int64 (T, PARTS), rows of the table of learnt features.
        flags: float32 (T, len(FLAGS)), 0 or 1.
        vectors: float32 (T, D), zero for words that are not common.
    """

    parts: np.ndarray
    flags: np.ndarray
    vectors: np.ndarray


def tokens(text: str) -> list[Token]:
    """Return the tokens of a text."""
    return [Token(found.group(), *found.span()) for found in _TOKEN.finditer(text)]


def hash_of(word: str) -> int:
    """Return the hash by which a word in lower case is looked up, in [0, 2**32)."""
    return crc32(word.encode("utf-8", "replace"))


def shape(word: str) -> str:
    """Return how a word is written: "Xx", "xx", "XX", "9"; longer numbers by their length."""
    if word.isdigit():
        return "9" * min(len(word), 6)
    if not word[:1].isalnum():
        return word
    if word.isupper():
        return "X" if len(word) == 1 else "XX"
    if word[:1].isupper():
        return "Xx" if word[1:].islower() or len(word) == 1 else "XxX"
    return "x9" if any(character.isdigit() for character in word) else "xx"


class Lexicon:
    """Looks words up.

    Args:
        common: uint32 (C,), rising: hashes of the common words.
        vectors: int8 (C, D): their vectors.
        scale: What a step of ``vectors`` is worth.
        names: uint32 (N,), rising: hashes of the words of names.
        flags: uint8 (N,): a bit for each of ``FLAGS``.
        bits: Binary logarithm of the number of rows of the table of learnt features.

    Raises:
        ValueError: The arrays do not fit each other.
    """

    def __init__(
        self,
        common: np.ndarray,
        vectors: np.ndarray,
        scale: float,
        names: np.ndarray,
        flags: np.ndarray,
        bits: int,
    ) -> None:
        if (
            common.shape != vectors.shape[:1]
            or names.shape != flags.shape
            or not np.isfinite(scale)
        ):
            raise ValueError("the tables of words do not fit each other")
        self.common, self.vectors, self.scale = common, vectors, scale
        self.names, self.flags = names, flags
        self._mask = (1 << bits) - 1
        self._known: dict[int, int] = {key: at for at, key in enumerate(common.tolist())}
        self._named: dict[int, int] = dict(zip(names.tolist(), flags.tolist(), strict=True))

    def features(self, words: Sequence[str]) -> WordFeatures:
        """Return the features of the words of a text; each distinct word is looked up once."""
        place: dict[str, int] = {}
        order = np.array([place.setdefault(word, len(place)) for word in words], np.int64)
        count = len(place)
        parts = np.zeros((count, PARTS), np.int64)
        flags = np.zeros((count, len(FLAGS)), np.float32)
        vectors = np.zeros((count, self.vectors.shape[1]), np.float32)
        for at, word in enumerate(place):
            lower = word.lower()
            key = hash_of(lower)
            row = self._known.get(key)
            bits = self._named.get(key, 0)
            if row is not None:
                vectors[at] = self.vectors[row]
                bits |= _COMMON
            flags[at] = _BIT_ROWS[bits or _UNKNOWN]
            parts[at] = self._parts(word, lower, common=row is not None)
        return WordFeatures(parts[order], flags[order], vectors[order] * np.float32(self.scale))

    def _parts(self, word: str, lower: str, *, common: bool) -> list[int]:
        pieces = (
            "w" + lower if common else "w",
            "p" + lower[:3],
            "e" + lower[-3:],
            "f" + lower[-2:],
            "s" + shape(word),
        )
        return [hash_of(piece) & self._mask for piece in pieces]


_COMMON = 1 << FLAGS.index("common")
_UNKNOWN = 1 << FLAGS.index("unknown")
_BIT_ROWS = ((np.arange(256)[:, None] >> np.arange(len(FLAGS))) & 1).astype(np.float32)
