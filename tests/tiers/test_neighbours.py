"""Votes of training texts: nearer ones count more, and the stored form gives the same votes."""

from __future__ import annotations

import numpy as np
import pytest

from slmesh.tiers.neighbours import VOTE_FLOOR, Neighbours, neighbour_arrays

NUMBERS = {"neighbour_width": 0.05, "neighbour_share": 0.6}


def embeddings(count: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, 24))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_votes_are_the_logarithm_of_each_label_s_share_of_the_kernel() -> None:
    texts, labels, asked = embeddings(9, 0), np.array([2, 0, 1, 2, 0, 2, 1, 1, 2]), embeddings(4, 1)
    found = Neighbours.from_tensors(neighbour_arrays(texts, labels), NUMBERS)
    assert found is not None
    weights = np.exp((asked @ texts.T - 1) / 0.05)  # (4, 9)
    shares = np.stack([weights[:, labels == c].sum(axis=1) for c in range(3)], axis=1)
    shares /= shares.sum(axis=1, keepdims=True)
    # int8 moves a cosine by up to 0.004, which a width of 0.05 makes 0.08 in a logarithm
    np.testing.assert_allclose(
        found.logits(asked), 0.6 * np.log(shares + VOTE_FLOOR), atol=0.6 * 0.1
    )


def test_the_nearest_text_s_label_has_the_highest_vote() -> None:
    texts, labels = embeddings(40, 2), np.arange(40) % 5
    found = Neighbours.from_tensors(neighbour_arrays(texts, labels), NUMBERS)
    assert found is not None
    assert (found.logits(texts).argmax(axis=1) == labels).all()


def test_a_text_far_from_all_is_voted_on_by_what_is_least_far() -> None:
    columns = np.array([[-1.0, 0.0], [0.0, -1.0]], np.float32)
    far = Neighbours(columns, np.array([1, 1]), width=0.02, share=1.0)
    votes = far.logits(np.array([[0.8, 0.6]], np.float32))
    assert np.isfinite(votes).all()
    assert votes[0, 1] > votes[0, 0]


def test_votes_of_a_text_do_not_depend_on_its_batch() -> None:
    found = Neighbours.from_tensors(neighbour_arrays(embeddings(30, 3), np.arange(30) % 3), NUMBERS)
    assert found is not None
    asked = embeddings(7, 4)
    alone = np.vstack([found.logits(row[None]) for row in asked])
    np.testing.assert_allclose(found.logits(asked), alone, atol=1e-5)


def test_a_head_without_neighbours_has_none() -> None:
    assert Neighbours.from_tensors({"encoder.weights": np.zeros(1)}, {}, "encoder.") is None


@pytest.mark.parametrize("prefix", ["", "encoder."])
def test_the_arrays_are_found_under_a_prefix(prefix: str) -> None:
    arrays = neighbour_arrays(embeddings(6, 5), np.arange(6) % 2)
    named = {prefix + name: array for name, array in arrays.items()}
    assert Neighbours.from_tensors(named, NUMBERS, prefix) is not None
