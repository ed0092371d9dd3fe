"""Finds fields with a fine-tuned encoder: each word's vector, its lexical features, a random field.

The arithmetic of ``slmesh.training.token_model`` in numpy, over the vectors that onnxruntime gives.
It knows no request and no value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from slmesh.slm.entities.features import Token
from slmesh.slm.entities.tagger import Decoder, TaggedSpan, tagged_together
from slmesh.slm.entities.words import Segment, lexical_features, segments, words

__all__ = ["HEAD_PREFIX", "EncoderTagger", "PieceReader"]

HEAD_PREFIX = "head."
"""What the names of the head's arrays begin with in a bundle."""


class PieceReader(Protocol):
    """What gives vectors of pieces: ``tiers.token_encoder.TokenEncoder``."""

    def pieces(self, text: str) -> Any:
        """Return ``ids`` and ``offsets`` of a text's pieces."""

    def vectors(self, rows: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """Return of each row of pieces their vectors, float32 (T, D)."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A segment of a text with what its words look like and what had been asked for."""

    asked: Sequence[str]
    words: Sequence[Token]
    segment: Segment
    ids: list[int]
    features: list[list[int]]


class EncoderTagger:
    """Labels words from an encoder's vectors and lexical features.

    Args:
        tags: O, and B-x and I-x of each label: the head's columns.
        head: See ``training.token_model.head_arrays``, and ``common``, codes of everyday words.
        calibration: Of each label, see ``tagger.Decoder``.
        encoder: Of the pieces.
        rules: Kinds of ``slmesh.recognise`` that are lexical features.
        asked: Labels that a request may name, in the order of the head's last rows; none where the
            model does not know what was asked for.
        most_pieces: Pieces read together.

    Raises:
        ValueError: The shapes do not belong together or a number is not finite.
    """

    def __init__(
        self,
        tags: Sequence[str],
        head: Mapping[str, np.ndarray],
        calibration: Mapping[str, Any],
        encoder: PieceReader,
        rules: Sequence[str] = (),
        asked: Sequence[str] = (),
        most_pieces: int = 254,
    ) -> None:
        self._encoder, self._most = encoder, most_pieces
        self._rules = frozenset(rules)
        self._asked = {label: at for at, label in enumerate(asked)}
        self._common = frozenset(head["common"].tolist())
        self._bits = len(head["lexical"]).bit_length() - 1
        self._lexical, self._scales = head["lexical"], head["lexical_scales"]
        parts = {name: array.astype(np.float32) for name, array in head.items() if name in _FLOATS}
        for name, array in parts.items():
            if not np.isfinite(array).all():
                raise ValueError(f"array '{name}' of the head holds a number that is not finite")
        read = len(parts["skip"])
        expected = 3 * read + len(asked)
        if len(parts["mix"]) != expected or parts["out"].shape[1] != len(tags):
            raise ValueError(
                f"the head reads {len(parts['mix'])} numbers a word for {parts['out'].shape[1]}"
                f" tags, expected {expected} for {len(tags)}"
            )
        before, own, after, told = np.split(parts["mix"], [read, 2 * read, 3 * read])
        self._before, self._own, self._after, self._told = before, own, after, told
        self._mix_bias, self._out, self._out_bias = (
            parts["mix_bias"],
            parts["out"],
            parts["out_bias"],
        )
        self._skip = parts["skip"]
        self._decoder = Decoder(tags, parts["transitions"], parts["opening"], calibration)

    def tag(
        self, texts: Sequence[str], asked: Sequence[Sequence[str]] | None = None
    ) -> list[list[TaggedSpan]]:
        """Return the spans of each text in order of their start, without overlaps.

        Args:
            texts: The texts.
            asked: Of each text the labels that had been asked for, as far as known.
        """
        parts = [
            (number, part)
            for number, text in enumerate(texts)
            for part in self._parts(text, asked[number] if asked else ())
        ]
        return tagged_together(len(texts), parts, lambda part: len(part.words), self._tag_parts)

    def _tag_parts(self, group: Sequence[_Part]) -> list[list[TaggedSpan]]:
        vectors = self._encoder.vectors([part.ids for part in group])
        lengths = np.array([len(part.words) for part in group])
        scores = np.zeros((len(group), lengths.max(), len(self._out_bias)), np.float32)
        for row, part in enumerate(group):
            scores[row, : lengths[row]] = self._scores(part, vectors[row])
        return self._decoder.spans(scores, lengths, [part.words for part in group])

    def _parts(self, text: str, asked: Sequence[str]) -> list[_Part]:
        found = words(text)
        pieces = self._encoder.pieces(text)
        features = lexical_features(text, found, self._bits, self._common, self._rules)
        made = []
        for segment in segments(found, pieces.offsets, self._most):
            low = segment.pieces[0][0]
            high = max(end for _, end in segment.pieces)
            inside = slice(segment.first, segment.end)
            made.append(
                _Part(asked, found[inside], segment, pieces.ids[low:high], features[inside])
            )
        return made

    def _scores(self, part: _Part, vectors: np.ndarray) -> np.ndarray:
        """Return the score of each tag of each word, (W, K)."""
        start = part.segment.pieces[0][0]
        read = np.zeros((len(part.words), len(self._skip)), np.float32)
        width = vectors.shape[1]
        for at, (low, high) in enumerate(part.segment.pieces):
            if high > low:
                read[at, :width] = vectors[low - start : high - start].mean(axis=0)
            table = self._lexical[part.features[at]]
            read[at, width:] = table.sum(axis=0, dtype=np.int32) * self._scales
        mixed = read @ self._own + self._mix_bias
        mixed[1:] += read[:-1] @ self._before
        mixed[:-1] += read[1:] @ self._after
        for label in part.asked:
            if label in self._asked:
                mixed += self._told[self._asked[label]]
        scores: np.ndarray = np.maximum(mixed, 0) @ self._out + read @ self._skip + self._out_bias
        return scores


_FLOATS = frozenset(
    {"mix", "mix_bias", "out", "out_bias", "skip", "transitions", "opening", "lexical_scales"}
)
