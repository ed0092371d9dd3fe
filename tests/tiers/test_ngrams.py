"""The hashed n-grams: what is counted, and that a batch changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slmesh.tiers.ngrams import READ_CODE_POINTS, NgramHasher, tokens

HASHER = NgramHasher(bits=24)


def pieces(text: str) -> set[tuple[str, str]]:
    """Return the n-grams of a text the slow and obvious way."""
    words = tokens(text)
    spaced = f" {' '.join(words)} "
    found = {
        ("word", " ".join(words[i : i + n])) for n in (1, 2) for i in range(len(words) + 1 - n)
    }
    for size in (2, 3, 4, 5):
        for start in range(len(spaced) - size + 1):
            piece = spaced[start : start + size]
            if " " not in piece[1:-1] and piece.strip():
                found.add(("chars", piece))
    return found


def row(ngrams, index: int) -> tuple[list[int], list[float]]:
    part = slice(ngrams.row_starts[index], ngrams.row_starts[index + 1])
    return ngrams.buckets[part].tolist(), ngrams.counts[part].tolist()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("I was charged twice!", id="plain"),
        pytest.param("x", id="one-letter"),
        pytest.param("a b a b a b", id="repeated"),
        pytest.param("naïve ñandú 你好 😀😀 مرحبا", id="other-scripts"),
        pytest.param("", id="empty"),
        pytest.param("  \t\n ", id="white-space"),
        pytest.param("\x00\x01 nul", id="control-characters"),
    ],
)
def test_counts_every_piece_once_for_each_bucket(text: str) -> None:
    assert len(HASHER.transform([text]).buckets) == len(pieces(text))


@given(st.lists(st.text(max_size=40), max_size=6))
def test_a_text_has_the_same_ngrams_in_any_batch(texts: list[str]) -> None:
    together = HASHER.transform(texts)
    for index, text in enumerate(texts):
        assert row(together, index) == row(HASHER.transform([text]), 0)


def test_repeats_are_counted() -> None:
    assert HASHER.transform(["tick tick tick"]).counts.max() == 3


def test_case_and_spacing_do_not_matter() -> None:
    one, other = HASHER.transform(["My  CARD"]), HASHER.transform(["my card"])
    assert row(one, 0) == row(other, 0)


def test_texts_across_chunks_are_in_order() -> None:
    texts = ["long word " * 5000, "short", "long word " * 5000, "short"]
    ngrams = HASHER.transform(texts)
    assert row(ngrams, 1) == row(ngrams, 3) == row(HASHER.transform(["short"]), 0)
    assert row(ngrams, 0) == row(ngrams, 2)


def test_the_longest_text_of_single_characters_is_read() -> None:
    ngrams = HASHER.transform(["!" * (READ_CODE_POINTS + 10)])
    assert ngrams.counts.max() >= READ_CODE_POINTS - 1


def test_lone_surrogates_do_not_raise() -> None:
    assert len(HASHER.transform(["bad \ud800 text"]).buckets) > 0


def test_the_hashes_never_change() -> None:
    """Bundles hold buckets: another hash would make all of them unreadable."""
    buckets, _ = row(NgramHasher(bits=18).transform(["my card"]), 0)
    assert buckets[:4] == [27712, 53175, 72871, 77212]


def test_no_texts_give_no_rows() -> None:
    ngrams = HASHER.transform([])
    assert ngrams.row_starts.tolist() == [0]
    assert len(ngrams.buckets) == len(ngrams.counts) == 0


def test_buckets_rise_within_a_text() -> None:
    buckets, _ = row(HASHER.transform(["some words to hash"]), 0)
    assert np.all(np.diff(buckets) > 0)
