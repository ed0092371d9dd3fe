"""The check for injected instructions: windows of text in, probabilities and places out.

Two heads, because the same words mean different things in different places: the user's own text is
searched for attempts to take over, a document or a tool's result for any instruction to the
assistant. Each head has two tiers: n-grams and counts of kinds of words decide most windows, and both
with the embedding of the window decide where the first tier sees anything at all. It knows nothing of
requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from slmesh.mesh.bundle import Bundle
from slmesh.slm.guard.smuggled import Smuggled, smuggled
from slmesh.slm.guard.windows import DOCUMENT_WINDOW, USER_WINDOW, windows
from slmesh.slm.guard.word_classes import CLASSES, WORDS_DIGEST, class_features
from slmesh.tiers.encoder import SentenceEncoder
from slmesh.tiers.ngrams import NgramHasher, Ngrams

__all__ = ["DOCUMENT", "HEADS", "USER", "Hit", "InjectionModel", "ngram_scores", "weighted"]

USER = "user"
DOCUMENT = "document"
HEADS = (USER, DOCUMENT)

MOST_ENCODED = 64
"""Windows of one text that the encoder reads; of more, those the n-grams find most suspicious. It
keeps a text of 100,000 code points under two seconds on one core."""


@dataclass(frozen=True)
class Hit:
    """A piece of text that is taken for an injection.

    Attributes:
        start: Of the half-open range, in code points.
        end: Of the half-open range, in code points.
        probability: In [0, 1], calibrated on validation data; of its most likely window.
    """

    start: int
    end: int
    probability: float


@dataclass(frozen=True)
class _Tier:
    """One tier of one head: weights, and the straight line that turns its score into a logit."""

    ngrams: np.ndarray  # float32 (2**bits,)
    classes: np.ndarray  # float32 (C,)
    embedding: np.ndarray | None  # float32 (D,)
    bias: float
    slope: float
    offset: float
    threshold: float

    def probabilities(
        self, ngrams: Ngrams, classes: np.ndarray, embeddings: np.ndarray | None
    ) -> np.ndarray:
        scores: np.ndarray = ngram_scores(ngrams, self.ngrams) + self.bias
        scores = scores + classes @ self.classes
        if self.embedding is not None and embeddings is not None:
            scores = scores + embeddings @ self.embedding
        return 1 / (1 + np.exp(-(self.slope * scores + self.offset)))


class InjectionModel:
    """Finds injected instructions.

    Args:
        bundle: The guard's bundle.
        encoder: The compiled backbone; None leaves the first tier alone to decide.

    Raises:
        KeyError: The bundle lacks a part of the model.
        ValueError: A tensor has the wrong size, or holds NaN, or the bundle was trained with other
            classes of words.
    """

    def __init__(self, bundle: Bundle, encoder: SentenceEncoder | None) -> None:
        tensors = bundle.tensors()
        settings = bundle.parameters["injection"]
        if settings["words"] != WORDS_DIGEST:
            raise ValueError("the bundle was trained with other classes of words")
        self._hasher = NgramHasher(settings["bits"], settings["word_sizes"], settings["char_sizes"])
        self._gates: dict[str, float] = {head: settings["gate"][head] for head in HEADS}
        self._encoder = encoder
        self._tiers = {
            (head, tier): _load_tier(bundle, tensors, head, tier, 1 << self._hasher.bits)
            for head in HEADS
            for tier in ("linear", "encoder")
        }

    @property
    def tier(self) -> str:
        """The strongest tier at hand, for the provenance: ``linear`` or ``encoder``."""
        return "linear" if self._encoder is None else "encoder"

    def find(self, text: str, head: str) -> list[Hit]:
        """Return the injections of a text, in order of start.

        Args:
            text: Any length; the time taken is linear in it.
            head: ``USER`` for what the user wrote, ``DOCUMENT`` for what somebody else did.
        """
        pieces, plain = _pieces(text, head)
        if not pieces:
            return []
        probabilities, thresholds = self._judge([piece.text for piece in pieces], head)
        hits: list[Hit] = []
        last = -2
        for index in np.flatnonzero(probabilities >= thresholds).tolist():
            piece, probability = pieces[index], float(probabilities[index])
            start = piece.start
            if index == last + 1 and index < plain:  # neighbours are one finding
                before = hits.pop()
                start, probability = before.start, max(before.probability, probability)
            hits.append(Hit(start, piece.end, probability))
            last = index
        return sorted(hits, key=lambda hit: hit.start)

    def probability(self, text: str, head: str) -> float:
        """Return the probability of the most likely window of a text, 0 when it has none."""
        pieces, _ = _pieces(text, head)
        if not pieces:
            return 0.0
        return float(self._judge([piece.text for piece in pieces], head)[0].max())

    def _judge(self, texts: Sequence[str], head: str) -> tuple[np.ndarray, np.ndarray]:
        """Return for each window its probability and the threshold of the tier that judged it."""
        linear, strong = self._tiers[head, "linear"], self._tiers[head, "encoder"]
        classes = class_features(texts)
        probabilities = linear.probabilities(self._hasher.transform(texts), classes, None)
        thresholds = np.full(len(texts), linear.threshold)
        if self._encoder is None:
            return probabilities, thresholds
        chosen = np.flatnonzero(probabilities >= self._gates[head])
        if len(chosen) > MOST_ENCODED:
            chosen = chosen[np.argsort(-probabilities[chosen], kind="stable")[:MOST_ENCODED]]
        if len(chosen):
            read = [texts[int(index)] for index in chosen]
            embeddings = self._encoder.encode(read)
            ngrams = self._hasher.transform(read)
            second = strong.probabilities(ngrams, classes[chosen], embeddings)
            # What the first tier is sure of stands: each tier has half of the false positives
            # that are allowed, and the embedding talks the second out of some plain attempts.
            better = (second >= strong.threshold) | (probabilities[chosen] < linear.threshold)
            probabilities[chosen[better]] = second[better]
            thresholds[chosen[better]] = strong.threshold
        return probabilities, thresholds


def _pieces(text: str, head: str) -> tuple[list[Smuggled], int]:
    """Return the windows of a text, then what it hides in other writings; and how many are windows."""
    places = windows(text, USER_WINDOW if head == USER else DOCUMENT_WINDOW)
    plain = [Smuggled(start, end, text[start:end]) for start, end in places]
    return [*plain, *smuggled(text)], len(plain)


def weighted(ngrams: Ngrams) -> np.ndarray:
    """Return the value of each n-gram: 1 + log of its count, each text scaled to length 1."""
    values = 1 + np.log(ngrams.counts)
    squares = np.append(0.0, np.cumsum(values.astype(np.float64) ** 2))
    lengths = np.sqrt(np.maximum(np.diff(squares[ngrams.row_starts]), 1e-12))
    per_row: np.ndarray = values / np.repeat(lengths, np.diff(ngrams.row_starts))
    return per_row


def ngram_scores(ngrams: Ngrams, weights: np.ndarray) -> np.ndarray:
    """Return the sum of the weights of each text's n-grams, (B,)."""
    sums = np.append(0.0, np.cumsum(weighted(ngrams) * weights[ngrams.buckets], dtype=np.float64))
    scores: np.ndarray = np.diff(sums[ngrams.row_starts])
    return scores


def _load_tier(
    bundle: Bundle, tensors: dict[str, np.ndarray], head: str, tier: str, size: int
) -> _Tier:
    prefix = f"injection.{head}.{tier}."
    weights = tensors[prefix + "ngrams"].astype(np.float32)
    classes = tensors[prefix + "classes"].astype(np.float32)
    embedding = tensors[prefix + "embedding"].astype(np.float32) if tier == "encoder" else None
    if weights.shape != (size,):
        raise ValueError(f"{prefix}ngrams has shape {weights.shape}, expected ({size},)")
    if classes.shape != (len(CLASSES),):
        raise ValueError(f"{prefix}classes has shape {classes.shape}, expected ({len(CLASSES)},)")
    parts = [weights, classes] if embedding is None else [weights, classes, embedding]
    if not all(np.isfinite(part).all() for part in parts):
        raise ValueError(f"{prefix}* holds a value that is no number")
    line = bundle.calibration["injection"][head][tier]
    return _Tier(
        weights,
        classes,
        embedding,
        bias=float(line["bias"]),
        slope=float(line["slope"]),
        offset=float(line["offset"]),
        threshold=float(bundle.thresholds["injection"][head][tier]),
    )
