"""Gathers the sentences the guard's tagger learns from, each with its persons, addresses and the rest.

It reads presidio_pii by template, so that no template stands on both sides of a split, refills the
templates, fills this project's own, and reads sets whose names are marked or masked. It knows no model.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from slmesh.training.screening_data import bucket, read_rows, template_of
from slmesh.training.screening_values import Values, address_form

__all__ = [
    "PRESIDIO_FILES",
    "Sentence",
    "Sources",
    "presidio_rows",
    "read_lists",
    "seen_values",
    "sentences",
]

Sentence = tuple[str, Sequence[tuple[str, int, int]]]
"""A text and what it names: kind and half-open range, in order."""

PRESIDIO_FILES = ("synth_v2", "generated_large")
"""Of presidio_pii, without their ending."""

_KINDS: Mapping[str, str] = {
    "PERSON": "person",
    "STREET_ADDRESS": "address",
    "ADDRESS": "address",
    "ZIP_CODE": "address",
    "GPE": "place",
    "LOCATION": "place",
    "ORGANIZATION": "organisation",
}
_SLOT_KINDS: Mapping[str, str] = {
    **dict.fromkeys(("person", "first", "last", "full"), "person"),
    **dict.fromkeys(("address", "street", "unit", "postcode", "number_part"), "address"),
    **dict.fromkeys(("place", "city", "country"), "place"),
    "org": "organisation",
}
_WNUT_KINDS: Mapping[str, str] = {
    "person": "person",
    "location": "place",
    "corporation": "organisation",
    "group": "organisation",
}
_SLOT = re.compile(r"\{(\w+)\}")
_MASKED = re.compile(r"\[NAME\]")
_MASKS = re.compile(r"\[[A-Z]+\]")
_TITLE = re.compile(r"(?:Mr|Mrs|Ms|Miss|Dr|Prof)\.?", re.IGNORECASE)
_NO_SPACE_BEFORE = re.compile(r"[.,!?;:)%]+|'\w{1,2}|n't|…")
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


@dataclass(frozen=True)
class Sources:
    """Where the sentences come from.

    Attributes:
        data_dir: The folder of all data sets.
        passages: A collection written for this project, as texts without names.
        phrases: Patterns of sentences with names and without.
        templates: More patterns, by style.
        lists: Names by what they name, see :class:`Values`.
        numbers: How many rows of each source.
        seed: Of all draws.
    """

    data_dir: Path
    passages: Path
    phrases: Path
    templates: Path
    lists: Mapping[str, Sequence[str]]
    numbers: Mapping[str, int]
    seed: int


def read_lists(path: Path) -> dict[str, list[str]]:
    """Return lists of names by what they name."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {key: [name for row in rows for name in row] for key, rows in content["lists"].items()}


def presidio_rows(folder: Path) -> list[dict[str, Any]]:
    """Return the training rows of presidio_pii.

    Buckets 0 to 6, less the rows of templates whose text is in another bucket in either file.
    """
    rows = [row for name in PRESIDIO_FILES for row in read_rows(folder / f"{name}.jsonl")]
    kept_out = {template_of(row) for row in rows if bucket(row["template_id"]) > 6}
    return [row for row in rows if template_of(row) not in kept_out]


def marked(row: Mapping[str, Any]) -> list[tuple[str, int, int]]:
    """Return what a row of presidio_pii names; a title by itself is no name."""
    return [
        (_KINDS[span["label"]], span["start"], span["end"])
        for span in row["spans"]
        if span["label"] in _KINDS and not _TITLE.fullmatch(span["text"])
    ]


