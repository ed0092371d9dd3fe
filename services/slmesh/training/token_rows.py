"""Makes what the encoder tagger trains on of texts with marked spans: pieces, features, tags.

It knows no data set, and no torch: rows in, arrays out.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from slmesh.slm.entities.features import Token, word_code
from slmesh.slm.entities.words import lexical_features, segments, words

__all__ = [
    "Example",
    "Preparer",
    "SlotText",
    "TaggerRows",
    "common_words",
    "padded",
    "swapped",
    "values_of",
]


@dataclass(frozen=True)
class SlotText:
    """A text with its fields.

    Attributes:
        text: The text.
        spans: (label, start, end), half-open code point offsets.
        asked: Labels that had been asked for when the text was written.
        kind: What kind of text it is, or "": told beside the fields while training.
        source: Of which set it is; its fields are told from those of no other set.
    """

    text: str
    spans: tuple[tuple[str, int, int], ...]
    asked: tuple[str, ...] = ()
    kind: str = ""
    source: str = ""


@dataclass(frozen=True)
class TaggerRows:
    """What to fine-tune on, and what to watch.

    Attributes:
        rows: Training texts. Those of the first one's source are what the tagger is for; the fields
            of other sources are learnt beside, and forgotten.
        held: Validation texts of the same source, only watched.
        labels: Of the fields the tagger is for.
    """

    rows: Sequence[SlotText]
    held: Sequence[SlotText]
    labels: Sequence[str]

    @property
    def asked(self) -> tuple[str, ...]:
        """The labels that had been asked for in some training text."""
        found = {label for row in self.rows for label in row.asked}
        return tuple(label for label in self.labels if label in found)


@dataclass(frozen=True)
class Example:
    """A text as the model reads it.

    Attributes:
        ids: Numbers of its pieces, with those that open and close it.
        ranges: Of each word, its pieces in ``ids``; empty where the tokenizer dropped it.
        features: Of each word, rows of the lexical table.
        tags: Of each word, the number of its tag.
        asked: Numbers of the labels that had been asked for.
        kind: The number of its kind, or -1.
        source: The number of its set.
    """

    ids: tuple[int, ...]
    ranges: tuple[tuple[int, int], ...]
    features: tuple[tuple[int, ...], ...]
    tags: tuple[int, ...]
    asked: tuple[int, ...]
    kind: int
    source: int


class Preparer:
    """Makes examples.

    Args:
        tokenizer: Of the backbone, without padding and truncation.
        tags: Of each set, by its name, the tags and their columns.
        labels: That can be asked for.
        kinds: Of texts.
        numbers: ``bits`` (binary logarithm of the rows of the lexical table), ``rules`` (kinds of
            ``slmesh.recognise`` that are features), ``max_tokens`` (pieces read of a text).
        common: Codes of everyday words.
    """

    def __init__(
        self,
        tokenizer: Any,
        tags: Mapping[str, Mapping[str, int]],
        labels: Sequence[str],
        kinds: Sequence[str],
        numbers: Mapping[str, Any],
        common: Collection[int],
    ) -> None:
        self._tokenizer, self._tags, self._numbers = tokenizer, tags, numbers
        self._sources = {name: at for at, name in enumerate(tags)}
        self._labels = {label: at for at, label in enumerate(labels)}
        self._kinds = {kind: at for at, kind in enumerate(kinds)}
        self._common = frozenset(common)
        self._frame: list[int] = tokenizer.encode("").ids

    def example(self, row: SlotText) -> Example:
        """Return a text as the model reads it; of a long one, the beginning."""
        encoding = self._tokenizer.encode(row.text, add_special_tokens=False)
        found = words(row.text)
        most = self._numbers["max_tokens"] - len(self._frame)
        segment = segments(found, encoding.offsets, most)[0]
        found = found[: segment.end]
        features = lexical_features(
            row.text[: found[-1].end],
            found,
            self._numbers["bits"],
            self._common,
            self._numbers["rules"],
        )
        last = max(high for _, high in segment.pieces)
        return Example(
            (self._frame[0], *encoding.ids[:last], *self._frame[1:]),
            tuple((low + 1, high + 1) for low, high in segment.pieces),
            tuple(tuple(names) for names in features),
            tuple(_tags(found, row.spans, self._tags[row.source])),
            tuple(self._labels[label] for label in row.asked if label in self._labels),
            self._kinds.get(row.kind, -1),
            self._sources[row.source],
        )


def _tags(
    found: Sequence[Token], spans: Sequence[tuple[str, int, int]], columns: Mapping[str, int]
) -> list[int]:
    """Return the column of each word's tag; of spans that overlap the first one stands."""
    tags = [columns["O"]] * len(found)
    taken = [False] * len(found)
    for label, start, end in sorted(spans, key=lambda span: (span[1], span[2])):
        inside = [at for at, w in enumerate(found) if w.start < end and w.end > start]
        if not inside or any(taken[at] for at in inside):
            continue
        for at in inside:
            tags[at] = columns[f"{'B' if at == inside[0] else 'I'}-{label}"]
            taken[at] = True
    return tags


