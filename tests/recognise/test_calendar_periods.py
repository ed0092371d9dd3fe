"""Quarters, halves, months in numbers, centuries and years up to now, seen from 24 November 2026."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slmesh.recognise.parts_of_years import parts_of_years

_QUARTERS = {
    1: ("q1", "first quarter", "1st quarter"),
    2: ("Q2", "second quarter", "2nd qtr"),
    3: ("q3", "the third quarter", "3rd quarter"),
    4: ("q4", "last quarter", "4th quarter"),
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("third quarter this year", "2026-07-01/2026-10-01", id="without-of"),
        pytest.param("second quarter 2018", "2018-04-01/2018-07-01", id="year-beside"),
        pytest.param("2019's first quarter", "2019-01-01/2019-04-01", id="year-with-s"),
        pytest.param("last year's q2", "2025-04-01/2025-07-01", id="relative-year-with-s"),
        pytest.param("2019-Q1", "2019-01-01/2019-04-01", id="dash"),
        pytest.param("the second half of last year", "2025-07-01/2026-01-01", id="half"),
        pytest.param("H2 of 2018", "2018-07-01/2019-01-01", id="letter"),
        pytest.param("the last quarter of 2019", "2019-10-01/2020-01-01", id="last"),
        pytest.param("06/2014", "2014-06-01/2014-07-01", id="month-in-numbers"),
        pytest.param("6-2014", "2014-06-01/2014-07-01", id="month-in-one-digit"),
        pytest.param("nineteenth century", "1800-01-01/1900-01-01", id="century-in-words"),
        pytest.param("2015 to now", "2015-01-01/2026-11-25", id="year-to-now"),
        pytest.param("2015 - present", "2015-01-01/2026-11-25", id="year-to-present"),
        pytest.param("Jan 5 - Jan 12, 2019", "2019-01-05/2019-01-13", id="spaced-dash"),
        pytest.param("within 2 weeks", "2026-11-25/2026-12-09", id="within"),
        pytest.param("less than 3 days after tomorrow", "2026-11-25/2026-11-28", id="less-than"),
        pytest.param("3 nights from 7 April", "2027-04-07/2027-04-10", id="nights-from"),
    ],
)
def test_a_stretch_of_the_calendar_is_read(find, text, expected):
    assert find(text, "date_range") == [(text, expected)]


@pytest.mark.parametrize("text", ["h5 2018", "h3 of last year", "the second half", "first quarter"])
def test_what_is_no_part_of_a_year_is_left_alone(find, text):
    assert [found for found in find(text, "date_range") if found[0] == text] == []


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(range(1, 5)), st.integers(0, 2), st.integers(1950, 2080), st.booleans())
def test_a_quarter_is_the_same_in_every_way_to_say_it(number, way, year, year_first):
    part = _QUARTERS[number][way]
    text = f"{year}'s {part}" if year_first else f"{part} of {year}"
    found = max(
        parts_of_years(text, date(2026, 11, 24)), key=lambda period: period.end - period.start
    )
    assert text[found.start : found.end] == text
    assert (found.since.year, found.since.month) == (year, 3 * number - 2)
    assert found.until.month == (3 * number) % 12 + 1
