"""Halves, quarters, ratios and ranges among numbers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("one half", [0.5], id="one-half"),
        pytest.param("minus one-half", [-0.5], id="minus-one-half"),
        pytest.param("two halves", [1.0], id="halves"),
        pytest.param("two and one half", [2.5], id="and-one-half"),
        pytest.param("one hundred and one half", [100.5], id="hundred-and-one-half"),
        pytest.param("one hundred and one", [101.0], id="hundred-and-one"),
        pytest.param("a quarter of a million", [250000.0], id="quarter-of-a-million"),
        pytest.param("half of a million", [500000.0], id="half-of-a-million"),
        pytest.param("half of my savings", [0.5], id="half-of-something"),
        pytest.param("the other half of it, a second half", [], id="other-half"),
        pytest.param("one thousand, two hundred and four", [1204.0], id="comma-between-scales"),
        pytest.param("one million, two people", [1e6, 2.0], id="comma-in-a-list"),
        pytest.param("1,2 million", [1200000.0], id="decimal-comma-before-a-scale"),
        pytest.param("22,24,26", [22.0, 24.0, 26.0], id="list"),
        pytest.param("1'000", [1000.0], id="apostrophe"),
        pytest.param("5/100", [0.05], id="hundredths-with-a-stroke"),
        pytest.param("a 3 out of 10", [3.0, 10.0], id="rating"),
        pytest.param("2 in 5", [0.4], id="two-in-five"),
        pytest.param("10-20 people", [10.0, 20.0], id="range"),
        pytest.param("555-1234, 20-10", [], id="no-range"),
        pytest.param("2019-03-01", [2019.0, 3.0, 1.0], id="numbers-of-a-date"),
    ],
)
def test_a_number_is_read_with_all_its_parts(find, text, expected):
    assert [value for _, value in find(text, "number")] == pytest.approx(expected)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 999), st.integers(0, 999))
def test_thousands_are_the_same_with_a_comma_and_without(thousands, rest):
    from slmesh.recognise.quantities import quantities

    words = f"{_words(thousands)} thousand"
    for text in (f"{words} {_words(rest)}", f"{words}, {_words(rest)}") if rest > 99 else (words,):
        expected = thousands * 1000 + (rest if rest > 99 else 0)
        assert [quantity.value for quantity in quantities(text, ".")] == [expected], text


def _words(number: int) -> str:
    from slmesh.recognise.number_words import DIGITS, TEENS, TENS

    if number >= 100:
        below = f" and {_words(number % 100)}" if number % 100 else ""
        return f"{_words(number // 100)} hundred{below}"
    small = {value: word for word, value in (DIGITS | TEENS | TENS).items()}
    return small.get(number) or f"{small[number // 10 * 10]}-{small[number % 10]}"
