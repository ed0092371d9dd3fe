"""Drift: how far texts and answers of late are from those a model was validated on.

A bundle may carry a reference: how often its validation texts had words of each of 256 hashed
groups, which labels they were given, and how surely. A window over the last texts of a service is
compared with it. A sketch of words stands in for embeddings, because the first tier makes none: it
costs microseconds, and one sketch serves every tier. No text is kept, and none can be read from one.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import numpy as np

from slmesh.api.classify.v1.classify_pb2 import ClassifyResponse
from slmesh.api.score.v1.score_pb2 import ScoreResponse
from slmesh.mesh.bundle import Bundle
from slmesh.mesh.errors import FailedPrecondition

__all__ = ["REFERENCE_FILE", "DriftWatch", "Sketch", "divergence", "signs_of"]

REFERENCE_FILE = "reference.json"

_GROUPS = 256
_CONFIDENCES = 10
_WORD = re.compile(r"\w+")
_READ_CODE_POINTS = 4000
_WINDOW_TEXTS = 1000
_LEAST_TEXTS = 200
_MOST_OF_A_BATCH = 4
"""Texts looked at of one computed batch: counting costs 20 µs a text, and a sample tells the same."""

_ABSTAINED = ""
"""The label of an answer that names none."""


@dataclass(frozen=True)
class Signs:
    """What is kept of one text and its answer.

    Attributes:
        words: The group of each word, in [0, 256).
        labels: The label the answer names first; of a scorer the level of each scale.
        confidences: The tenth of [0, 1] in which the probability of each of them lies.
        tier: The tier that answered.
    """

    words: tuple[int, ...]
    labels: tuple[str, ...]
    confidences: tuple[int, ...]
    tier: str


@dataclass
class Sketch:
    """Counts over some texts and answers.

    Attributes:
        texts: How many.
        words: int (256,): words by group.
        labels: Answers by label.
        confidences: int (10,): answers by tenth of their probability.
        tiers: Answers by tier.
    """

    texts: int = 0
    words: np.ndarray = field(default_factory=lambda: np.zeros(_GROUPS, np.int64))
    labels: Counter[str] = field(default_factory=Counter)
    confidences: np.ndarray = field(default_factory=lambda: np.zeros(_CONFIDENCES, np.int64))
    tiers: Counter[str] = field(default_factory=Counter)

    @classmethod
    def over(cls, signs: Iterable[Signs]) -> Sketch:
        """Return the counts over some signs."""
        sketch = cls()
        for one in signs:
            sketch.add(one)
        return sketch

    def add(self, signs: Signs, sign: int = 1) -> None:
        """Count one text, or with ``sign`` -1 take it back."""
        self.texts += sign
        np.add.at(self.words, list(signs.words), sign)
        np.add.at(self.confidences, list(signs.confidences), sign)
        for label in signs.labels:
            self.labels[label] += sign
        self.tiers[signs.tier] += sign

    def content(self) -> dict[str, Any]:
        """Return the counts as JSON-able values."""
        return {
            "texts": self.texts,
            "words": self.words.tolist(),
            "labels": dict(sorted(self.labels.items())),
            "confidences": self.confidences.tolist(),
        }

    @classmethod
    def from_content(cls, content: Mapping[str, Any]) -> Sketch:
        """Return the counts that :meth:`content` gave.

        Raises:
            KeyError: One is missing.
            ValueError: One is not of the right shape.
        """
        words = np.array(content["words"], np.int64)
        confidences = np.array(content["confidences"], np.int64)
        if words.shape != (_GROUPS,) or confidences.shape != (_CONFIDENCES,):
            raise ValueError("a reference of another shape")
        return cls(content["texts"], words, Counter(content["labels"]), confidences)


class DriftWatch:
    """Compares the last texts of a service with its bundle's references.

    Safe to read from another thread than the one that observes.

    Args:
        references: By what answered them: ``linear`` for the first tier alone, ``cascade`` for all.
        window_texts: How many texts are looked back on, >= 1.
        least_texts: How many it takes to tell anything.
    """

    def __init__(
        self,
        references: Mapping[str, Sketch],
        window_texts: int = _WINDOW_TEXTS,
        least_texts: int = _LEAST_TEXTS,
    ) -> None:
        self._references = dict(references)
        self._least_texts = least_texts
        self._window_texts = window_texts
        self._signs: deque[Signs] = deque()
        self._sketch = Sketch()
        self._turn = 0
        self._lock = threading.Lock()

    @classmethod
    def of(cls, bundle: Bundle | None) -> DriftWatch | None:
        """Return the watch of a bundle, or None when it carries no reference.

        Raises:
            FailedPrecondition: The reference cannot be read.
        """
        if bundle is None or REFERENCE_FILE not in bundle.content["files"]:
            return None
        try:
            text = (bundle.folder / REFERENCE_FILE).read_text(encoding="utf-8")
            sketches = {
                tier: Sketch.from_content(content) for tier, content in json.loads(text).items()
            }
            if "linear" not in sketches:
                raise KeyError("linear")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise FailedPrecondition(
                f"bundle '{bundle.name}': {REFERENCE_FILE} cannot be read: {error!r}",
                reason="INVALID_BUNDLE",
            ) from error
        return cls(sketches)

    def observe(self, requests: Sequence[Any], responses: Sequence[Any]) -> None:
        """Count texts and their answers, of a large batch a few; an error value is no answer."""
        step = -(-len(requests) // _MOST_OF_A_BATCH)
        self._turn += 1
        found = [
            signs_of(requests[place], responses[place])
            for place in range(self._turn % step if step else 0, len(requests), step or 1)
            if not isinstance(responses[place], Exception)
        ]
        with self._lock:
            for signs in found:
                self._signs.append(signs)
                self._sketch.add(signs)
                if len(self._signs) > self._window_texts:
                    self._sketch.add(self._signs.popleft(), -1)

    def score(self) -> float:
        """Return the drift in [0, 1]: the largest of words, labels and confidences.

        0 is no more than chance, 1 has nothing in common; 0 too until there are texts enough.
        """
        return max(self.parts().values(), default=0.0)

    def parts(self) -> dict[str, float]:
        """Return the drift of words, labels and confidences, none until there are texts enough."""
        with self._lock:
            if self._sketch.texts < self._least_texts:
                return {}
            tiers = {tier for tier, count in self._sketch.tiers.items() if count}
            # without a compiled encoder the first tier answers all, less surely than both together
            alone = tiers == {"linear"} and "linear" in self._references
            reference = self._references.get("linear" if alone else "cascade")
            return _compared(self._sketch, reference or self._references["linear"])


def signs_of(request: Any, response: Any) -> Signs:
    """Return what is kept of a text and its answer."""
    text = str(getattr(request, "text", "") or getattr(request, "query", ""))[:_READ_CODE_POINTS]
    words = tuple(crc32(word.encode()) % _GROUPS for word in _WORD.findall(text.lower()))
    named = _named(response)
    return Signs(
        words,
        tuple(label for label, _ in named),
        tuple(min(int(p * _CONFIDENCES), _CONFIDENCES - 1) for _, p in named),
        response.provenance.tier,
    )


def divergence(found: np.ndarray, expected: np.ndarray) -> float:
    """Return how far two counts are apart, less what chance makes of samples of their size.

    Args:
        found: (K,).
        expected: (K,).

    Returns:
        The Jensen-Shannon divergence in bits, in [0, 1], less its mean between two samples of one
        distribution, (cells - 1)(1/n + 1/m) / (8 ln 2); never below 0.

    Source: Lin, Divergence Measures Based on the Shannon Entropy, IEEE Trans. Inf. Theory 1991; the
    mean from its second-order expansion, a chi-squared statistic.
    """
    n, m = found.sum(), expected.sum()
    if not n or not m:
        return 0.0
    left, right = found / n, expected / m
    middle = (left + right) / 2
    cells = int((middle > 0).sum())

    def distance(part: np.ndarray) -> float:
        held = part > 0
        return float((part[held] * np.log2(part[held] / middle[held])).sum())

    chance = (cells - 1) * (1 / n + 1 / m) / (8 * np.log(2))
    return float(max(0.0, (distance(left) + distance(right)) / 2 - chance))


def _compared(sketch: Sketch, reference: Sketch) -> dict[str, float]:
    labels = sorted(set(sketch.labels) | set(reference.labels))
    counts = [np.array([s.labels[label] for label in labels]) for s in (sketch, reference)]
    return {
        "words": divergence(sketch.words, reference.words),
        "labels": divergence(*counts),
        "confidences": divergence(sketch.confidences, reference.confidences),
    }


def _named(response: Any) -> list[tuple[str, float]]:
    """Return what an answer names, with its probability; contracts without labels name nothing."""
    if isinstance(response, ClassifyResponse):
        if response.HasField("labels"):
            first = response.labels.labels[0]
            return [(first.name, first.probability)]
        return [(_ABSTAINED, response.nearest[0].probability if response.nearest else 0.0)]
    if isinstance(response, ScoreResponse) and response.HasField("scores"):
        tops = [
            (score.scale, max(score.levels, key=lambda level: level.probability))
            for score in response.scores.scores
        ]
        return [(f"{scale}/{level.name}", level.probability) for scale, level in tops]
    return []
