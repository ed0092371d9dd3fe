"""Words of an encoder tagger: exact offsets, segments that fit, features of rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slmesh.slm.entities.features import FEATURES_PER_TOKEN
from slmesh.slm.entities.words import lexical_features, segments, words

TEXTS = st.text(
    alphabet=st.one_of(
        st.characters(), st.sampled_from("aB9 .,'\u0301\u200f\U0001f600\u05d0\u0645\n\t-£")
    ),
    max_size=80,
)


@given(TEXTS)
def test_words_stand_in_the_text_and_leave_out_only_space(text: str) -> None:
    found = words(text)
    assert all(text[word.start : word.end] == word.text for word in found)
    assert "".join(word.text for word in found) == "".join(
        text[at] for at in range(len(text)) if any(w.start <= at < w.end for w in found)
    )
    ends = [0, *(word.end for word in found)]
    starts = [*(word.start for word in found), len(text)]
    gaps = [text[end:start] for end, start in zip(ends, starts, strict=True)]
    assert all(end <= start for end, start in zip(ends, starts, strict=True))
    assert not any(character.isalnum() for gap in gaps for character in gap)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("at 8pm", ["at", "8", "pm"], id="digits"),
        pytest.param("judy's", ["judy", "'", "s"], id="possessive"),
        pytest.param("£50.00", ["£", "50", ".", "00"], id="money"),
        pytest.param("cafe\u0301 x", ["cafe\u0301", "x"], id="combining"),
    ],
)
def test_a_field_may_begin_and_end_inside_what_is_written_together(
    text: str, expected: list[str]
) -> None:
    assert [word.text for word in words(text)] == expected


def test_a_long_text_is_cut_after_a_full_stop_that_fits() -> None:
    found = words("one two. three four five")
    offsets = [(word.start, word.end) for word in found]
    cut = segments(found, offsets, most_pieces=5)
    assert [(part.first, part.end) for part in cut] == [(0, 3), (3, 6)]
    assert cut[1].pieces == ((3, 4), (4, 5), (5, 6))


def test_one_piece_may_hold_two_words_and_a_dropped_word_has_none() -> None:
    found = words("8pm \x00 x")
    (whole,) = segments(found, [(0, 3), (6, 7)], most_pieces=10)
    of_words = dict(zip((word.text for word in found), whole.pieces, strict=True))
    assert of_words["8"] == of_words["pm"] == (0, 1)
    assert of_words["x"] == (1, 2)
    low, high = of_words["\x00"]
    assert low == high


def test_a_word_of_more_pieces_than_fit_is_read_by_its_beginning() -> None:
    found = words("abcdefgh")
    (whole,) = segments(found, [(at, at + 1) for at in range(8)], most_pieces=5)
    assert whole.pieces == ((0, 5),)


def test_words_in_what_a_rule_finds_have_a_feature_for_it() -> None:
    text = "pay 5 May 2021 now"
    found = words(text)
    plain = lexical_features(text, found, 15, ())
    ruled = lexical_features(text, found, 15, (), ("date",))
    more = [len(row) - FEATURES_PER_TOKEN for row in ruled]
    assert [len(row) for row in plain] == [FEATURES_PER_TOKEN] * 5
    assert more == [0, 1, 1, 1, 0]
    assert ruled[1][-1] != ruled[2][-1] == ruled[3][-1]
    assert all(0 <= number < 1 << 15 for row in ruled for number in row)
