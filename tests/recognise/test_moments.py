"""Dates, times, both together, ranges and durations, seen from Tuesday 24 November 2026."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from slmesh.recognise import Context, recognise


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("friday", "2026-11-27", id="bare-weekday"),
        pytest.param("tuesday", "2026-12-01", id="today's-weekday-is-next-week"),
        pytest.param("this friday", "2026-11-27", id="this"),
        pytest.param("next friday", "2026-12-04", id="next"),
        pytest.param("last friday", "2026-11-20", id="last"),
        pytest.param("next week monday", "2026-11-30", id="week-before"),
        pytest.param("monday last week", "2026-11-16", id="week-after"),
        pytest.param("thursday in two weeks", "2026-12-10", id="in-weeks"),
        pytest.param("friday the 13th", "2027-08-13", id="weekday-and-day"),
        pytest.param("tomorrow", "2026-11-25", id="tomorrow"),
        pytest.param("the day before yesterday", "2026-11-22", id="before-yesterday"),
        pytest.param("2 days ago", "2026-11-22", id="ago"),
        pytest.param("in a month", "2026-12-24", id="in-a-month"),
        pytest.param("a year and two months ago", "2025-09-24", id="compound-ago"),
        pytest.param("5 days before christmas", "2026-12-20", id="before-a-day"),
        pytest.param("3 May", "2027-05-03", id="next-occurrence"),
        pytest.param("1 November", "2026-11-01", id="earlier-this-month"),
        pytest.param("May the 3rd, 2025", "2025-05-03", id="year"),
        pytest.param("twenty-first of June", "2027-06-21", id="ordinal-in-words"),
        pytest.param("on the 3rd", "2026-12-03", id="day-of-month"),
        pytest.param("the 15th of next month", "2026-12-15", id="of-next-month"),
        pytest.param("2026/Sep/23", "2026-09-23", id="year-first"),
        pytest.param("12.05.2025", "2025-05-12", id="dots"),
        pytest.param("2025-05-12", "2025-05-12", id="iso"),
        pytest.param("25/12/99", "1999-12-25", id="two-digit-year"),
        pytest.param("by 01/02", "2027-02-01", id="no-year"),
        pytest.param("new year's eve", "2026-12-31", id="holiday"),
        pytest.param("29 February 2027", None, id="no-such-day"),
        pytest.param("23-2020-September", "2020-09-23", id="day-first-year-inside"),
        pytest.param("20161016", "2016-10-16", id="compact"),
        pytest.param("2016 10 16", "2016-10-16", id="spaced"),
        pytest.param("-2020-07-01-", "2020-07-01", id="between-dashes"),
        pytest.param("13 Sept nineteen seventy two", "1972-09-13", id="year-in-words"),
        pytest.param("june first two thousand and thirty two", "2032-06-01", id="all-in-words"),
        pytest.param("15 April of 87", "1987-04-15", id="short-year-after-of"),
        pytest.param("05-Aug-16", "2016-08-05", id="short-year"),
        pytest.param("18/03/47", "1947-03-18", id="more-than-20-years-ahead"),
        pytest.param("on 5.12", "2026-12-05", id="dot-without-year"),
        pytest.param("for $12 December 27", "2026-12-27", id="after-an-amount"),
        pytest.param("previous friday", "2026-11-20", id="previous"),
        pytest.param("monday of the following week", "2026-11-30", id="of-the-following-week"),
        pytest.param("tuesday the eleventh", "2027-05-11", id="weekday-and-ordinal"),
        pytest.param("Thursday 31!", "2026-12-31", id="weekday-and-number"),
        pytest.param("Wed March 3", "2027-03-03", id="weekday-fits-the-next"),
        pytest.param("Tue March 3", "2026-03-03", id="weekday-fits-the-last"),
        pytest.param("the first friday in july", "2027-07-02", id="weekday-of-a-month"),
        pytest.param("last monday of next month", "2026-12-28", id="last-of-next-month"),
        pytest.param("on the twelfth", "2026-12-12", id="day-of-month-in-words"),
        pytest.param("May twenty nine", "2027-05-29", id="cardinal"),
        pytest.param("2016 November 22nd", "2016-11-22", id="year-first-with-ordinal"),
        pytest.param("half a year ago", "2026-05-24", id="half-a-year"),
        pytest.param("monday week", "2026-12-07", id="monday-week"),
        pytest.param("a week on friday", "2026-12-04", id="a-week-on"),
        pytest.param("a week today", "2026-12-01", id="a-week-today"),
        pytest.param("the sunday after next", "2026-12-06", id="after-next"),
        pytest.param("two weeks since the year 2011", "2011-01-15", id="since-a-year"),
        pytest.param("next month on the 20th", "2026-12-20", id="month-first"),
        pytest.param("the last day of the month", "2026-11-30", id="last-day"),
        pytest.param("first day of march 2028", "2028-03-01", id="first-day"),
        pytest.param("the day before christmas", "2026-12-24", id="the-day-before"),
        pytest.param("05/07", "2027-07-05", id="alone"),
        pytest.param("on 3-7", "2027-07-03", id="dash"),
        pytest.param("Wed the 22nd of January", "2031-01-22", id="weekday-of-a-later-year"),
        pytest.param("easter 2018", "2018-04-01", id="easter"),
        pytest.param("thanksgiving", "2026-11-26", id="thanksgiving"),
        pytest.param("last easter", "2026-04-05", id="last-easter"),
        pytest.param("Monday two weeks from now", "2026-12-07", id="weekday-of-a-counted-week"),
        pytest.param("mar/3/2015", "2015-03-03", id="month-first-with-strokes"),
        pytest.param("03.mar.2015", "2015-03-03", id="day-first-with-dots"),
        pytest.param("14th April 15", "2015-04-14", id="short-year-at-the-end"),
        pytest.param("10 / 12 / 2018", "2018-12-10", id="spaced-strokes"),
        pytest.param("on the twenty first", "2026-12-21", id="day-of-month-in-two-words"),
        pytest.param("a week ago yesterday", "2026-11-16", id="ago-from-yesterday"),
        pytest.param("tmr", "2026-11-25", id="tomorrow-written-short"),
        pytest.param("two months from today on Tuesday", "2027-01-26", id="weekday-after-months"),
    ],
)
def test_dates_are_counted_from_the_reference_time(find, text, expected):
    assert [value for _, value in find(text, "date")] == [expected]


def test_days_listed_before_a_month_are_days(find):
    for text in ("18 and 19 June", "June 18th and 19th please"):
        assert [value for _, value in find(text, "date")] == ["2027-06-18", "2027-06-19"]


@pytest.mark.parametrize(
    ("locale", "expected"),
    [("en-GB", "2027-04-03"), ("en-US", "2027-03-04"), ("de-DE", "2027-04-03")],
)
def test_the_order_of_day_and_month_follows_the_locale(find, locale, expected):
    assert find("03/04/2027", "date", locale=locale) == [("03/04/2027", expected)]


def test_month_names_of_the_locale_are_read(find):
    assert find("am 3. März 2027", "date", locale="de-DE") == [("3. März 2027", "2027-03-03")]


@pytest.mark.parametrize("text", ["it may be 2 late", "sun and fun", "the 1st floor", "3/4", "sat"])
def test_words_that_only_look_like_dates_are_left_alone(find, text):
    assert find(text, "date") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("17:30", "17:30:00", id="clock"),
        pytest.param("5pm", "17:00:00", id="pm"),
        pytest.param("12 a.m.", "00:00:00", id="midnight-am"),
        pytest.param("3.30pm", "15:30:00", id="dot"),
        pytest.param("930pm", "21:30:00", id="run-together"),
        pytest.param("half past six", "06:30:00", id="half-past"),
        pytest.param("quarter to 5 in the afternoon", "16:45:00", id="quarter-to"),
        pytest.param("25 to 1 p.m.", "12:35:00", id="to-one"),
        pytest.param("9 05 in the morning", "09:05:00", id="spaced"),
        pytest.param("12:25 night", "00:25:00", id="at-night"),
        pytest.param("seven o'clock", "07:00:00", id="o'clock"),
        pytest.param("noon", "12:00:00", id="noon"),
        pytest.param("at 7", "07:00:00", id="bare-after-at"),
        pytest.param("6ish", "06:00:00", id="ish"),
        pytest.param("seven at night", "19:00:00", id="hour-in-words-and-part"),
        pytest.param("20 minutes to eight", "07:40:00", id="minutes-to"),
        pytest.param("12 noon", "12:00:00", id="twelve-noon"),
        pytest.param("at 0945", "09:45:00", id="four-digits"),
        pytest.param("by 1930 hrs", "19:30:00", id="four-digits-and-hours"),
        pytest.param("at 9p", "21:00:00", id="p"),
        pytest.param("noonish", "12:00:00", id="noonish"),
        pytest.param("in the afternoon at 7", "19:00:00", id="part-first"),
        pytest.param("3 p . m .", "15:00:00", id="apart"),
        pytest.param("fifteen past eight in the morning", "08:15:00", id="fifteen-past"),
        pytest.param("at seven twenty-seven", "07:27:00", id="spoken"),
        pytest.param("by nine a m", "09:00:00", id="letters-apart"),
        pytest.param("seven thirty p.m.", "19:30:00", id="words-and-dots"),
        pytest.param("a quarter till four", "03:45:00", id="till"),
        pytest.param("6 early in the morning", "06:00:00", id="early-in-the-morning"),
    ],
)
def test_times_are_read_on_the_24_hour_clock(find, text, expected):
    assert [value for _, value in find(text, "time")] == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "from 5 to 7",
        "25:00",
        "at 3 branches",
        "7",
        "1.50",
        "at 5%",
        "two to four people",
        "5 to 6 people",
        "10 minutes to one hour",
        "from two thirty pound notes",
        "a 7 night stay",
    ],
)
def test_numbers_without_a_sign_of_time_are_no_times(find, text):
    assert find(text, "time") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("tomorrow at 5pm", "2026-11-25T17:00:00+00:00", id="day-first"),
        pytest.param("8pm on friday", "2026-11-27T20:00:00+00:00", id="time-first"),
        pytest.param("tonight at 8", "2026-11-24T20:00:00+00:00", id="part-of-day"),
        pytest.param("1 July 2026 at 9:00", "2026-07-01T09:00:00+01:00", id="summer-time"),
        pytest.param("2016-12-16T12:23:59Z", "2016-12-16T12:23:59+00:00", id="iso"),
        pytest.param("2026-07-01T12:00", "2026-07-01T12:00:00+01:00", id="iso-local"),
        pytest.param("2 days and 3 hours ago", "2026-11-22T06:00:00+00:00", id="days-and-hours"),
        pytest.param("end of day", "2026-11-24T23:59:59+00:00", id="end-of-day"),
        pytest.param("end of the sunday", "2026-11-29T23:59:59+00:00", id="end-of-a-day"),
        pytest.param("Wed Oct 26 15:50:06 2016", "2016-10-26T15:50:06+01:00", id="year-last"),
        pytest.param("Sunday late evening at 10:00", "2026-11-29T22:00:00+00:00", id="late"),
        pytest.param("five-thirty pm tomorrow", "2026-11-25T17:30:00+00:00", id="words"),
        pytest.param("in 2 hours", "2026-11-24T11:00:00+00:00", id="in-hours"),
        pytest.param("I'll be back 10, tonight", "2026-11-24T22:00:00+00:00", id="bare-tonight"),
        pytest.param("at 3 this afternoon", "2026-11-24T15:00:00+00:00", id="this-afternoon"),
        pytest.param("11 last night", "2026-11-23T23:00:00+00:00", id="last-night"),
        pytest.param("at 8 on friday evening", "2026-11-27T20:00:00+00:00", id="part-behind"),
        pytest.param("at eight on friday", "2026-11-27T08:00:00+00:00", id="hour-in-words"),
        pytest.param("at 730 tomorrow", "2026-11-25T07:30:00+00:00", id="three-digits"),
        pytest.param("3/5 5pm", "2027-05-03T17:00:00+01:00", id="day-in-numbers-before-a-time"),
        pytest.param("5pm 3/5", "2027-05-03T17:00:00+01:00", id="day-in-numbers-behind-a-time"),
        pytest.param("30 minutes ago", "2026-11-24T08:30:00+00:00", id="minutes-ago"),
    ],
)
def test_a_date_with_a_time_carries_the_offset_of_the_zone(find, text, expected):
    assert [value for _, value in find(text, "date_time")] == [expected]


@pytest.mark.parametrize("text", ["a table for 8 tonight", "we are 4 this evening"])
def test_a_party_of_tonight_is_no_hour(find, text):
    assert find(text, "date_time") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("last month", "2026-10-01/2026-11-01", id="last-month"),
        pytest.param("this week", "2026-11-23/2026-11-30", id="this-week"),
        pytest.param("next year", "2027-01-01/2028-01-01", id="next-year"),
        pytest.param("the weekend", "2026-11-28/2026-11-30", id="weekend"),
        pytest.param("last 3 days", "2026-11-21/2026-11-25", id="last-days"),
        pytest.param("next two weeks", "2026-11-25/2026-12-09", id="next-weeks"),
        pytest.param("from 3rd to 7th of May", "2027-05-03/2027-05-08", id="days-of-month"),
        pytest.param("May 3-7", "2027-05-03/2027-05-08", id="month-first"),
        pytest.param("monday to friday", "2026-11-30/2026-12-05", id="weekdays"),
        pytest.param("30 Nov - 2 Dec 2026", "2026-11-30/2026-12-03", id="two-dates"),
        pytest.param("in May", "2027-05-01/2027-06-01", id="month"),
        pytest.param("October 2019", "2019-10-01/2019-11-01", id="month-and-year"),
        pytest.param("in 2019", "2019-01-01/2020-01-01", id="year"),
        pytest.param("last few days", None, id="uncountable"),
        pytest.param("2 next days", "2026-11-25/2026-11-27", id="count-first"),
        pytest.param("the next couple weeks", "2026-11-25/2026-12-09", id="couple"),
        pytest.param("last 2 quarters", "2026-04-01/2026-10-01", id="quarters-of-the-calendar"),
        pytest.param("previous 4 business days", "2026-11-18/2026-11-24", id="business-days"),
        pytest.param("last 3 months and 2 days", "2026-08-22/2026-11-25", id="compound"),
        pytest.param("1/1/2015-5/1/2015", "2015-01-01/2015-01-06", id="numbers-without-a-gap"),
        pytest.param("2014~2018", "2014-01-01/2019-01-01", id="years"),
        pytest.param("between 2014 and 2018", "2014-01-01/2019-01-01", id="between-years"),
        pytest.param("in 2014 through May 2018", "2014-01-01/2018-06-01", id="year-to-month"),
        pytest.param("from March to May", "2027-03-01/2027-06-01", id="months"),
        pytest.param("from May to December", "2026-05-01/2027-01-01", id="months-not-over"),
        pytest.param("from January to april 2015", "2015-01-01/2015-05-01", id="year-of-the-last"),
        pytest.param("Nov-Feb 2017", "2016-11-01/2017-03-01", id="over-the-new-year"),
        pytest.param("Nov 18-Dec 19, 2015", "2015-11-18/2015-12-20", id="days-and-year"),
        pytest.param("26 june to 28 june in 2020", "2020-06-26/2020-06-29", id="year-of-both"),
        pytest.param("from 10/1/2018-10/7/2018", "2018-01-10/2018-07-11", id="numbers"),
        pytest.param("from 2010-01-01 till current date", "2010-01-01/2026-11-25", id="now"),
        pytest.param("between ninth and seventeenth of april", "2027-04-09/2027-04-18", id="words"),
        pytest.param("from 4-23 in next month", "2026-12-04/2026-12-24", id="of-next-month"),
        pytest.param("from April until the end of June", "2027-04-01/2027-07-01", id="end-of"),
        pytest.param("2019-Q1", "2019-01-01/2019-04-01", id="quarter"),
        pytest.param("from q1 of 2017 - q3 of 2018", "2017-01-01/2018-10-01", id="quarters"),
        pytest.param("2019 H2", "2019-07-01/2020-01-01", id="half-year"),
        pytest.param("2015-12", "2015-12-01/2016-01-01", id="year-and-month"),
        pytest.param("in nineteen ninety six", "1996-01-01/1997-01-01", id="year-in-words"),
        pytest.param("the 1990 s", "1990-01-01/2000-01-01", id="decade"),
        pytest.param("in the nineties", "1990-01-01/2000-01-01", id="decade-in-words"),
        pytest.param("15th century", "1400-01-01/1500-01-01", id="century"),
        pytest.param("October two thousand", "2000-10-01/2000-11-01", id="month-and-year-in-words"),
        pytest.param("the rest of the month", "2026-11-24/2026-12-01", id="rest"),
        pytest.param("the week before last", "2026-11-09/2026-11-16", id="before-last"),
        pytest.param("first half of 2018", "2018-01-01/2018-07-01", id="first-half"),
        pytest.param("jan-mar", "2027-01-01/2027-04-01", id="short-months"),
        pytest.param("week 31", "2026-07-27/2026-08-03", id="week-number"),
        pytest.param("week 27 of last year", "2025-06-30/2025-07-07", id="week-of-a-year"),
        pytest.param("first week of 2019", "2018-12-31/2019-01-07", id="first-week"),
        pytest.param("last week of july 2016", "2016-07-25/2016-08-01", id="last-week-of-month"),
        pytest.param("the first 2 weeks of 2021", "2021-01-04/2021-01-18", id="first-weeks"),
        pytest.param("the third month of 2021", "2021-03-01/2021-04-01", id="third-month"),
        pytest.param("the first quarter of the year", "2026-01-01/2026-04-01", id="of-the-year"),
        pytest.param("the week after next", "2026-12-07/2026-12-14", id="week-after-next"),
        pytest.param("the week of the 18th", "2026-12-14/2026-12-21", id="week-of-a-day"),
        pytest.param("w/c Feb 4 2019", "2019-02-04/2019-02-11", id="week-commencing"),
        pytest.param("3 days starting from next Monday", "2026-11-30/2026-12-03", id="starting"),
        pytest.param("for 3 days from today", "2026-11-24/2026-11-27", id="for-days-from"),
        pytest.param("labor day weekend", "2027-09-04/2027-09-07", id="holiday-weekend"),
        pytest.param("weekend of thanksgiving 2023", "2023-11-23/2023-11-27", id="thanksgiving"),
        pytest.param(
            "tomorrow from 2pm to 4pm",
            "2026-11-25T14:00:00+00:00/2026-11-25T16:00:00+00:00",
            id="hours-of-a-day",
        ),
    ],
)
def test_ranges_are_intervals_whose_end_is_not_included(find, text, expected):
    assert [value for _, value in find(text, "date_range")] == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "it may be that he will march to the shop",
        "the year has a month and a week",
        "she is in her forties",
        "2014 points to 2018 people",
        "room 2019-2, order 2019-123",
        "week 3% of it",
        "25 percent of two thousand one hundred",
    ],
)
def test_words_and_numbers_that_only_look_like_periods_are_left_alone(find, text):
    assert find(text, "date_range") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("2 hours", 7200, id="hours"),
        pytest.param("1 hour and 30 minutes", 5400, id="compound"),
        pytest.param("1h30", 5400, id="short"),
        pytest.param("an hour and a half", 5400, id="and-a-half"),
        pytest.param("half an hour", 1800, id="half"),
        pytest.param("a couple of days", 172800, id="couple"),
        pytest.param("2 months", 5184000, id="months-of-30-days"),
        pytest.param("1.5 sec", 1.5, id="fraction"),
        pytest.param("a few weeks", None, id="uncountable"),
        pytest.param("three quarters of an hour", 2700, id="part-of-an-hour"),
        pytest.param("three weekends", 518400, id="weekends"),
        pytest.param("all day", 86400, id="all-day"),
        pytest.param("the whole week", 604800, id="whole-week"),
        pytest.param("another hour", 3600, id="another"),
        pytest.param("3 more days", 259200, id="more-days"),
        pytest.param("a pair of hours", 7200, id="pair"),
        pytest.param("1/2 an hour", 1800, id="half-with-a-stroke"),
        pytest.param("two and one half hours", 9000, id="one-half"),
        pytest.param("a year and a quarter", 456.25 * 86400, id="and-a-quarter"),
    ],
)
def test_durations_are_in_seconds(find, text, expected):
    assert [value for _, value in find(text, "duration")] == [expected]


def test_the_day_is_the_one_of_the_writers_time_zone():
    late = datetime(2026, 11, 24, 23, 30, tzinfo=UTC)
    context = Context(time_zone="Asia/Tokyo", reference_time=late)
    (match,) = recognise("tomorrow", {"date"}, context)
    assert match.value == "2026-11-26"


def test_dates_without_a_reference_time_are_refused():
    with pytest.raises(ValueError, match="reference_time"):
        recognise("tomorrow", {"date"}, Context())
