"""Finds names and addresses in running text: a linear model over the words around each word.

It complements the cues: it learns from how sentences with names are built. It has no probabilities,
and knows nothing of formats or of requests.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from slmesh.mesh.bundle import Bundle
from slmesh.recognise import Match

__all__ = ["TAGS", "Tagger", "Token", "decode", "feature_rows", "load_tagger", "spans", "tokens"]

TAGS = ("O", "B-person", "I-person", "B-address", "I-address")
_TOKEN = re.compile(r"\w+|[^\w\s]|\n")
_WINDOW = 3
"""Words to the left and to the right that a word is judged by."""

_LOWER, _SHAPE = 0, 4
_MULTIPLIER = np.uint64(0xFF51AFD7ED558CCD)

_SENTENCE_ENDS = frozenset(".!?\n")
_CHUNK_WORDS = 128
"""Words decoded together; a longer text is cut, at the end of a sentence where there is one."""


@dataclass(frozen=True, slots=True)
class Token:
    """A word, a mark or a line break with its half-open range of code points."""

    text: str
    start: int
    end: int


def tokens(text: str) -> list[Token]:
    """Return the tokens of a text."""
    return [Token(found.group(), *found.span()) for found in _TOKEN.finditer(text)]


def feature_rows(words: Sequence[str], bits: int) -> np.ndarray:
    """Return the hashed features of each word, int64 (T, F).

    What a word is made of is hashed once for each distinct word; what stands around it is combined
    from these hashes for all words at once.

    Args:
        words: The words of a text in order.
        bits: Binary logarithm of the number of buckets.
    """
    place: dict[str, int] = {"": 0}
    order = np.array([place.setdefault(word, len(place)) for word in words], np.int64)
    parts = np.array([_parts(word) for word in place], np.uint64)  # (distinct words, 5)
    rows = np.zeros((len(words) + 2 * _WINDOW, 5), np.uint64)
    rows[:] = parts[0]  # before the first word and after the last stands nothing
    rows[_WINDOW : _WINDOW + len(words)] = parts[order]

    def near(offset: int, part: int) -> np.ndarray:
        first = _WINDOW + offset
        return rows[first : first + len(words), part]

    word, prefix, ending, short, shape = (near(0, part) for part in range(5))
    features = (
        (word,),
        (prefix,),
        (ending,),
        (short,),
        (shape,),
        (near(-1, _LOWER),),
        (near(1, _LOWER),),
        (near(-2, _LOWER),),
        (near(2, _LOWER),),
        (near(-3, _LOWER),),
        (near(3, _LOWER),),
        (near(-2, _LOWER), near(-1, _LOWER)),
        (near(1, _LOWER), near(2, _LOWER)),
        (near(-1, _LOWER), shape),
        (near(1, _LOWER), shape),
        (near(-1, _SHAPE), shape),
        (shape, near(1, _SHAPE)),
        (near(-1, _SHAPE), shape, near(1, _SHAPE)),
        (near(-2, _SHAPE), near(-1, _SHAPE), shape),
        (near(-1, _LOWER), ending),
        (near(-2, _LOWER), near(-1, _LOWER), shape),
    )
    hashed = [_mixed(salt, values) for salt, values in enumerate(features, start=1)]
    return (np.stack(hashed, axis=1) >> np.uint64(64 - bits)).astype(np.int64)


def _parts(word: str) -> tuple[int, ...]:
    """Return the hashes of a word, its start, its end, its last letters and its shape."""
    lower = word.lower()
    pieces = (lower, lower[:3], lower[-3:], lower[-2:], _shape(word))
    return tuple(crc32(piece.encode("utf-8", "replace")) for piece in pieces)


def _mixed(salt: int, values: Sequence[np.ndarray]) -> np.ndarray:
    """Return one hash, uint64, for a tuple of hashes. Source: the finaliser of MurmurHash3."""
    mixed = np.full(values[0].shape, salt, np.uint64)
    for value in values:
        mixed = (mixed ^ value) * _MULTIPLIER
        mixed ^= mixed >> np.uint64(33)
    return mixed * _MULTIPLIER


def _shape(word: str) -> str:
    """Return how a word is written: "Xx", "xx", "XX", "9"; longer numbers by their length."""
    if word.isdigit():
        return "9" * min(len(word), 6)
    if not word[:1].isalnum():
        return word
    if word.isupper():
        return "X" if len(word) == 1 else "XX"
    if word[:1].isupper():
        return "Xx"
    return "x9" if any(character.isdigit() for character in word) else "xx"


def decode(emissions: np.ndarray, transitions: np.ndarray) -> list[int]:
    """Return the best tag of each word.

    Args:
        emissions: (T, K).
        transitions: (K + 1, K): from each tag, and in the last row from the start.
    """
    return _decode_parts(emissions, [0, len(emissions)], transitions) if len(emissions) else []


def _cuts(words: Sequence[str]) -> list[int]:
    """Return where to cut a long text, as indices of words."""
    cuts: list[int] = []
    start = 0
    while len(words) - start > _CHUNK_WORDS:
        ends = range(start + _CHUNK_WORDS, start + _CHUNK_WORDS // 2, -1)
        start = next((end for end in ends if words[end - 1] in _SENTENCE_ENDS), ends[0])
        cuts.append(start)
    return cuts


def _decode_parts(emissions: np.ndarray, cuts: Sequence[int], transitions: np.ndarray) -> list[int]:
    """Decode the parts of a text between cuts, all at once."""
    sizes = np.diff(cuts)
    count, longest, kinds = len(sizes), int(sizes.max()), emissions.shape[1]
    padded = np.zeros((longest, count, kinds), np.float32)  # (T, B, K)
    inside = np.arange(longest)[:, None] < sizes  # (T, B)
    padded.transpose(1, 0, 2)[inside.T] = emissions
    scores = transitions[-1] + padded[0]  # (B, K)
    back = np.tile(np.arange(kinds), (longest, count, 1))
    for index in range(1, longest):
        paths = scores[:, :, None] + transitions[:-1]  # (B, K, K)
        going = inside[index][:, None]
        back[index] = np.where(going, paths.argmax(axis=1), back[index])
        scores = np.where(going, paths.max(axis=1) + padded[index], scores)
    best = np.empty((longest, count), np.int64)
    best[-1] = scores.argmax(axis=1)
    for index in range(longest - 1, 0, -1):
        best[index - 1] = back[index, np.arange(count), best[index]]
    tags: list[int] = best.T[inside.T].tolist()
    return tags


def spans(words: Sequence[Token], tags: Sequence[int]) -> list[tuple[str, int, int]]:
    """Return kind and half-open range of each run of tags, line breaks at its end left out."""
    found: list[tuple[str, int, int]] = []
    for token, tag in zip(words, tags, strict=True):
        begin, _, kind = TAGS[tag].partition("-")
        if not kind or token.text == "\n":
            continue
        if begin == "I" and found and found[-1][0] == kind:
            found[-1] = (kind, found[-1][1], token.end)
        else:
            found.append((kind, token.start, token.end))
    return found


class Tagger:
    """Finds persons and addresses.

    Args:
        weights: float32 (2**bits, K).
        transitions: float32 (K + 1, K).
    """

    def __init__(self, weights: np.ndarray, transitions: np.ndarray) -> None:
        self.weights = weights
        self.transitions = transitions
        self._bits = int(weights.shape[0]).bit_length() - 1

    def __call__(self, text: str) -> list[Match]:
        """Return what the model takes for a person or an address, in order of start."""
        words = tokens(text)
        if not words:
            return []
        rows = feature_rows([word.text for word in words], self._bits)
        emissions = np.concatenate(
            # Gathered in parts: 21 features a word would be 40 MB for the longest text.
            [self.weights[rows[at : at + 4096]].sum(axis=1) for at in range(0, len(rows), 4096)]
        )
        cuts = [0, *_cuts([word.text for word in words]), len(words)]
        tags = _decode_parts(emissions, cuts, self.transitions)
        return [
            Match(kind, start, end, text[start:end], None)
            for kind, start, end in spans(words, tags)
            if any(character.isalpha() for character in text[start:end])
        ]


def load_tagger(bundle: Bundle) -> Tagger:
    """Return the tagger of a bundle.

    Raises:
        KeyError: The bundle has none.
        ValueError: An array has the wrong shape, or holds a value that is no number.
    """
    tensors = bundle.tensors()
    weights = tensors["personal.weights"].astype(np.float32)
    transitions = tensors["personal.transitions"].astype(np.float32)
    count = len(TAGS)
    if weights.shape[1:] != (count,) or transitions.shape != (count + 1, count):
        raise ValueError("the tagger's arrays do not fit its tags")
    if not np.isfinite(weights).all() or not np.isfinite(transitions).all():
        raise ValueError("the tagger's arrays hold a value that is no number")
    return Tagger(weights, transitions)
