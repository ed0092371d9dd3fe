"""Scores passages by the words they share with a query.

Okapi BM25, scaled to [0, 1] by the most a passage could get for the query, so that scores of two
queries can be compared and mixed with a cosine. It knows words only, no meaning and no model.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

__all__ = ["LexicalIndex", "terms"]

_K1 = 1.2
_B = 0.75
"""Source: Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009, section 3.2."""

_WORD = re.compile(r"\w+")
_COMMON_WORDS = (
    "a an and are as at be been but by can could did do does for from had has have how i if "
    "in is it its just me my of on or our so that the their them there they this to was we "
    "were what when where which who why will with would you your"
)
_STOP_WORDS = frozenset(_COMMON_WORDS.split())


def terms(text: str) -> list[str]:
    """Return the words of a text that carry meaning, in lower case and without plural endings."""
    return [_stem(word) for word in _WORD.findall(text.lower()) if word not in _STOP_WORDS]


def _stem(word: str) -> str:
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


class LexicalIndex:
    """An index of passages by their words.

    Args:
        texts: The passages, at least one.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        counts = [Counter(terms(text)) for text in texts]
        lengths = np.array([sum(count.values()) for count in counts], np.float32)
        norm = _K1 * (1 - _B + _B * lengths / max(1e-9, float(lengths.mean())))
        postings: dict[str, list[tuple[int, int]]] = {}
        for index, count in enumerate(counts):
            for term, frequency in count.items():
                postings.setdefault(term, []).append((index, frequency))
        self._size = len(texts)
        self._weights: dict[str, tuple[np.ndarray, np.ndarray, float]] = {}
        for term, posting in postings.items():
            rows = np.array([index for index, _ in posting], np.int32)
            counted = np.array([count for _, count in posting], np.float32)
            idf = float(np.log1p((self._size - len(rows) + 0.5) / (len(rows) + 0.5)))
            weight = idf * counted * (_K1 + 1) / (counted + norm[rows])
            self._weights[term] = (rows, weight.astype(np.float32), idf)
        # A word no passage has counts like one that a single passage has: it lowers every score.
        self._unseen_idf = float(np.log1p((self._size - 1 + 0.5) / 1.5))

    def scores(self, query: str) -> np.ndarray:
        """Return the score of every passage, float32 (N,), in [0, 1]."""
        scores = np.zeros(self._size, np.float32)
        most = 0.0
        for term in dict.fromkeys(terms(query)):
            entry = self._weights.get(term)
            if entry is None:
                most += self._unseen_idf * (_K1 + 1)
                continue
            places, weight, idf = entry
            scores[places] += weight
            most += idf * (_K1 + 1)
        return scores / most if most > 0 else scores
