"""Trains the guard's tagger of names and addresses: an averaged structured perceptron.

It reads presidio_pii by template, so that no template stands on both sides of a split, and texts
without names. It knows nothing of rules.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import yaml

from slmesh.slm.guard.tagger import TAGS, Tagger, decode, feature_rows, tokens
from slmesh.training.screening_data import bucket, read_rows, template_of
from slmesh.training.screening_report import LABEL_MAP

__all__ = ["fold_of", "train_tagger", "train_taggers"]

_Sentence = tuple[str, Sequence[tuple[str, int, int]]]
"""A text with its persons and addresses: kind and half-open range."""

_FILES = ("synth_v2.jsonl", "generated_large.jsonl")
_KINDS = ("person", "address")
_IMPOSSIBLE = -1e4
_SLOT = re.compile(r"\{(\w+)\}")
_LOWER_CASE = 0.1
_LONGEST = 300
_NAMELESS = (
    ("banking77/train.jsonl.gz", "text"),
    ("clinc150/train.jsonl.gz", "text"),
    ("purplellama_frr/all.jsonl", "text"),
    ("dstc9_faq/all.jsonl.gz", "answer"),
    ("dstc11_knowledge/knowledge.jsonl.gz", "text"),
    ("medquad/all.jsonl.gz", "answer"),
)
"""Sets whose texts hold next to no person and no address, with the column to read."""


def _templated(folder: Path, seed: int) -> list[tuple[str, _Sentence]]:
    """Return the training rows of presidio_pii with their templates; one in seven also in lower case.

    Rows of buckets 0 to 6, less those whose template is in bucket 7 of either file.
    """
    draw = random.Random(seed)
    rows = [row for name in _FILES for row in read_rows(folder / name)]
    unseen = {template_of(row) for row in rows if bucket(row["template_id"]) == 7}
    found: list[tuple[str, _Sentence]] = []
    for row in rows:
        text, template = row["text"], template_of(row)
        if bucket(row["template_id"]) > 6 or template in unseen:
            continue
        marked = [
            (LABEL_MAP[span["label"]], span["start"], span["end"])
            for span in row["spans"]
            if LABEL_MAP.get(span["label"]) in _KINDS
        ]
        found.append((template, (text, marked)))
        if draw.random() < 1 / 7 and len(text.lower()) == len(text):
            found.append((template, (text.lower(), marked)))
    return found


def _without_names(
    data_dir: Path, passages: Path, sizes: Mapping[str, int], seed: int
) -> list[_Sentence]:
    """Return texts without names or addresses, so that the model learns to find none."""
    draw = random.Random(seed)
    found: list[_Sentence] = [(row["text"], ()) for row in read_rows(passages)]
    for name, column in _NAMELESS:
        source = name.partition("/")[0]
        for row in draw.sample(read_rows(data_dir / name), sizes[source]):
            found.append((row[column][:_LONGEST], ()))
    return found


def _written(path: Path, rows_per_pattern: int, seed: int) -> list[_Sentence]:
    """Return sentences of this project's own patterns, with names and without."""
    content, draw = yaml.safe_load(path.read_text(encoding="utf-8")), random.Random(seed)
    return [
        _filled(pattern, content["names"], draw)
        for pattern in content["named"] + content["unnamed"]
        for _ in range(rows_per_pattern)
    ]


def _filled(pattern: str, names: Mapping[str, Sequence[str]], draw: random.Random) -> _Sentence:
    """Return a pattern with its slots filled, and where the names are."""
    text, marked, read = "", [], 0
    for slot in _SLOT.finditer(pattern):
        text += pattern[read : slot.start()]
        value = _value(slot.group(1), names, draw)
        if slot.group(1) in _KINDS:
            marked.append((slot.group(1), len(text), len(text) + len(value)))
        text, read = text + value, slot.end()
    text += pattern[read:]
    return (text.lower() if draw.random() < _LOWER_CASE else text), marked


def _value(slot: str, names: Mapping[str, Sequence[str]], draw: random.Random) -> str:
    if slot == "number":
        return str(draw.randint(1000, 99999))
    if slot == "person":
        last = draw.choice(names["last"])
        return draw.choice(names["first"]) + draw.choice(["", f" {last}", f" {last}"])
    street = f"{draw.randint(1, 180)} {draw.choice(names['streets'])}"
    flat = draw.choice(["", "", f", Flat {draw.randint(1, 30)}"])
    rest = f"{draw.choice(names['towns'])} {draw.choice(names['postcodes'])}"
    return street + flat + draw.choice([f", {rest}", "", f"\n{rest}"])


def fold_of(template: str, folds: int) -> int:
    """Return the fold of a template, in [0, folds)."""
    return crc32(template.encode()) % folds


