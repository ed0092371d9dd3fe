"""Heads of a ranker: they learn which passages answer, from embeddings alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from slmesh.slm.passages.heads import Heads
from slmesh.training.ranking_data import Pool, ask
from slmesh.training.ranking_figures import mrr
from slmesh.training.ranking_heads import train_heads

DIMENSIONS, TOPICS = 16, 6
NUMBERS: dict[str, Any] = {
    "steps": 120,
    "learning_rate": 0.01,
    "weight_decay": 0.01,
    "dropout": 0.0,
    "scale": 10.0,
    "most_questions": 4,
    "sources": {"set": {"weight": 1.0, "drawn": 2}},
}


def world(count: int, seed: int) -> tuple[list[Pool], dict[str, np.ndarray]]:
    """Return pools whose answers lie in other directions than their questions, the same for all."""
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((DIMENSIONS, DIMENSIONS)))[0]
    draw = np.random.default_rng(seed)
    pools, vectors = [], {}
    for number in range(count):
        topics = draw.standard_normal((TOPICS, DIMENSIONS))
        questions = [f"q{seed}-{number}-{topic}" for topic in range(TOPICS)]
        answers = [f"a{seed}-{number}-{topic}" for topic in range(TOPICS)]
        for texts, rows in ((questions, topics), (answers, topics @ turn)):
            unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
            vectors |= dict(zip(texts, unit.astype(np.float32), strict=True))
        # every passage has a second entry that says nothing
        passages = [[answer, "nothing"] for answer in answers]
        pools.append(
            Pool("set", passages, [(q, frozenset({place})) for place, q in enumerate(questions)])
        )
    vectors["nothing"] = np.eye(DIMENSIONS, dtype=np.float32)[0]
    return pools, vectors


def order(heads: Heads) -> float:
    """Return the MRR@10 by cosine alone, of pools no head has seen."""
    pools, vectors = world(10, 2)
    return mrr(ask(pools, vectors, heads), 0.0)


@pytest.mark.parametrize("merged", [False, True], ids=["own-pool", "pools-merged"])
def test_heads_find_the_answers_of_pools_they_have_not_seen(merged: bool) -> None:
    pools, vectors = world(40, 1)
    sources = {"set": {"weight": 1.0, "drawn": 2, "merged": merged}}
    heads = train_heads(pools, vectors, NUMBERS | {"sources": sources}, 3)
    assert order(Heads()) < 0.6
    assert order(heads) > 0.85


def test_the_same_seed_gives_the_same_heads() -> None:
    pools, vectors = world(5, 1)
    first, second = (train_heads(pools, vectors, NUMBERS | {"steps": 5}, 3) for _ in range(2))
    assert first.query is not None
    assert np.array_equal(first.query, second.query)
    assert not np.array_equal(first.query, np.zeros_like(first.query))


def test_a_question_asked_in_two_merged_pools_has_the_answers_of_both() -> None:
    vectors = {name: np.eye(4, dtype=np.float32)[i] for i, name in enumerate(("q", "a", "b", "c"))}
    pools = [Pool("set", [["a"]], [("q", frozenset({0}))])]
    pools.append(Pool("set", [["b"], ["c"]], [("q", frozenset({0}))]))
    sources = {"set": {"weight": 1.0, "drawn": 2, "merged": True}}
    heads = train_heads(pools, vectors, NUMBERS | {"sources": sources, "steps": 60}, 3)
    scores = heads.of_passages(np.eye(4, dtype=np.float32)[1:]) @ heads.of_queries(
        np.eye(4, dtype=np.float32)[:1]
    ).reshape(-1)
    assert scores[0] > scores[2]
    assert scores[1] > scores[2]
    assert abs(scores[0] - scores[1]) < 0.1


def test_a_pool_without_a_wrong_passage_teaches_nothing_and_breaks_nothing() -> None:
    vectors = {name: np.eye(3, dtype=np.float32)[i] for i, name in enumerate(("q", "a", "b"))}
    pools = [Pool("set", [["a"], ["b"]], [("q", frozenset({0, 1}))])]
    heads = train_heads(pools, vectors, NUMBERS | {"steps": 5}, 3)
    assert heads.query is not None
    assert np.isfinite(heads.query).all()
