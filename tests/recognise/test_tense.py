"""A date without a year is the latest one where the words around it speak of the past."""

from __future__ import annotations

import pytest

from slmesh.recognise import Context
from slmesh.recognise.reading import Reading
from slmesh.recognise.tense import speaks_of_past


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("I was charged twice on 3 March", "2026-03-03", id="auxiliary"),
        pytest.param("on 3 March I was charged twice", "2026-03-03", id="verb-behind"),
        pytest.param("On 3 March, someone took £50", "2026-03-03", id="next-clause"),
        pytest.param("my card arrived on 3 March", "2026-03-03", id="regular-verb"),
        pytest.param("I haven't received anything since 3 March", "2026-03-03", id="since"),
        pytest.param("we paid it on 3/4", "2026-04-03", id="numbers"),
        pytest.param("you debited me on friday", "2026-11-20", id="weekday"),
        pytest.param("it happened on tuesday", "2026-11-17", id="today's-weekday"),
        pytest.param("I was in town on the 3rd", "2026-11-03", id="day-of-month"),
        pytest.param("I drank it on tues the 3rd", "2026-11-03", id="weekday-and-day"),
        pytest.param("they closed on christmas day", "2025-12-25", id="holiday"),
        pytest.param(
            "I was charged on 3 March and want it back by 10 December", "2026-03-03", id="two"
        ),
        pytest.param("please pay it on 3 March", "2027-03-03", id="request"),
        pytest.param("I will be charged on 3 March", "2027-03-03", id="future"),
        pytest.param("I booked a table for 3 March", "2027-03-03", id="booked-for"),
        pytest.param("I want it delivered on 3 March", "2027-03-03", id="participle"),
        pytest.param("it is needed on 3 March", "2027-03-03", id="passive-present"),
        pytest.param(
            "I paid yesterday. The rest is due on 3 March", "2027-03-03", id="other-sentence"
        ),
        pytest.param("is the party on 3 March cancelled", "2027-03-03", id="present-passive"),
        pytest.param("i'd like one made for me from 3 March", "2027-03-03", id="would-like"),
        pytest.param("i replaced my tires on thanksgiving", "2025-11-27", id="moving-holiday"),
        pytest.param("3 March", "2027-03-03", id="nothing-told"),
    ],
)
def test_the_year_follows_the_tense(find, text, expected):
    assert expected in [value for _, value in find(text, "date")]


def test_a_month_told_as_past_is_the_latest_one(find):
    assert find("I was charged twice in March", "date_range") == [
        ("March", "2026-03-01/2026-04-01")
    ]
    assert find("I will pay in March", "date_range") == [("March", "2027-03-01/2027-04-01")]


def test_days_of_a_month_told_as_past_are_the_latest_ones(find):
    found = find("I was abroad from 3rd to 7th of May", "date_range")
    assert [value for _, value in found] == ["2026-05-03/2026-05-08"]


def test_a_long_text_is_read_no_further_than_its_sentence():
    text = "I was charged. " + "word " * 2000 + "3 March"
    assert not speaks_of_past(Reading(text, Context()), len(text) - 7, len(text))
