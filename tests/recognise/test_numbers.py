"""Numbers, percentages, ordinals and numbers of people."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("1,674.5", [1674.5], id="grouped"),
        pytest.param("1 234 567", [1234567.0], id="grouped-by-spaces"),
        pytest.param("-5 and −3.2", [-5.0, -3.2], id="signs"),
        pytest.param("minus five", [-5.0], id="minus-in-words"),
        pytest.param("twenty-five", [25.0], id="hyphen"),
        pytest.param("two hundred and one", [201.0], id="and"),
        pytest.param("3 hundred and 21", [321.0], id="mixed"),
        pytest.param("two and a half million", [2500000.0], id="half"),
        pytest.param("hundred thousand", [100000.0], id="scale-of-scales"),
        pytest.param("two point five", [2.5], id="point"),
        pytest.param("one two three", [1.0, 2.0, 3.0], id="spoken-digits"),
        pytest.param("two hundred point seventy-one", [200.71], id="point-and-tens"),
        pytest.param("a dozen", [12.0], id="dozen"),
        pytest.param("three quarters", [0.75], id="fraction"),
        pytest.param("five and a quarter", [5.25], id="whole-and-fraction"),
        pytest.param("one hundred and three quarters", [100.75], id="hundred-and-fraction"),
        pytest.param("one hundred and thirty fifths", [26.0], id="long-fraction"),
        pytest.param("two hundred and four hundredths", [200.04], id="hundredths"),
        pytest.param("two third parties", [2.0], id="two-is-not-a-third"),
        pytest.param("this one, which one", [], id="pronoun"),
        pytest.param("A380 k9 3pm 1st", [], id="parts-of-words"),
        pytest.param("1e10, -12e-1", [1e10, -1.2], id="exponents"),
        pytest.param("6.23x10^-4", [0.000623], id="power-of-ten"),
        pytest.param("-2.5^-1", [-0.4], id="power"),
        pytest.param("1^999, 9^999", [1.0], id="more-than-a-double-holds"),
        pytest.param("2  1/4", [2.25], id="mixed-fraction"),
        pytest.param("⅔ and 1½", [2 / 3, 1.5], id="vulgar-fractions"),
        pytest.param("3 point 14", [3.14], id="point-and-digits"),
        pytest.param("a half", [0.5], id="a-half"),
        pytest.param("a fifth of it", [0.2], id="a-fifth"),
        pytest.param("three twenty-firsts", [1 / 7], id="compound-denominator"),
        pytest.param("negative one over 20", [-0.05], id="over"),
        pytest.param("1 in twenty-one", [1 / 21], id="one-in"),
        pytest.param("8 in 5, 12 out of 10", [8.0, 5.0, 12.0, 10.0], id="no-fraction"),
        pytest.param("4 thousand 3 hundred and 21", [4321.0], id="digits-and-scales"),
        pytest.param("3 hundred and 2.12 hundred", [300.0, 212.0], id="two-numbers"),
        pytest.param("three hundred and two dozens", [324.0], id="dozens-of-the-last"),
        pytest.param("quarter million", [250000.0], id="quarter-million"),
        pytest.param("- 1 4/5", [-1.8], id="negative-mixed-fraction"),
        pytest.param("two thirds of a million", [2 * 10**6 / 3], id="fraction-of-a-scale"),
        pytest.param("three quarters billion", [7.5e8], id="fraction-and-scale"),
        pytest.param(
            "one billion and a quarter million", [1000250000.0], id="and-a-quarter-million"
        ),
        pytest.param("five billion and three quarters", [5.75e9], id="fraction-of-the-last-scale"),
        pytest.param("2mil, 1.2b, 2b", [2e6, 1.2e9], id="short-scales"),
        pytest.param("five dozs", [60.0], id="short-dozen"),
        pytest.param("2.33 k, 1MM", [2330.0, 1000000.0], id="suffixes"),
        pytest.param("1m long, 3m", [], id="metres"),
        pytest.param("a third party, a fifth attempt", [], id="ordinals-before-nouns"),
        pytest.param("by 3/4, 24/7, 5/17/2018", [], id="dates-and-ratios"),
        pytest.param("my 401 k", [401.0], id="k-apart"),
        pytest.param("10.7 K/9", [10.7, 9.0], id="rate"),
        pytest.param("ref E10, 12e, 1e5b", [], id="codes"),
        pytest.param("10:30 on 5/17/2018", [], id="parts-of-codes"),
    ],
)
def test_numbers_are_read_in_digits_and_words(find, text, expected):
    assert [value for _, value in find(text, "number")] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("4.5 %", [4.5], id="sign"),
        pytest.param("five per cent", [5.0], id="words"),
        pytest.param("minus 2 percent", [-2.0], id="negative"),
        pytest.param("a small percent", [], id="no-number"),
    ],
)
def test_percentages_are_in_percent(find, text, expected):
    assert [value for _, value in find(text, "percentage")] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("the 21st", [("21st", 21)], id="digits"),
        pytest.param("twenty-first", [("twenty-first", 21)], id="words"),
        pytest.param("second", [("second", 2)], id="second"),
        pytest.param("two hundredth", [("two hundredth", 200)], id="multiplied"),
        pytest.param("one second, a second, 5 second", [], id="second-of-time"),
    ],
)
def test_ordinals_are_read_in_digits_and_words(find, text, expected):
    assert find(text, "ordinal") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("table for 4", [("4", 4.0)], id="table-for"),
        pytest.param("6 people", [("6 people", 6.0)], id="noun"),
        pytest.param("2 adults and 3 kids", [("2 adults and 3 kids", 5.0)], id="joined"),
        pytest.param("the 7 of us", [("7", 7.0)], id="of-us"),
        pytest.param("book for 5pm", [], id="time"),
        pytest.param("a room for 4 nights", [], id="nights"),
        pytest.param("3 cards", [], id="other-noun"),
    ],
)
def test_numbers_of_people_are_told_from_other_numbers(find, text, expected):
    assert find(text, "people") == expected
