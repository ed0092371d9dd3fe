"""Reads public data sets as examples for the injection check, split the same way every time.

A split never separates near-duplicates: the bucket of an example is taken from its group. Buckets 0
to 6 train, 7 validates, 8 and 9 are test and are not read here. It knows no model.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from slmesh.slm.guard.injection import DOCUMENT, USER
from slmesh.slm.guard.windows import DOCUMENT_WINDOW, USER_WINDOW, windows

__all__ = [
    "TRAIN",
    "VALIDATION",
    "Example",
    "Window",
    "bucket",
    "cut",
    "read_examples",
    "read_rows",
    "template_of",
]

TRAIN = "train"
VALIDATION = "validation"

_PASTED = frozenset({"bipia_contexts", "dstc11_knowledge", "help_passages", "medquad"})

_PLACEHOLDER = re.compile(r"\{\{\w+\}\}")
_SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Example:
    """One text with what is known of it.

    Attributes:
        source: The data set.
        split: ``TRAIN`` or ``VALIDATION``.
        head: The head that judges it.
        text: The text.
        injected: The half-open range of the injected instruction; the whole text when only that is
            known; None for a text without one.
        group: Near-duplicates share it; folds never separate them.
    """

    source: str
    split: str
    head: str
    text: str
    injected: tuple[int, int] | None
    group: str


@dataclass(frozen=True)
class Window:
    """One window of an example.

    Attributes:
        example: Index of the example.
        text: The window.
        label: 1 for an injection, 0 for none, None where the data do not say.
    """

    example: int
    text: str
    label: int | None


def bucket(group: object) -> int:
    """Return the bucket of a group, in [0, 9]."""
    return int(hashlib.sha256(str(group).encode()).hexdigest(), 16) % 10


def template_of(row: Mapping[str, Any]) -> str:
    """Return the template of a row of presidio_pii, the same in all of its files.

    The files number and name placeholders differently, so the number cannot tell that a template of
    one file is a template of the other.
    """
    return _plain(_PLACEHOLDER.sub("_", row["masked"]))


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a JSON Lines file, compressed or not."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")
    return [json.loads(line) for line in text.split("\n") if line.strip()]


def read_examples(
    data_dir: Path, own: Mapping[str, Path], sizes: Mapping[str, int], seed: int
) -> list[Example]:
    """Return all examples that train or validate the injection check.

    Args:
        data_dir: The folder with one folder for each public data set.
        own: Files written for this project: ``written`` with text, origin and label, ``phrases``
            with patterns, ``passages`` and ``unseen_passages`` with id and text.
        sizes: How many rows of the large sets are drawn, by source.
        seed: Of the draws.
    """
    draw = random.Random(seed)
    examples = [
        *_attacks_of_users(data_dir),
        *_benign_users(data_dir, sizes, draw),
        *_benign_documents(data_dir, sizes, draw),
        *_attacked_documents(data_dir, draw),
        *_written(own),
        *_phrases(own["phrases"], sizes["phrases"], draw),
    ]
    return [*examples, *_pasted(examples)]


def cut(examples: Sequence[Example]) -> list[Window]:
    """Return the windows of all examples, as the check will see them."""
    found: list[Window] = []
    for index, example in enumerate(examples):
        size = USER_WINDOW if example.head == USER else DOCUMENT_WINDOW
        for start, end in windows(example.text, size):
            label: int | None = 0
            if example.injected is not None:
                first, last = example.injected
                if start < last and end > first:
                    # Of an instruction in several sentences only the first is sure to be one; the
                    # rest may be the code or the text it carries.
                    whole = example.injected == (0, len(example.text))
                    label = 1 if whole or start <= first < end else None
            found.append(Window(index, example.text[start:end], label))
    return found


def _example(
    source: str,
    group: object,
    head: str,
    text: str,
    injected: tuple[int, int] | None = None,
    split: str = "",
) -> Iterator[Example]:
    number = bucket(group)
    split = split or {7: VALIDATION, 8: "", 9: ""}.get(number, TRAIN)
    if split:
        yield Example(source, split, head, text, injected, f"{source}/{group}")


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def _attacks_of_users(data_dir: Path) -> Iterator[Example]:
    for row in read_rows(data_dir / "jailbreak_prompts/all.jsonl"):
        text = row["text"]
        yield from _example("jailbreak_prompts", row["group"], USER, text, (0, len(text)))
    for row in read_rows(data_dir / "purplellama_injection/all.jsonl"):
        text = row["text"]
        yield from _example("purplellama_injection", _plain(text), USER, text, (0, len(text)))
        if row["variant"] in ("ignore_previous_instructions", "system_mode"):
            group = _plain(text)
            yield from _example("purplellama_injection", group, DOCUMENT, text, (0, len(text)))


def _benign_users(
    data_dir: Path, sizes: Mapping[str, int], draw: random.Random
) -> Iterator[Example]:
    for row in read_rows(data_dir / "purplellama_frr/all.jsonl"):
        yield from _example("purplellama_frr", _plain(row["text"]), USER, row["text"])
    rows = read_rows(data_dir / "clinc150/train.jsonl.gz")
    for row in draw.sample(rows, sizes["clinc150"]):
        yield from _example("clinc150", row["id"], USER, row["text"], split=TRAIN)
    rows = read_rows(data_dir / "clinc150/val.jsonl")
    unseen = draw.sample(rows, sizes["clinc150"] // 2)
    for row in unseen + read_rows(data_dir / "clinc150/oos_val.jsonl"):
        yield from _example("clinc150", row["id"], USER, row["text"], split=VALIDATION)
    for source in ("banking77", "hwu64", "goemotions", "gsm8k"):
        rows = [
            row
            for path in sorted((data_dir / source).glob("*train*.jsonl*"))
            for row in read_rows(path)
        ]
        for row in draw.sample(rows, sizes[source]):
            text = row["question" if source == "gsm8k" else "text"]
            yield from _example(source, _plain(text), USER, text)
    for row in draw.sample(read_rows(data_dir / "dstc11_knowledge/val.jsonl.gz"), sizes["dstc11"]):
        yield from _example("dstc11_queries", row["dialogue_key"], USER, row["query"])


def _benign_documents(
    data_dir: Path, sizes: Mapping[str, int], draw: random.Random
) -> Iterator[Example]:
    for row in read_rows(data_dir / "bipia/email_contexts_train.jsonl"):
        yield from _example("bipia_contexts", _plain(row["context"]), DOCUMENT, row["context"])
    tables = read_rows(data_dir / "bipia/table_contexts_train.jsonl.gz")
    unseen = [row for row in tables if bucket(_plain(row["context"])) == 7]
    for row in draw.sample(tables, sizes["bipia_tables"]) + unseen:
        yield from _example("bipia_contexts", _plain(row["context"]), DOCUMENT, row["context"])
    for row in draw.sample(read_rows(data_dir / "dstc9_faq/all.jsonl.gz"), sizes["dstc9"]):
        yield from _example("dstc9_faq", row["entity_id"], DOCUMENT, row["answer"])
        if row["doc"] in ("0", "3", "6", "9"):
            yield from _example("dstc9_faq", row["entity_id"], DOCUMENT, row["question"])
    rows = read_rows(data_dir / "dstc11_knowledge/knowledge.jsonl.gz")
    for row in draw.sample(rows, sizes["dstc11"]):
        yield from _example("dstc11_knowledge", row["entity_id"], DOCUMENT, row["text"])
    for row in draw.sample(read_rows(data_dir / "medquad/all.jsonl.gz"), sizes["medquad"]):
        yield from _example("medquad", row["focus"], DOCUMENT, row["answer"])


def _pasted(examples: Sequence[Example]) -> Iterator[Example]:
    """Yield harmless documents as if a user had pasted them: other users' texts are of one line."""
    for example in examples:
        if example.source in _PASTED and example.injected is None:
            group = f"pasted/{example.group}"
            yield replace(example, source="pasted", head=USER, group=group)