def seen_values(rows: Sequence[Mapping[str, Any]], first_names: set[str]) -> dict[str, list[str]]:
    """Return the values of rows of presidio_pii by form, see :class:`Values`."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for kind, start, end in marked(row):
            text = row["text"][start:end]
            form = kind
            if kind == "person":
                form = _name_form(text, first_names)
            elif kind == "address":
                form = address_form(text)
            elif kind == "place":
                form = "city"
            found.setdefault(form, []).append(text)
    return {form: sorted(set(values)) for form, values in found.items()}


def _name_form(text: str, first_names: set[str]) -> str:
    if " " in text:
        return "full"
    return "first" if text.lower() in first_names else "last"


def sentences(sources: Sources, rows: Sequence[Mapping[str, Any]]) -> list[Sentence]:
    """Return all sentences.

    Args:
        sources: Where they come from.
        rows: The rows of presidio_pii to learn from.
    """
    draw = random.Random(sources.seed)
    first_names = {name.lower() for name in sources.lists["first"]}
    values = Values(sources.lists, seen_values(rows, first_names), draw)
    numbers = sources.numbers
    found: list[Sentence] = [(row["text"], marked(row)) for row in rows]
    found += [
        _refilled(row, values, first_names) for row in rows for _ in range(numbers["refills"])
    ]
    found += _templates(sources.templates, values, numbers["of_template"])
    found += _phrases(sources.phrases, values, numbers["phrases"])
    found += _masked(sources.data_dir, values, draw, numbers["goemotions"])
    found += _wnut(sources.data_dir / "wnut17/train.jsonl.gz")
    found += _without_names(sources, draw)
    return [_cased(sentence, draw) for sentence in found if sentence[0].strip()]


def _refilled(row: Mapping[str, Any], values: Values, first_names: set[str]) -> Sentence:
    """Return a row with other names and addresses of the same form."""
    text, read, places = "", 0, []
    for kind, start, end in marked(row):
        old = row["text"][start:end]
        form = {"organisation": "org", "place": "place"}.get(kind, "")
        if kind == "person":
            form = _name_form(old, first_names)
        elif kind == "address":
            form = address_form(old)
        new = old if form == "other" else values.value("number_part" if form == "number" else form)
        text += row["text"][read:start]
        places.append((kind, len(text), len(text) + len(new)))
        text, read = text + new, end
    return text + row["text"][read:], places


def _filled(pattern: str, values: Values) -> Sentence:
    """Return a pattern with its slots filled, and what it names."""
    text, read, places = "", 0, []
    for slot in _SLOT.finditer(pattern):
        text += pattern[read : slot.start()]
        value = values.value(slot.group(1))
        if slot.group(1) in _SLOT_KINDS:
            places.append((_SLOT_KINDS[slot.group(1)], len(text), len(text) + len(value)))
        text, read = text + value, slot.end()
    return text + pattern[read:], places


def _templates(path: Path, values: Values, of_each: int) -> Iterator[Sentence]:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    for pattern in [pattern for style in content.values() for pattern in style]:
        for _ in range(of_each):
            yield _filled(pattern, values)


def _phrases(path: Path, values: Values, of_each: int) -> Iterator[Sentence]:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    for pattern in content["named"] + content["unnamed"]:
        for _ in range(of_each):
            yield _filled(pattern, values)


def _masked(data_dir: Path, values: Values, draw: random.Random, count: int) -> Iterator[Sentence]:
    """Fill the names that goemotions masks, so that names stand in sentences people have written."""
    rows = [
        row
        for path in sorted((data_dir / "goemotions").glob("*train*.jsonl*"))
        for row in read_rows(path)
    ]
    named: list[str] = []
    others: list[str] = []
    for row in rows:
        (named if "[NAME]" in row["text"] else others).append(row["text"])
    for text in draw.sample(others, min(count // 3, len(others))):
        yield _MASKS.sub("Christian", text), ()
    for text in draw.sample(named, min(count, len(named))):
        form = draw.choice(["first", "last", "full", "person"])
        pattern = _MASKED.sub("{name}", text.replace("{", "(").replace("}", ")"))
        pattern = _MASKS.sub("Christian", pattern).replace("{name}", f"{{{form}}}")
        yield _filled(pattern, values)


def _wnut(path: Path) -> Iterator[Sentence]:
    for row in read_rows(path):
        places: list[tuple[str, int, int]] = []
        text, open_kind = "", ""
        for token, tag in zip(row["tokens"], row["tags"], strict=True):
            if text and not _NO_SPACE_BEFORE.fullmatch(token):
                text += " "
            begin, _, label = tag.partition("-")
            kind = _WNUT_KINDS.get(label, "")
            start = len(text)
            text += token
            if kind and begin == "I" and open_kind == kind and places:
                places[-1] = (kind, places[-1][1], len(text))
            elif kind:
                places.append((kind, start, len(text)))
            open_kind = kind
        yield text, places


def _without_names(sources: Sources, draw: random.Random) -> Iterator[Sentence]:
    """Yield texts without names or addresses, so that the model learns to find none."""
    for row in read_rows(sources.passages):
        yield row["text"], ()
    for name, column in _NAMELESS:
        rows = read_rows(sources.data_dir / name)
        for row in draw.sample(rows, sources.numbers[name.partition("/")[0]]):
            yield row[column][:_LONGEST], ()


def _cased(sentence: Sentence, draw: random.Random) -> Sentence:
    """Return a sentence, sometimes in small letters only, or in capitals only."""
    text, places = sentence
    chance = draw.random()
    changed = text.lower() if chance < 0.1 else text.upper() if chance < 0.12 else text
    return (changed if len(changed) == len(text) else text), places
