"""Reads public and own data of passages as pools of passages with questions, and asks the questions.

Buckets 0 to 6 of the entity, the dialogue, the focus or the text train, bucket 7 validates; test rows
are not read. It knows neither weights nor thresholds.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from slmesh.evaluation.passages import first_tokens
from slmesh.slm.passages.collection import parse_passages
from slmesh.slm.passages.heads import Heads
from slmesh.slm.passages.lexical import LexicalIndex
from slmesh.slm.passages.scoring import mixed
from slmesh.training.screening_data import bucket, read_rows

__all__ = ["OWN", "PUBLIC", "UNRELATED", "Asked", "Pool", "ask", "read_pools", "texts_of"]

OWN = "bank_help"
UNRELATED = "unrelated"
DSTC9, DSTC11, MEDQUAD = PUBLIC = ("dstc9_faq", "dstc11_knowledge", "medquad")


@dataclass(frozen=True)
class Pool:
    """Passages, each with its entries, and questions with the places of the passages that answer."""

    source: str
    passages: Sequence[Sequence[str]]
    questions: Sequence[tuple[str, frozenset[int]]]

    @property
    def entries(self) -> list[str]:
        """The entries of all passages, in order."""
        return [entry for passage in self.passages for entry in passage]

    @property
    def starts(self) -> np.ndarray:
        """Where the entries of each passage begin, int64 (N,)."""
        return np.cumsum([0, *(len(passage) for passage in self.passages)])[:-1]


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


def read_pools(
    data_dir: Path, tokenizer: Path, *, train: bool, unrelated_rows: int = 0, seed: int = 0
) -> list[Pool]:
    """Return the pools of the training or of the validation rows.

    Args:
        data_dir: The folder with one folder for each public data set.
        tokenizer: The file that tells the first tokens of MedQuAD's answers.
        train: Whether rows of buckets 0 to 6 are wanted, else those of 7.
        unrelated_rows: Questions of other domains to draw; with validation rows only.
        seed: Of the draw.
    """

    def wanted(group: str) -> bool:
        number = bucket(group)
        return number < 7 if train else number == 7

    pools = [*_dstc9(data_dir, wanted), *_dstc11(data_dir, wanted)]
    medquad = _medquad(data_dir, wanted, first_tokens(tokenizer), by_focus=train)
    pools += [*medquad, _own(data_dir, wanted)]
    return pools if train else [*pools, _unrelated(data_dir, unrelated_rows, seed)]


def texts_of(pools: Sequence[Pool]) -> list[str]:
    """Return every text of some pools once."""
    texts: dict[str, None] = {}
    for pool in pools:
        texts.update(dict.fromkeys(pool.entries))
        texts.update(dict.fromkeys(question for question, _ in pool.questions))
    return list(texts)


def ask(pools: Sequence[Pool], vectors: Mapping[str, np.ndarray], heads: Heads) -> list[Asked]:
    """Return all questions of some pools, asked.

    Args:
        pools: The pools.
        vectors: The embedding of every text, (D,).
        heads: The heads.
    """
    return [asked for pool in pools for asked in _ask(pool, vectors, heads)]


def _dstc9(data_dir: Path, wanted: Callable[[str], bool]) -> list[Pool]:
    """Each snippet's question, asked of all answers of its entity."""
    entities: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in read_rows(data_dir / "dstc9_faq/all.jsonl.gz"):
        if wanted(row["entity_id"]):
            entities[row["domain"], row["entity_id"]].append(row)
    return [
        Pool(
            DSTC9,
            [[row["answer"]] for row in rows],
            [(row["question"], frozenset({place})) for place, row in enumerate(rows)],
        )
        for rows in entities.values()
    ]