def _attacked_documents(data_dir: Path, draw: random.Random) -> Iterator[Example]:
    """Put each attack at the start, in the middle and at the end of documents of its own split."""
    emails = read_rows(data_dir / "bipia/email_contexts_train.jsonl")
    tables = read_rows(data_dir / "bipia/table_contexts_train.jsonl.gz")
    contexts: dict[str, list[list[str]]] = {}
    for split, numbers in ((TRAIN, range(7)), (VALIDATION, range(7, 8))):
        contexts[split] = [
            [row["context"] for row in rows if bucket(_plain(row["context"])) in numbers]
            for rows in (emails, tables)
        ]
    for row in read_rows(data_dir / "bipia/attacks_train.jsonl"):
        attack, number = row["attack"], bucket(_plain(row["attack"]))
        if number > 7:
            continue
        split = TRAIN if number < 7 else VALIDATION
        for place in ("start", "middle", "end") * (1 if split == TRAIN else 3):
            context = draw.choice(draw.choice(contexts[split]))
            text, injected = _inserted(context, attack, place)
            yield Example("bipia", split, DOCUMENT, text, injected, f"bipia/{row['id']}")


def _inserted(context: str, attack: str, place: str) -> tuple[str, tuple[int, int]]:
    lines = context.split("\n")
    at = {"start": 0, "middle": len(lines) // 2, "end": len(lines)}[place]
    head = "".join(line + "\n" for line in lines[:at])
    return head + attack + "\n" + "\n".join(lines[at:]), (len(head), len(head) + len(attack))


def _written(own: Mapping[str, Path]) -> Iterator[Example]:
    for row in read_rows(own["written"]):
        text = row["text"]
        injected = (0, len(text)) if row["label"] == "injection" else None
        # An attempt to take over is one wherever it stands; an instruction only in a document.
        heads = (USER, DOCUMENT) if injected and row["origin"] == USER else (row["origin"],)
        for head in heads:
            yield from _example(f"written_{head}", _plain(text), head, text, injected)
    for row in read_rows(own["passages"]):
        yield from _example("help_passages", row["id"], DOCUMENT, row["text"])
    for row in read_rows(own["unseen_passages"]):
        yield from _example("help_passages", row["id"], DOCUMENT, row["text"], split=VALIDATION)


def _phrases(path: Path, rows_per_pattern: int, draw: random.Random) -> Iterator[Example]:
    """Draw phrases of each pattern; all of one pattern are in one split."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    for kind, heads in (
        ("attacks", (USER, DOCUMENT)),
        ("document_attacks", (DOCUMENT,)),
        ("user_benign", (USER,)),
        ("document_benign", (DOCUMENT,)),
    ):
        for pattern in content[kind]:
            texts = {_filled(pattern, content["slots"], draw) for _ in range(rows_per_pattern)}
            for text in sorted(texts):
                injected = None if kind.endswith("benign") else (0, len(text))
                for head in heads:
                    yield from _example(f"phrases_{head}", pattern, head, text, injected)


def _filled(pattern: str, slots: Mapping[str, Sequence[str]], draw: random.Random) -> str:
    text = _SLOT.sub(lambda slot: draw.choice(slots[slot.group(1)]), pattern)
    return text[0].upper() + text[1:]
