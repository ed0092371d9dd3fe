"""Reads texts with marked persons, places and organisations for the tagger of the entities model.

Knows the columns of the data sets that models/entities/recipe.yaml names, and how sentence templates
are filled with the recipe's own names. Nothing read here is copied into the project.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

from babel import Locale

from slmesh.slm.entities.features import tokens, word_code

LABELS = ("organisation", "person", "place")
_VALIDATION_BUCKET = 7
_TRAINING_BUCKETS = frozenset(range(7))
_SLOT = re.compile(r"\{\{?(\w+)\}?\}")


@dataclass(frozen=True)
class MarkedText:
    """A text with its spans (label, start, end), half-open code point offsets."""

    text: str
    spans: tuple[tuple[str, int, int], ...]
    source: str


def bucket(group: str) -> int:
    """Return the bucket 0..9 of a group: 0-6 train, 7 validation, 8-9 test (never read here)."""
    normalised = " ".join(group.lower().split())
    return int(hashlib.sha256(normalised.encode()).hexdigest(), 16) % 10


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a JSON Lines file, gzip or not.

    Raises:
        ValueError: a line is not JSON; the file and the line are named.
    """
    opened: Any = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}, line {number}: {error}") from error


def nlupp(folder: Path) -> Iterator[tuple[int, MarkedText]]:
    """Yield bucket and text of NLU++: person_name and company_name."""
    kinds = {"person_name": "person", "company_name": "organisation"}
    for row in read_rows(folder / "nlupp/all.jsonl"):
        spans = tuple(
            (kinds[slot], *_trimmed(row["text"], *found["span"]))
            for slot, found in row["slots"].items()
            if slot in kinds
        )
        yield bucket(row["text"]), MarkedText(row["text"], spans, "nlupp")


def wnut17(folder: Path) -> Iterator[tuple[int, MarkedText]]:
    """Yield WNUT17's train (as bucket 0) and dev (as the validation bucket)."""
    kinds = {
        "person": "person",
        "location": "place",
        "corporation": "organisation",
        "group": "organisation",
    }
    for name, place in (("train.jsonl.gz", 0), ("dev.jsonl", _VALIDATION_BUCKET)):
        for row in read_rows(folder / "wnut17" / name):
            text, spans = "", []
            for word, tag in zip(row["tokens"], row["tags"], strict=True):
                start = len(text) + bool(text)
                text = f"{text} {word}" if text else word
                kind = kinds.get(tag[2:])
                if kind and tag.startswith("B-"):
                    spans.append((kind, start, len(text)))
                elif kind and spans:
                    spans[-1] = (kind, spans[-1][1], len(text))
            yield place, MarkedText(text, tuple(spans), "wnut17")


def snips(folder: Path) -> Iterator[tuple[int, MarkedText]]:
    """Yield SNIPS's two intents in which every place and restaurant is marked."""
    kinds = {
        "city": "place",
        "state": "place",
        "country": "place",
        "geographic_poi": "place",
        "poi": "place",
        "restaurant_name": "organisation",
    }
    for row in read_rows(folder / "snips/train.jsonl.gz"):
        if row["intent"] not in ("BookRestaurant", "GetWeather"):
            continue
        spans = tuple(
            (kinds[span["slot"]], span["start"], span["end"])
            for span in row["spans"]
            if span["slot"] in kinds
        )
        yield bucket(row["text"]), MarkedText(row["text"], spans, "snips")


def hwu64(folder: Path) -> Iterator[tuple[int, MarkedText]]:
    """Yield HWU64's train texts: person, place_name and business_name, all in lower case."""
    kinds = {"person": "person", "place_name": "place", "business_name": "organisation"}
    for row in read_rows(folder / "hwu64/train.jsonl.gz"):
        spans = tuple(
            (kinds[span["slot"]], span["start"], span["end"])
            for span in row["spans"]
            if span["slot"] in kinds
        )
        yield bucket(row["text"]), MarkedText(row["text"], spans, "hwu64")


def restaurant8k(folder: Path) -> Iterator[tuple[int, MarkedText]]:
    """Yield RESTAURANTS-8K's train texts in which somebody is named, first and last name joined.

    Its other texts name places and restaurants without marking them.
    """
    for row in read_rows(folder / "restaurant8k/train.jsonl.gz"):
        names = sorted(
            (span["start"], span["end"])
            for span in row["spans"]
            if span["slot"] in ("first_name", "last_name")
        )
        if not names:
            continue
        joined = [names[0]]
        for start, end in names[1:]:
            if row["text"][joined[-1][1] : start].strip(" ,") == "":
                joined[-1] = (joined[-1][0], end)
            else:
                joined.append((start, end))
        spans = tuple(("person", start, end) for start, end in joined)
        yield bucket(row["text"]), MarkedText(row["text"], spans, "restaurant8k")


READERS: dict[str, Callable[[Path], Iterator[tuple[int, MarkedText]]]] = {
    "nlupp": nlupp,
    "wnut17": wnut17,
    "snips": snips,
    "hwu64": hwu64,
    "restaurant8k": restaurant8k,
}


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start] == " ":
        start += 1
    while end > start and text[end - 1] == " ":
        end -= 1
    return start, end