def common_words(rows: Sequence[SlotText], times: int) -> list[int]:
    """Return the codes of the words that stand outside fields at least ``times`` times."""
    counts: Counter[str] = Counter()
    for row in rows:
        for word in words(row.text):
            if not any(start <= word.start < end for _, start, end in row.spans):
                counts[word.text.lower()] += 1
    return sorted({word_code(word) for word, count in counts.items() if count >= times})


def values_of(rows: Sequence[SlotText]) -> dict[tuple[str, str], list[str]]:
    """Return what was written for each label of each set, as often as it was."""
    values: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows:
        for label, start, end in row.spans:
            values[row.source, label].append(row.text[start:end])
    return dict(values)


def swapped(
    row: SlotText,
    values: Mapping[tuple[str, str], Sequence[str]],
    share: float,
    draw: random.Random,
) -> SlotText:
    """Return the text with some of its fields filled with what other texts have there."""
    if draw.random() >= share or not row.spans:
        return row
    text, at = "", 0
    spans = []
    for label, start, end in sorted(row.spans, key=lambda span: (span[1], span[2])):
        if start < at:  # overlaps the one before
            return row
        text += row.text[at:start]
        value = row.text[start:end]
        if draw.random() < 0.5:
            value = draw.choice(values[row.source, label])
        spans.append((label, len(text), len(text) + len(value)))
        text += value
        at = end
    return replace(row, text=text + row.text[at:], spans=tuple(spans))


def padded(examples: Sequence[Example], buckets: int, asked: int) -> dict[str, np.ndarray]:
    """Return examples as arrays of one batch; see ``token_model.Batch``.

    Args:
        examples: At least one.
        buckets: Rows of the lexical table, the number that pads.
        asked: How many labels can be asked for.
    """
    count = len(examples)
    pieces = max(len(one.ids) for one in examples)
    longest = max(len(one.tags) for one in examples)
    wide = max(len(names) for one in examples for names in one.features)
    made: dict[str, np.ndarray] = {
        "ids": np.zeros((count, pieces), np.int64),
        "mask": np.zeros((count, pieces), np.int64),
        "spread": np.zeros((count, longest, pieces), np.float32),
        "features": np.full((count, longest, wide), buckets, np.int64),
        "asked": np.zeros((count, asked), np.float32),
        "lengths": np.array([len(one.tags) for one in examples]),
        "tags": np.zeros((count, longest), np.int64),
        "kinds": np.array([one.kind for one in examples]),
        "sources": np.array([one.source for one in examples]),
    }
    for at, one in enumerate(examples):
        made["ids"][at, : len(one.ids)] = one.ids
        made["mask"][at, : len(one.ids)] = 1
        made["tags"][at, : len(one.tags)] = one.tags
        made["asked"][at, list(one.asked)] = 1
        for place, (low, high) in enumerate(one.ranges):
            if high > low:
                made["spread"][at, place, low:high] = 1 / (high - low)
            names = one.features[place]
            made["features"][at, place, : len(names)] = names
    return made
