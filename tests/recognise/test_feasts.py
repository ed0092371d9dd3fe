"""Holidays by name, seen from 24 November 2026."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("presidents' day", "2027-02-15", id="apostrophe-behind"),
        pytest.param("President's Day 2019", "2019-02-18", id="apostrophe-inside"),
        pytest.param("St. George's day", "2027-04-23", id="saint-with-a-stop"),
        pytest.param("Saint Patricks Day", "2027-03-17", id="saint-written-out"),
        pytest.param("whit monday", "2027-05-17", id="by-easter"),
        pytest.param("shrove tuesday 2028", "2028-02-29", id="before-easter"),
        pytest.param("indigenous peoples' day", "2027-10-11", id="by-weekday"),
        pytest.param("all souls day", "2026-11-02", id="earlier-this-month"),
    ],
)
def test_a_holiday_is_read_in_every_spelling(find, text, expected):
    assert find(text, "date") == [(text, expected)]


@pytest.mark.parametrize(("locale", "expected"), [("en-US", "2027-05-09"), ("en-GB", "2027-03-07")])
def test_mothers_day_is_that_of_the_region(find, locale, expected):
    assert find("mother's day", "date", locale=locale) == [("mother's day", expected)]


def test_the_chinese_new_year_is_not_the_first_of_january(find):
    assert find("chinese new year", "date") == []