def filled(
    templates: Sequence[str],
    names: Mapping[str, Sequence[str]],
    copies: int,
    draw: random.Random,
    source: str,
) -> Iterator[MarkedText]:
    """Yield each template `copies` times, its slots filled at random.

    A third of the texts is in lower case, as people write to a chat.
    """
    for template in templates:
        for _ in range(copies):
            text, position = "", 0
            spans: list[tuple[str, int, int]] = []
            for slot in _SLOT.finditer(template):
                text += template[position : slot.start()]
                label, value = _value(slot.group(1), names, draw)
                if label and spans and spans[-1][0] == label and text[spans[-1][2] :] == " ":
                    # "{first_name} {last_name}" is one name.
                    spans[-1] = (label, spans[-1][1], len(text) + len(value))
                elif label:
                    spans.append((label, len(text), len(text) + len(value)))
                text += value
                position = slot.end()
            text += template[position:]
            if draw.random() < 1 / 3 and len(text.lower()) == len(text):
                text = text.lower()
            yield MarkedText(text, tuple(spans), source)


def split_names(names: Mapping[str, Sequence[str]]) -> tuple[dict[str, list[str]], ...]:
    """Return the names for training (the first four fifths of each list) and for validation."""
    cut = {kind: len(values) * 4 // 5 for kind, values in names.items()}
    training = {kind: list(values[: cut[kind]]) for kind, values in names.items()}
    validation = {kind: list(values[cut[kind] :]) for kind, values in names.items()}
    return training, validation


def _value(
    slot: str, names: Mapping[str, Sequence[str]], draw: random.Random
) -> tuple[str | None, str]:
    """Return the label (None: nothing to find) and the text of a slot of a template."""
    first, last = draw.choice(names["first_names"]), draw.choice(names["last_names"])
    if slot in ("person", "name", "name_male", "name_female"):
        written = draw.choice([f"{first} {last}", f"{first} {last}", f"{first} {last[0]}. {last}"])
        return "person", written
    if slot.startswith("first_name"):
        return "person", first
    if slot.startswith("last_name"):
        return "person", last
    if slot in ("city", "country", "place"):
        return "place", draw.choice(names["places"])
    if slot in ("organization", "organisation", "company"):
        return "organisation", draw.choice(names["organisations"])
    if slot in ("title", "prefix", "prefix_male", "prefix_female"):
        return None, draw.choice(["Mr", "Mrs", "Ms", "Dr", "Miss", "Professor"])
    if slot == "money":
        return None, draw.choice(["£20", "50 pounds", "€99.90", "$1,200", "a hundred quid"])
    if slot == "email":
        return None, f"{first.lower()}.{last.lower()}@example.com"
    if slot in ("street_name", "address"):
        return None, f"{draw.randrange(1, 300)} {last} {draw.choice(['Road', 'Street', 'Lane'])}"
    return None, str(draw.randrange(10, 9999))


def cldr_places() -> list[str]:
    """Return the English names of countries and of the cities that time zones are named after."""
    countries = [
        name
        for code, name in Locale("en").territories.items()
        if len(code) == 2 and "(" not in name
    ]
    cities = [
        zone.rsplit("/", 1)[1].replace("_", " ") for zone in available_timezones() if "/" in zone
    ]
    return sorted({*countries, *(city for city in cities if city.replace(" ", "").isalpha())})


def common_words(folder: Path, times: int) -> list[int]:
    """Return the codes of the words that customers' everyday sentences hold at least `times` times.

    Counted in the training texts of BANKING77 and CLINC150, which name hardly anybody.
    """
    counts: Counter[str] = Counter()
    for name in ("banking77/train.jsonl.gz", "clinc150/train.jsonl.gz"):
        for row in read_rows(folder / name):
            counts.update(token.text.lower() for token in tokens(row["text"]))
    return sorted({word_code(word) for word, count in counts.items() if count >= times})


def texts_for(
    folder: Path, recipe: Mapping[str, Any], names: Mapping[str, Any]
) -> tuple[list[MarkedText], list[MarkedText]]:
    """Return training and validation texts of everything the recipe names.

    Args:
        folder: where the data sets lie.
        recipe: the recipe's content.
        names: the content of names.yaml: lists of names, and `sentences` with slots.

    Raises:
        FileNotFoundError: a data set is not there.
    """
    training: list[MarkedText] = []
    validation: list[MarkedText] = []
    for source in recipe["data"]:
        if source["name"] in READERS:
            for place, marked in READERS[source["name"]](folder):
                if place in _TRAINING_BUCKETS:
                    training.append(marked)
                elif place == _VALIDATION_BUCKET:
                    validation.append(marked)
    draw = random.Random(recipe["seed"])
    lists = {kind: names[kind] for kind in ("first_names", "last_names", "places", "organisations")}
    known, unseen = split_names(lists)
    known["places"] += [name for name in cldr_places() if name not in unseen["places"]]
    path = folder / "presidio_pii/templates.txt"
    presidio = path.read_text(encoding="utf-8", errors="replace").replace("\\n", "\n").splitlines()
    for templates, source in ((presidio, "presidio_templates"), (names["sentences"], "written")):
        learnt = [template for template in templates if bucket(template) in _TRAINING_BUCKETS]
        held = [template for template in templates if bucket(template) == _VALIDATION_BUCKET]
        training += filled(learnt, known, recipe["copies"][source], draw, source)
        validation += filled(held, unseen, recipe["copies"]["validation"], draw, source)
    return training, validation
