"""Makes the table of words of the guard's tagger: which words are common, and which name something.

Vectors of common words are those of the sentence encoder, in fewer dimensions, so that the tagger
knows of a word it has not been trained on what it is like. It reads training rows only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from slmesh.slm.guard.words import FLAGS, Lexicon, hash_of, tokens
from slmesh.tiers.encoder import SentenceEncoder
from slmesh.training.screening_data import read_rows

__all__ = ["CommonWords", "common_words", "make_lexicon"]

_FLAG_OF_FORM: Mapping[str, str] = {
    "first": "first",
    "last": "last",
    "city": "place",
    "country": "country",
    "street": "street",
    "organisation": "organisation",
}
_PLAIN = (
    ("goemotions/*train*", "text"),
    ("gsm8k/train*", "question"),
    ("banking77/train*", "text"),
    ("clinc150/train*", "text"),
    ("dstc9_faq/all*", "answer"),
    ("dstc11_knowledge/knowledge*", "text"),
    ("medquad/all*", "answer"),
    ("purplellama_frr/all*", "text"),
)
"""Sets whose small-letter words are taken for common words, with the column to read."""

_READ = 600
"""Code points read of a text: some sets hold pages."""

_STREET_WORDS = (
    "street st road rd avenue ave lane drive dr court way close boulevard blvd place terrace square"
    " crescent hill grove highway parkway parade mews gardens row walk circle rue via viale piazza"
    " corso calle avenida plaza paseo rua travessa ulica ul strada chaussée quai straße strasse weg"
    " platz gasse allee straat laan gade vej gatan vägen gata katu tie utca út cesta náměstí gate"
    " apt suite flat unit floor apartment box po psc apo fpo dpo uss usns uscgc corner"
)
_COMPANY_WORDS = (
    "inc ltd llc gmbh ag group plc corp bank partners holdings systems labs company sons"
)


@dataclass(frozen=True)
class CommonWords:
    """Words and their vectors.

    Attributes:
        words: Most frequent first, small letters.
        vectors: int8 (C, D).
        scale: What a step is worth.
    """

    words: Sequence[str]
    vectors: np.ndarray
    scale: float


def common_words(
    data_dir: Path, count: int, dimensions: int, encoder: SentenceEncoder
) -> CommonWords:
    """Return the words most often written in small letters.

    Args:
        data_dir: The folder of all data sets.
        count: How many words at most.
        dimensions: Of their vectors: the first principal components of what the encoder makes of
            each word by itself.
        encoder: The sentence encoder.
    """
    seen: Counter[str] = Counter()
    for pattern, column in _PLAIN:
        for path in sorted(data_dir.glob(pattern)):
            for row in read_rows(path):
                found = (token.text for token in tokens(row[column][:_READ]))
                seen.update(word for word in found if word.isalpha() and word.islower())
    words = [word for word, times in seen.most_common(count) if times >= 3]
    embeddings = encoder.encode(words)
    centred = embeddings - embeddings.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T @ centred)  # in order of rising variance
    projected = centred @ vectors[:, ::-1][:, :dimensions]
    projected /= projected.std(axis=0)
    scale = float(np.percentile(np.abs(projected), 99.9) / 127)
    rounded = np.clip(np.round(projected / scale), -127, 127).astype(np.int8)
    return CommonWords(words, rounded, scale)


def make_lexicon(
    common: CommonWords,
    lists: Mapping[str, Sequence[str]],
    seen: Mapping[str, Sequence[str]],
    bits: int,
) -> Lexicon:
    """Return the table of words.

    Args:
        common: The common words.
        lists: Names by what they name, of this project.
        seen: Names by form, of training rows; see ``seen_values``.
        bits: Binary logarithm of the number of learnt features.
    """
    flags: Counter[int] = Counter()
    for names in (lists, seen):
        for form, flag in _FLAG_OF_FORM.items():
            _note(flags, names.get(form, ()), flag)
    for name in seen.get("full", ()):
        first, *_, last = name.split()
        _note(flags, [first], "first")
        _note(flags, [last], "last")
    _note(flags, _STREET_WORDS.split(), "street")
    _note(flags, _COMPANY_WORDS.split(), "organisation")
    keys = np.array(sorted(flags), np.uint32)
    order = np.argsort([hash_of(word) for word in common.words], kind="stable")
    hashes = np.array([hash_of(word) for word in common.words], np.uint32)[order]
    return Lexicon(
        hashes,
        common.vectors[order],
        common.scale,
        keys,
        np.array([flags[key] for key in keys.tolist()], np.uint8),
        bits,
    )


def _note(flags: Counter[int], names: Iterable[str], flag: str) -> None:
    bit = 1 << FLAGS.index(flag)
    for name in names:
        for token in tokens(name.lower()):
            if token.text.isalpha() and len(token.text) > 1:
                flags[hash_of(token.text)] |= bit
