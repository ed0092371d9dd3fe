"""Finds names of persons, places and organisations in texts.

`Tagger` is the seam: whatever finds labelled spans with calibrated probabilities can stand there.
`LinearTagger` is the first one, a linear-chain conditional random field over hashed features that
runs in numpy. It knows nothing of field names, values or requests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from slmesh.slm.entities.features import Token, hashed_features, sequences


@dataclass(frozen=True, slots=True)
class TaggedSpan:
    """A labelled stretch of a text.

    `start` and `end` are half-open code point offsets; `probability` in [0, 1] is calibrated on
    validation data.
    """

    label: str
    start: int
    end: int
    probability: float


class Tagger(Protocol):
    """Finds labelled spans."""

    def tag(self, texts: Sequence[str]) -> list[list[TaggedSpan]]:
        """Return the spans of each text in order of their start, without overlaps."""


class Decoder:
    """Turns the scores of tags into spans: the best row of tags, and how certain each span is.

    Args:
        tags: O, and B-x and I-x of each label.
        transitions: The score of the second tag after the first, (K, K).
        opening: The score of the first tag, (K,).
        calibration: `slope` and `intercept` of the logistic curve that turns the log odds of the
            least certain token of a span into a probability, for each label.
    """

    def __init__(
        self,
        tags: Sequence[str],
        transitions: np.ndarray,
        opening: np.ndarray,
        calibration: Mapping[str, Any],
    ) -> None:
        self._tags = tuple(tags)
        self._transitions = np.where(transition_mask(tags), transitions, -np.inf)  # (K, K)
        self._opening = np.where(_may_open(tags), opening, -np.inf)  # (K,)
        self._calibration = calibration

    def spans(
        self, scores: np.ndarray, lengths: np.ndarray, group: Sequence[Sequence[Token]]
    ) -> list[list[TaggedSpan]]:
        """Return the spans of each sentence, from scores (B, T, K) of which `lengths` (B,) count."""
        best = viterbi(scores, lengths, self._transitions, self._opening)
        marginals = None
        results = []
        for row, sentence in enumerate(group):
            tags = [self._tags[tag] for tag in best[row, : len(sentence)]]
            bounds = spans_of(tags)
            if bounds and marginals is None:
                marginals = marginal(scores, lengths, self._transitions, self._opening)
            spans = []
            for label, first, last in bounds:
                # "Dr. Smith": the full stop that a title leaves behind begins no name.
                while first < last - 1 and sentence[first].text == ".":
                    first += 1
                chosen = best[row, first:last]
                assert marginals is not None
                certain = float(marginals[row, np.arange(first, last), chosen].min())
                probability = self._calibrated(label, certain)
                spans.append(
                    TaggedSpan(label, sentence[first].start, sentence[last - 1].end, probability)
                )
            results.append(spans)
        return results

    def _calibrated(self, label: str, certain: float) -> float:
        """Return the probability that the span is right, from its least certain token."""
        curve = self._calibration[label]
        clipped = min(max(certain, 1e-6), 1 - 1e-6)
        odds = float(np.log(clipped / (1 - clipped)))
        return float(1 / (1 + np.exp(-(curve["slope"] * odds + curve["intercept"]))))


class LinearTagger:
    """A linear-chain conditional random field with the tags O, B-x and I-x.

    Args:
        tags: the tags, in the order of the weights' columns.
        tensors: `weights` int8 (2**bits, tags), `scales` float32 (tags,), `transitions` float32
            (tags, tags) with the score of the second tag after the first, `opening` float32 (tags,),
            `common` int64 with the codes of everyday words.
        calibration: `slope` and `intercept` of the logistic curve that turns the log odds of the
            least certain token of a span into a probability, for each label.

    Raises:
        ValueError: the shapes do not belong together or a number is not finite.
    """

    def __init__(
        self,
        tags: Sequence[str],
        tensors: Mapping[str, np.ndarray],
        calibration: Mapping[str, Any],
    ) -> None:
        weights = tensors["weights"]
        buckets, columns = weights.shape
        if columns != len(tags) or buckets & (buckets - 1):
            raise ValueError(
                f"weights are {weights.shape}, expected a power of two by {len(tags)} tags"
            )
        self._tags = tuple(tags)
        self._common = frozenset(tensors["common"].tolist())
        self._bits = buckets.bit_length() - 1
        self._weights = weights
        self._scales = tensors["scales"].astype(np.float32)
        self._decoder = Decoder(tags, tensors["transitions"], tensors["opening"], calibration)
        for name, tensor in tensors.items():
            if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
                raise ValueError(f"tensor '{name}' holds a number that is not finite")

    def tag(self, texts: Sequence[str]) -> list[list[TaggedSpan]]:
        """Return the spans of each text in order of their start, without overlaps."""
        sentences = [
            (number, sentence) for number, text in enumerate(texts) for sentence in sequences(text)
        ]
        return tagged_together(len(texts), sentences, len, self._tag_sentences)

    def _tag_sentences(self, group: Sequence[Sequence[Token]]) -> list[list[TaggedSpan]]:
        scores, lengths = self._scores(group)
        return self._decoder.spans(scores, lengths, group)

    def _scores(self, group: Sequence[Sequence[Token]]) -> tuple[np.ndarray, np.ndarray]:
        """Return the score of each tag for each token (B, T, K), and the lengths (B,)."""
        lengths = np.array([len(sentence) for sentence in group])
        rows = [
            row for sentence in group for row in hashed_features(sentence, self._bits, self._common)
        ]
        hashed = np.array(rows, dtype=np.int64)  # (tokens, features)
        summed = self._weights[hashed].sum(axis=1, dtype=np.int32) * self._scales
        scores = np.zeros((len(group), int(lengths.max()), len(self._tags)), dtype=np.float32)
        scores[np.arange(scores.shape[1]) < lengths[:, None]] = summed
        return scores, lengths


_TOGETHER = 64
"""Sentences decoded in one call; bounds the memory that a long text takes."""

S = TypeVar("S")


def tagged_together(
    count: int,
    sentences: Sequence[tuple[int, S]],
    length: Callable[[S], int],
    tag: Callable[[list[S]], list[list[TaggedSpan]]],
) -> list[list[TaggedSpan]]:
    """Return the spans of each text, those of its sentences in their order.

    Args:
        count: Of the texts.
        sentences: Each with the number of its text, in order.
        length: Of a sentence: those of like length are tagged together, so that padding stays small.
        tag: Returns the spans of each sentence of a group.
    """
    order = sorted(range(len(sentences)), key=lambda index: length(sentences[index][1]))
    found: dict[int, list[TaggedSpan]] = {}
    for first in range(0, len(order), _TOGETHER):
        chosen = order[first : first + _TOGETHER]
        found.update(zip(chosen, tag([sentences[index][1] for index in chosen]), strict=True))
    spans: list[list[TaggedSpan]] = [[] for _ in range(count)]
    for index, (number, _) in enumerate(sentences):
        spans[number].extend(found[index])
    return spans


def transition_mask(tags: Sequence[str]) -> np.ndarray:
    """Return which tag may follow which (K, K): I-x only after B-x or I-x."""
    allowed = np.ones((len(tags), len(tags)), dtype=bool)
    for before, first in enumerate(tags):
        for after, second in enumerate(tags):
            if second.startswith("I-"):
                allowed[before, after] = first[2:] == second[2:] and first != "O"
    return allowed


def _may_open(tags: Sequence[str]) -> np.ndarray:
    return np.array([not tag.startswith("I-") for tag in tags])


def spans_of(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """Return label, first and end token of each span of a row of tags."""
    spans: list[tuple[str, int, int]] = []
    for index, tag in enumerate(tags):
        if tag.startswith("B-"):
            spans.append((tag[2:], index, index + 1))
        elif tag.startswith("I-") and spans:
            label, first, _ = spans[-1]
            spans[-1] = (label, first, index + 1)
    return spans


def viterbi(
    scores: np.ndarray, lengths: np.ndarray, transitions: np.ndarray, opening: np.ndarray
) -> np.ndarray:
    """Return the best row of tags for each sentence (B, T); what is past its length is 0."""
    batch, longest, count = scores.shape
    current = opening + scores[:, 0]  # (B, K)
    back = np.zeros((batch, longest, count), dtype=np.int64)
    for step in range(1, longest):
        through = current[:, :, None] + transitions  # (B, K before, K after)
        back[:, step] = through.argmax(axis=1)
        onward = through.max(axis=1) + scores[:, step]
        current = np.where((step < lengths)[:, None], onward, current)
    best = np.zeros((batch, longest), dtype=np.int64)
    tag = current.argmax(axis=1)
    rows = np.arange(batch)
    for step in range(longest - 1, -1, -1):
        inside = step < lengths
        best[inside, step] = tag[inside]
        tag = np.where(inside & (step > 0), back[rows, step, tag], tag)
    return best


def marginal(
    scores: np.ndarray, lengths: np.ndarray, transitions: np.ndarray, opening: np.ndarray
) -> np.ndarray:
    """Return the probability of each tag at each token (B, T, K), by forward and backward sums."""
    longest = scores.shape[1]
    kernel = np.exp(transitions)  # (K, K)
    emission = np.exp(scores - scores.max(axis=2, keepdims=True))  # (B, T, K)
    forward = np.zeros_like(emission)
    forward[:, 0] = _normalised(np.exp(opening) * emission[:, 0])
    for step in range(1, longest):
        forward[:, step] = _normalised((forward[:, step - 1] @ kernel) * emission[:, step])
    backward = np.ones_like(emission)
    for step in range(longest - 2, -1, -1):
        onward = _normalised((emission[:, step + 1] * backward[:, step + 1]) @ kernel.T)
        backward[:, step] = np.where((step + 1 < lengths)[:, None], onward, 1.0)
    return _normalised(forward * backward)


def _normalised(values: np.ndarray) -> np.ndarray:
    shares: np.ndarray = values / np.maximum(values.sum(axis=-1, keepdims=True), np.float32(1e-30))
    return shares