def train_tagger(sentences: Sequence[_Sentence], numbers: Mapping[str, Any], seed: int) -> Tagger:
    """Return a tagger.

    Args:
        sentences: What to learn from.
        numbers: ``bits``, ``epochs``, and ``dropped``: the share of features a step does not see,
            so that no name is learnt by heart.
        seed: Of the order and of what is dropped.
    """
    draw = np.random.default_rng(seed)
    rows = [_encoded(text, marked, numbers["bits"]) for text, marked in sentences]
    rows = [row for row in rows if len(row[1])]
    learner = _Perceptron(numbers["bits"])
    for _ in range(numbers["epochs"]):
        for index in draw.permutation(len(rows)).tolist():
            features, tags = rows[index]
            learner.step(features, tags, draw.random(features.shape) >= numbers["dropped"])
    return learner.averaged()


def train_taggers(
    plan: Mapping[str, Any], data_dir: Path, passages: Path, phrases: Path
) -> tuple[Tagger, list[Tagger]]:
    """Return the tagger of all training templates, and for each fold one that has not seen it.

    Args:
        plan: The guard's recipe.
        data_dir: The folder of all data sets.
        passages: A collection written for this project, as texts without names.
        phrases: Patterns of sentences with names and without.
    """
    numbers, seed = plan["numbers"]["tagger"], plan["seed"]
    templated = _templated(data_dir / "presidio_pii", seed)
    plain = _without_names(data_dir, passages, numbers["rows"], seed)
    plain += _written(phrases, numbers["rows"]["phrases"], seed)
    folds = plan["numbers"]["folds"]
    whole = train_tagger([sentence for _, sentence in templated] + plain, numbers, seed)
    by_fold = [
        train_tagger(
            [sentence for template, sentence in templated if fold_of(template, folds) != fold]
            + plain,
            numbers,
            seed,
        )
        for fold in range(folds)
    ]
    return whole, by_fold


class _Perceptron:
    """Weights with a running average. Source: Collins, EMNLP 2002, sections 2 and 3."""

    def __init__(self, bits: int) -> None:
        count = len(TAGS)
        self.weights = np.zeros((1 << bits, count), np.float32)
        self.transitions = np.zeros((count + 1, count), np.float32)
        self.weighted_sum = np.zeros_like(self.weights)
        self.transition_sum = np.zeros_like(self.transitions)
        self.steps = 1
        self.forbidden = _forbidden()

    def step(self, features: np.ndarray, tags: np.ndarray, seen: np.ndarray) -> None:
        """Learn from one text: features (T, F), tags (T,), and which features count (T, F)."""
        share = max(float(seen.mean()), 1e-6)
        emissions = (self.weights[features] * seen[..., None]).sum(axis=1) / share
        guessed = np.array(decode(emissions, self.transitions + self.forbidden))
        for index in np.flatnonzero(guessed != tags).tolist():
            buckets = features[index][seen[index]]
            for tag, sign in ((tags[index], 1.0), (guessed[index], -1.0)):
                np.add.at(self.weights, (buckets, tag), sign)
                np.add.at(self.weighted_sum, (buckets, tag), sign * self.steps)
        if (guessed != tags).any():
            for path, sign in ((tags, 1.0), (guessed, -1.0)):
                before = np.concatenate([[len(TAGS)], path[:-1]])
                np.add.at(self.transitions, (before, path), sign)
                np.add.at(self.transition_sum, (before, path), sign * self.steps)
        self.steps += 1

    def averaged(self) -> Tagger:
        """Return the tagger of the averaged weights, rounded as they are stored."""
        weights = self.weights - self.weighted_sum / self.steps
        transitions = self.transitions - self.transition_sum / self.steps + self.forbidden
        return Tagger(weights.astype(np.float16).astype(np.float32), transitions)


def _forbidden() -> np.ndarray:
    """Return what to add to transitions, so that an I tag follows only a tag of its kind."""
    count = len(TAGS)
    found = np.zeros((count + 1, count), np.float32)
    for after, tag in enumerate(TAGS):
        begin, _, kind = tag.partition("-")
        for before in range(count + 1):
            if begin == "I" and (before == count or not TAGS[before].endswith(f"-{kind}")):
                found[before, after] = _IMPOSSIBLE
    return found


def _encoded(
    text: str, marked: Sequence[tuple[str, int, int]], bits: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return features (T, F) and tags (T,) of a text."""
    words = tokens(text)
    tags = np.zeros(len(words), np.int64)
    for kind, start, end in marked:
        begin = "B"
        for index, word in enumerate(words):
            if word.start >= start and word.end <= end:
                tags[index] = TAGS.index(f"{begin}-{kind}")
                begin = "I"
    return feature_rows([word.text for word in words], bits), tags