def _dstc11(data_dir: Path, wanted: Callable[[str], bool]) -> list[Pool]:
    """The last user turn, asked of all snippets of the entities it is about."""
    entities: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in read_rows(data_dir / "dstc11_knowledge/knowledge.jsonl.gz"):
        entities[row["domain"], row["entity_id"]].append(row)
    asked: dict[tuple[tuple[str, ...], ...], list[dict[str, Any]]] = defaultdict(list)
    for row in read_rows(data_dir / "dstc11_knowledge/val.jsonl.gz"):
        if row["knowledge_seeking"] and row["relevant"] and wanted(row["dialogue_key"]):
            about = {tuple(name.split("/")[:2]) for name in row["relevant"]}
            asked[tuple(sorted(about))].append(row)
    pools = []
    for about_all, rows in asked.items():
        snippets = [snippet for entity in about_all for snippet in entities[entity]]
        places = {snippet["doc_id"]: place for place, snippet in enumerate(snippets)}
        questions = [
            (row["query"], frozenset(places[name] for name in row["relevant"])) for row in rows
        ]
        pools.append(Pool(DSTC11, [[snippet["text"]] for snippet in snippets], questions))
    return pools


def _medquad(
    data_dir: Path, wanted: Callable[[str], bool], cut: Callable[[str], str], *, by_focus: bool
) -> list[Pool]:
    """Each question, asked of all answers of the split, of which the first tokens are read.

    With ``by_focus``, a pool for each focus, for training to put some of them together.
    """
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in read_rows(data_dir / "medquad/all.jsonl.gz"):
        if wanted(row["focus"]):
            groups[row["focus"].lower() if by_focus else ""].append(row)
    pools = []
    for rows in groups.values():
        places: dict[str, set[int]] = defaultdict(set)
        for place, row in enumerate(rows):
            places[row["question"]].add(place)
        questions = [(row["question"], frozenset(places[row["question"]])) for row in rows]
        pools.append(Pool(MEDQUAD, [[cut(row["answer"])] for row in rows], questions))
    return pools


def _own_path() -> Path:
    return Path(__file__).parents[1] / "slm" / "passages" / f"{OWN}.jsonl"


def _own_entries() -> list[tuple[str, ...]]:
    return [passage.indexed for passage in parse_passages(_own_path())]


def _own(data_dir: Path, wanted: Callable[[str], bool]) -> Pool:
    """Customers' questions, asked of the collection written for this project."""
    places: dict[str, set[int]] = defaultdict(set)
    for place, passage in enumerate(read_rows(_own_path())):
        for intent in passage["intents"]:
            places[intent].add(place)
    questions = [
        (row["text"], frozenset(places[row["intent"]]))
        for row in read_rows(data_dir / "banking77/train.jsonl.gz")
        if wanted(" ".join(row["text"].lower().split()))
    ]
    return Pool(OWN, _own_entries(), questions)


def _unrelated(data_dir: Path, count: int, seed: int) -> Pool:
    """Questions of other domains, which nothing in the project's collection answers."""
    rows = [
        row
        for row in read_rows(data_dir / "clinc150/val.jsonl")
        if row["domain"] not in ("banking", "credit_cards")
    ]
    rows = random.Random(seed).sample(rows, count)
    rows += read_rows(data_dir / "clinc150/oos_val.jsonl")
    return Pool(UNRELATED, _own_entries(), [(row["text"], frozenset()) for row in rows])


def _ask(pool: Pool, vectors: Mapping[str, np.ndarray], heads: Heads) -> list[Asked]:
    entries, starts = pool.entries, pool.starts
    passages = heads.of_passages(np.stack([vectors[entry] for entry in entries]))
    queries = heads.of_queries(np.stack([vectors[question] for question, _ in pool.questions]))
    index, cosines = LexicalIndex(entries), queries @ passages.T
    return [
        Asked(
            pool.source,
            cosine,
            index.scores(question),
            starts,
            answers,
            crc32(question.lower().encode()) % 2,
        )
        for (question, answers), cosine in zip(pool.questions, cosines, strict=True)
    ]
