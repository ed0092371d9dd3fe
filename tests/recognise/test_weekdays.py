"""Weekdays counted from today, in a week and from another day, seen from 24 November 2026."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slmesh.recognise.day import added_working


@pytest.mark.parametrize(
    ("text", "written", "expected"),
    [
        pytest.param("last week's monday", None, "2026-11-16", id="week-with-s"),
        pytest.param("next week's friday", None, "2026-12-04", id="next-week-with-s"),
        pytest.param(
            "the friday before last", "friday before last", "2026-11-13", id="before-last"
        ),
        pytest.param(
            "the monday after next week", "monday after next week", "2026-12-07", id="after"
        ),
        pytest.param("two fridays ago", None, "2026-11-13", id="counted-back"),
        pytest.param("three mondays from now", None, "2026-12-14", id="counted-ahead"),
        pytest.param("tuesday fortnight", None, "2026-12-15", id="fortnight"),
        pytest.param("second monday of the month", None, "2026-11-09", id="of-the-month"),
        pytest.param("first monday in 2028", None, "2028-01-03", id="of-a-year"),
        pytest.param("last friday of the year", None, "2026-12-25", id="of-the-year"),
        pytest.param("first monday after christmas", None, "2026-12-28", id="after-a-feast"),
        pytest.param("the friday before 3 May", None, "2027-04-30", id="before-a-date"),
        pytest.param("third tuesday after easter 2027", None, "2027-04-13", id="third-after"),
        pytest.param("7 May, friday", None, "2027-05-07", id="behind-the-date"),
        pytest.param("3 May, tuesday", None, "2033-05-03", id="behind-of-another-year"),
        pytest.param("thu at 8", "thu", "2026-11-26", id="short-name-that-is-no-word"),
    ],
)
def test_a_weekday_is_counted_from_what_stands_beside_it(find, text, written, expected):
    assert find(text, "date")[0] == (written or text, expected)


def test_a_weekday_behind_a_date_with_a_year_that_contradicts_is_a_day_of_its_own(find):
    found = [value for _, value in find("on 3 May 2027, friday and saturday", "date")]
    assert found == ["2027-05-03", "2026-11-27", "2026-11-28"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("last week from tuesday to thursday", "2026-11-17/2026-11-20"),
        ("this week between monday and wednesday", "2026-11-23/2026-11-26"),
        ("next week from friday to monday", "2026-12-04/2026-12-08"),
    ],
)
def test_weekdays_in_a_week_that_is_said_before_are_of_that_week(find, text, expected):
    assert find(text, "date_range") == [(text, expected)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("in 3 business days", "2026-11-27"),
        ("five working days ago", "2026-11-17"),
        ("4 business days after 26 November", "2026-12-02"),
    ],
)
def test_working_days_skip_the_weekend(find, text, expected):
    assert find(text, "date") == [(text, expected)]


@settings(max_examples=100, deadline=None)
@given(st.dates(date(1990, 1, 1), date(2090, 1, 1)), st.integers(-400, 400).filter(bool))
def test_as_many_working_days_lie_between_as_were_counted(day, count):
    end = added_working(day, count)
    assert end is not None
    assert end.weekday() < 5
    step = 1 if count > 0 else -1
    passed = (day + timedelta(days=step * number) for number in range(1, abs((end - day).days) + 1))
    assert sum(one.weekday() < 5 for one in passed) == abs(count)
