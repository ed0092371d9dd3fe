"""Splits a text into the words an encoder tagger labels, and says what each of them looks like.

A word is a run of letters, a run of digits or a single mark, so that a field may begin and end
anywhere people let one: "8pm" and "judy's" are two and three words. The trainer and the service both
call this code. Knows no label and no weight.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from slmesh.recognise import Context, recognise
from slmesh.slm.entities.features import Token, hashed_features, word_code

__all__ = ["Segment", "lexical_features", "segments", "words"]

_WORD = re.compile(r"(?:[^\W\d_][\u0300-\u036f\u200d]*)+|\d+|[^\w\s]|_")
_STOP = frozenset(".!?\u2026")


@dataclass(frozen=True, slots=True)
class Segment:
    """Neighbouring words that are read and labelled together.

    Attributes:
        first: The first word.
        end: The word after the last.
        pieces: Of each word, the first piece and the piece after the last, in the text's pieces.
    """

    first: int
    end: int
    pieces: tuple[tuple[int, int], ...]


def words(text: str) -> list[Token]:
    """Return the words and marks of a text in order, with code point offsets."""
    return [Token(*found.span(), found.group()) for found in _WORD.finditer(text)]


def segments(
    found: Sequence[Token], offsets: Sequence[tuple[int, int]], most_pieces: int
) -> list[Segment]:
    """Return a text's words in segments that an encoder reads whole.

    Args:
        found: The words of a text.
        offsets: Of the pieces the encoder's tokenizer makes of the same text, in order.
        most_pieces: The most pieces of a segment; a longer text is cut after its last full stop
            that fits, or after the last word.
    """
    ranges = _piece_ranges(found, offsets)
    made: list[Segment] = []
    first = 0
    while first < len(found):
        start = ranges[first][0]
        end = first
        stop = 0
        while end < len(found) and (ranges[end][1] - start <= most_pieces or end == first):
            end += 1
            if found[end - 1].text in _STOP:
                stop = end
        if end < len(found) and stop > first:
            end = stop
        held = [(low, min(high, start + most_pieces)) for low, high in ranges[first:end]]
        made.append(Segment(first, end, tuple(held)))
        first = end
    return made


def _piece_ranges(
    found: Sequence[Token], offsets: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Return of each word the range of the pieces over it; empty where the tokenizer dropped it."""
    ranges = []
    at = 0
    for word in found:
        while at < len(offsets) and offsets[at][1] <= word.start:
            at += 1
        end = at
        while end < len(offsets) and offsets[end][0] < word.end:
            end += 1
        ranges.append((at, end))
        at = max(at, end - 1)  # one piece may hold two words: "8pm"
    return ranges


def lexical_features(
    text: str,
    found: Sequence[Token],
    bits: int,
    common: Collection[int],
    rules: Collection[str] = (),
) -> list[list[int]]:
    """Return hashed feature numbers in [0, 2**bits) of each word of a text.

    Args:
        text: The text.
        found: Its words.
        bits: Binary logarithm of the number of buckets.
        common: Codes of everyday words, see ``features.hashed_features``.
        rules: Kinds of ``slmesh.recognise``; a word in something recognised has a feature for it.
    """
    rows = hashed_features(found, bits, common)
    if rules and found:
        mask = (1 << bits) - 1
        starts = [word.start for word in found]
        for match in recognise(text, rules, _CONTEXT):
            at = max(bisect_right(starts, match.start) - 1, 0)
            at += found[at].end <= match.start
            part = "rb"
            while at < len(found) and found[at].start < match.end:
                rows[at].append(word_code(f"{part}={match.kind}") & mask)
                part = "r"
                at += 1
    return rows


_CONTEXT = Context(reference_time=datetime(2022, 3, 15, 9, tzinfo=UTC))
"""Some moment: it decides what a date stands for, not where one stands."""
