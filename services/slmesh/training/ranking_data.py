"""Asks the questions of public and own data of passages, for the passages model to be fitted on.

Only validation rows are read: bucket 7 of the entity, the dialogue, the focus or the text. It knows
neither weights nor thresholds.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from slmesh.slm.passages.collection import parse_passages
from slmesh.slm.passages.lexical import LexicalIndex
from slmesh.slm.passages.scoring import mixed
from slmesh.tiers.encoder import SentenceEncoder
from slmesh.training.screening_data import bucket, read_rows

__all__ = ["OWN", "PUBLIC", "UNRELATED", "Asked", "ask_all"]

OWN = "bank_help"
UNRELATED = "unrelated"
PUBLIC = ("dstc9_faq", "dstc11_knowledge", "medquad")


@dataclass(frozen=True)
class _Pool:
    """Passages, each with its entries, and questions with the places of the passages that answer."""

    source: str
    passages: Sequence[Sequence[str]]
    questions: Sequence[tuple[str, frozenset[int]]]


@dataclass(frozen=True)
class Asked:
    """One question with its similarity to each entry of each passage.

    Attributes:
        source: The data set.
        cosine: (E,).
        lexical: (E,).
        starts: Where the entries of each passage begin, (N,).
        answers: Places of the passages that answer, in [0, N).
        half: 0 to fit on, 1 to measure on.
    """

    source: str
    cosine: np.ndarray
    lexical: np.ndarray
    starts: np.ndarray
    answers: frozenset[int]
    half: int

    def scores(self, words: float) -> np.ndarray:
        """Return the score of each passage, (N,); the words alone count at weight 1."""
        best: np.ndarray = np.maximum.reduceat(mixed(self.cosine, self.lexical, words), self.starts)
        return best


def ask_all(
    data_dir: Path, encoder: SentenceEncoder, unrelated_rows: int, seed: int
) -> list[Asked]:
    """Return all questions, asked.

    Args:
        data_dir: The folder with one folder for each public data set.
        encoder: The compiled backbone.
        unrelated_rows: Questions of other domains to draw.
        seed: Of the draw.
    """
    pools = _pools(data_dir, unrelated_rows, seed)
    return [asked for pool in pools for asked in _ask(pool, encoder)]


def _pools(data_dir: Path, unrelated_rows: int, seed: int) -> list[_Pool]:
    return [
        *_dstc9(data_dir),
        *_dstc11(data_dir),
        _medquad(data_dir),
        *_own(data_dir, unrelated_rows, seed),
    ]


def _dstc9(data_dir: Path) -> list[_Pool]:
    """Each snippet's question, asked of all answers of its entity."""
    entities: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in read_rows(data_dir / "dstc9_faq/all.jsonl.gz"):
        if bucket(row["entity_id"]) == 7:
            entities[row["domain"], row["entity_id"]].append(row)
    return [
        _Pool(
            "dstc9_faq",
            [[row["answer"]] for row in rows],
            [(row["question"], frozenset({place})) for place, row in enumerate(rows)],
        )
        for rows in entities.values()
    ]


def _dstc11(data_dir: Path) -> list[_Pool]:
    """The last user turn, asked of all snippets of the entities it is about."""
    entities: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in read_rows(data_dir / "dstc11_knowledge/knowledge.jsonl.gz"):
        entities[row["domain"], row["entity_id"]].append(row)
    pools = []
    for row in read_rows(data_dir / "dstc11_knowledge/val.jsonl.gz"):
        if not row["knowledge_seeking"] or bucket(row["dialogue_key"]) != 7:
            continue
        relevant = set(row["relevant"])
        about = sorted({tuple(name.split("/")[:2]) for name in relevant})
        rows = [snippet for domain, entity in about for snippet in entities[domain, entity]]
        answers = frozenset(i for i, snippet in enumerate(rows) if snippet["doc_id"] in relevant)
        texts = [[snippet["text"]] for snippet in rows]
        pools.append(_Pool("dstc11_knowledge", texts, [(row["query"], answers)]))
    return pools


def _medquad(data_dir: Path) -> _Pool:
    """Each question, asked of all answers of the split, of which the encoder reads 256 tokens."""
    rows = [
        row for row in read_rows(data_dir / "medquad/all.jsonl.gz") if bucket(row["focus"]) == 7
    ]
    questions = [(row["question"], frozenset({place})) for place, row in enumerate(rows)]
    return _Pool("medquad", [[row["answer"]] for row in rows], questions)


def _own(data_dir: Path, unrelated_rows: int, seed: int) -> list[_Pool]:
    """Customers' questions and unrelated ones, asked of the collection written for this project."""
    path = Path(__file__).parents[1] / "slm" / "passages" / f"{OWN}.jsonl"
    passages = read_rows(path)
    entries = [passage.indexed for passage in parse_passages(path)]
    questions = [
        (
            row["text"],
            frozenset(
                i for i, passage in enumerate(passages) if row["intent"] in passage["intents"]
            ),
        )
        for row in read_rows(data_dir / "banking77/train.jsonl.gz")
        if bucket(" ".join(row["text"].lower().split())) == 7
    ]
    rows = [
        row
        for row in read_rows(data_dir / "clinc150/val.jsonl")
        if row["domain"] not in ("banking", "credit_cards")
    ]
    rows = random.Random(seed).sample(rows, unrelated_rows)
    rows += read_rows(data_dir / "clinc150/oos_val.jsonl")
    unrelated = [(row["text"], frozenset[int]()) for row in rows]
    return [_Pool(OWN, entries, questions), _Pool(UNRELATED, entries, unrelated)]


def _ask(pool: _Pool, encoder: SentenceEncoder) -> list[Asked]:
    entries = [entry for passage in pool.passages for entry in passage]
    starts = np.cumsum([0, *(len(passage) for passage in pool.passages)][:-1])
    vectors, index = encoder.encode(entries), LexicalIndex(entries)
    queries = encoder.encode([question for question, _ in pool.questions])
    return [
        Asked(
            pool.source,
            vectors @ query,
            index.scores(question),
            starts,
            answers,
            crc32(question.lower().encode()) % 2,
        )
        for (question, answers), query in zip(pool.questions, queries, strict=True)
    ]
