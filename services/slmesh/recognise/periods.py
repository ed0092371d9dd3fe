"""Reads stretches of days in a text: "last month", "from 3rd to 7th of May", "March to May 2019".

A period is half-open: its end is the first day after it. A week runs from Monday to Sunday; "last 3
days" start three days ago and end with today, "next 3 days" start tomorrow. Between two points the last
one that is named belongs to the period. A range without a year is the first that is not over, told as
past the latest that has begun. Words are English; month names also those of the locale.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import lru_cache
from itertools import pairwise

from slmesh.recognise.calendar_periods import calendar_periods
from slmesh.recognise.counted_periods import (
    free_days,
    from_days,
    lengths_from_now,
    parts_of_periods,
)
from slmesh.recognise.day import Day, added, date_of, last_date, next_date
from slmesh.recognise.day_names import DAY_WORD, DAY_WORDS, any_of, names_of
from slmesh.recognise.match import longest
from slmesh.recognise.period import SHIFTS, Period
from slmesh.recognise.reading import Reading
from slmesh.recognise.tense import speaks_of_past

_TO = re.compile(
    r"[ ]?(?:,[ ])?(?:\b(?:to|until|till|til|through|thru|up[ ]to)\b|[-\u2013\u2014~])[ ]?"
    r"(?:the[ ])?(?:end[ ]of[ ])?(?:the[ ])?",
    re.IGNORECASE,
)
_AND = {
    "from": re.compile(r"[ ]and[ ](?:leaving|ending)[ ](?:the[ ]|on[ ])?", re.IGNORECASE),
    "between": re.compile(r"[ ]and[ ](?:the[ ])?", re.IGNORECASE),
}
_FROM = re.compile(r"\b(?P<word>from|between|since)[ ](?:the[ ])?$", re.IGNORECASE)
_WEEK_SAID = re.compile(r"\w+[ ]week(?:['\u2019]?s)?,?[ ](?P<word>from|between)?", re.IGNORECASE)
_NOW = re.compile(
    r"\b(?:now|(?:the[ ])?(?:current|present)[ ](?:date|day)|(?:the[ ])?present"
    r"|(?<=\bto[ ])date)\b",
    re.IGNORECASE,
)


@lru_cache(maxsize=64)
def _day_patterns(locale: str) -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    month = any_of(names_of(locale).months)
    first = rf"(?P<first>(?:3[01]|[12][0-9]|0?[1-9])(?:st|nd|rd|th)?|{DAY_WORD})"
    second = first.replace("first>", "second>", 1)
    to = r"[ ]?(?:to|until|till|til|through|thru|and|-|\u2013|\u2014)[ ]?(?:the[ ])?"
    year = r"(?:,?[ ](?:of[ ]|in[ ])?(?P<year>(?:19|20)[0-9]{2})(?![\w:/]))?"
    return (
        re.compile(
            rf"(?<![\w.,:/-])(?:(?P<from>from|between)[ ])?(?:the[ ])?{first}{to}{second}"
            rf"[ ]?(?:of[ ])?(?P<month>{month})\b{year}",
            re.IGNORECASE,
        ),
        re.compile(
            rf"\b(?:(?P<from>from|between)[ ])?(?P<month>{month})\.?[ ](?:the[ ])?{first}{to}{second}"
            rf"(?![\w:/%]|[.,-][0-9]|[ ]?[ap]\.?m\b){year}",
            re.IGNORECASE,
        ),
        re.compile(
            rf"(?<![\w.,:/-])(?:(?P<from>from|between)[ ])(?:the[ ])?{first}{to}{second}"
            r"[ ](?:of[ ]|in[ ])?(?:the[ ])?(?P<which>this|next|last|current)[ ]month\b",
            re.IGNORECASE,
        ),
    )


def periods(reading: Reading, found_days: Sequence[Day]) -> Iterator[Period]:
    """Find stretches of days; they may overlap, the longest is meant.

    Args:
        reading: the text.
        found_days: the single days of the same text, in order.
    """
    text, today = reading.text, reading.now.date()
    wholes = _longest(calendar_periods(reading, today))
    found = [
        *(whole for whole in wholes if not whole.weak),
        *lengths_from_now(reading, today),
        *parts_of_periods(text, wholes, today),
        *from_days(reading, found_days),
        *free_days(text, today),
        *_days_of_month(reading, today),
    ]
    yield from found
    yield from _between(reading, found_days, wholes, today)


def _longest(found: Iterable[Period]) -> list[Period]:
    """Return the periods in order without overlaps; of two as long a weak one gives way."""
    return longest(sorted(found, key=lambda period: period.weak))


def _days_of_month(reading: Reading, today: date) -> Iterator[Period]:
    """Read "from 3rd to 7th of May", "May 3-7" and "from 4-23 in next month"."""
    names = names_of(reading.context.locale)
    for pattern in _day_patterns(reading.context.locale):
        for found in pattern.finditer(reading.text):
            groups = found.groupdict()
            if " and " in found.group().lower() and not groups["from"]:
                continue  # "18 and 19 June" are two days
            first, second = _day_number(groups["first"]), _day_number(groups["second"])
            past = speaks_of_past(reading, *found.span())
            if groups.get("which"):
                month = added(today.replace(day=1), SHIFTS[groups["which"].lower()], "month")
                since = date_of(month.year, month.month, first) if month else None
            elif groups.get("year"):
                since = date_of(int(groups["year"]), names.months[groups["month"].lower()], first)
            else:
                number = names.months[groups["month"].lower()]
                since = (last_date if past else next_date)(number, first, today)
            last = date_of(since.year, since.month, second) if since else None
            if since is None or last is None or last < since:
                continue
            yield Period(*found.span(), since, last + timedelta(days=1))


def _day_number(written: str) -> int:
    word = written.lower().replace("-", " ")
    return DAY_WORDS.get(word) or int(re.sub(r"\D", "", written))


def _between(
    reading: Reading, found_days: Sequence[Day], wholes: Sequence[Period], today: date
) -> Iterator[Period]:
    """Join two points with "to" between them: "monday to friday", "March to May 2019"."""
    text = reading.text
    points = [_point(day) for day in found_days] + list(wholes)
    tomorrow = today + timedelta(days=1)
    points += [Period(*found.span(), today, tomorrow) for found in _NOW.finditer(text)]
    ordered = _longest(points)
    for first, second in pairwise(ordered):
        before = _FROM.search(text[max(0, first.start - 14) : first.start])
        week = _WEEK_SAID.match(text, first.start, first.end)
        said = before or week
        joint = _AND.get((said.group("word") or "").lower()) if said else None
        spaced = joint is not None and joint.fullmatch(text, first.end, second.start)
        if not spaced and not _TO.fullmatch(text, first.end, second.start):
            continue
        if first.weak and second.weak and not before and not _is_year_range(text, first, second):
            continue
        start = first.start - len(before.group()) if before else first.start
        past = bool(first.every) and speaks_of_past(reading, start, second.end)
        if week is not None and second.every == "week":
            second = _in_week_of(first, second)
        since, until = _ends(first, second, today, past=past)
        if since is not None and until is not None:
            yield Period(start, second.end, since, until)


def _in_week_of(first: Period, second: Period) -> Period:
    """Return a weekday in the week that was said before: "last week from tuesday to friday"."""
    if first.since is None or second.since is None:
        return second
    since = first.since + timedelta(days=(second.since.weekday() - first.since.weekday()) % 7)
    return replace(second, since=since, until=since + timedelta(days=1), every="")


def _is_year_range(text: str, first: Period, second: Period) -> bool:
    """Tell "2014-2018", "Nov-Feb" and "jan-mar" from two words that may not be months at all."""
    if text[first.end : second.start] == "-" and first.end - first.start == 3:
        return True
    return text[first.start].isdigit() or (
        text[first.start].isupper() and text[second.start].isupper()
    )


def _point(day: Day) -> Period:
    until = added(day.value, 1, "day") if day.value is not None else None
    return Period(day.start, day.end, day.value, until, day.every)


def _ends(
    first: Period, second: Period, today: date, *, past: bool
) -> tuple[date | None, date | None]:
    """Return the first day of one point and the day after the other, open years settled together."""
    if first.every == "year" and second.every == "":
        first = _moved_before(first, second)
    elif first.every == "year":
        first = _not_over(first, second, today, past=past)
    if first.since is None or second.until is None:
        return None, None
    until = _not_before(second, first.since)
    return first.since, until


def _moved_before(first: Period, second: Period) -> Period:
    """Return the first point in its latest year that does not start after the second."""
    for years in range(80):
        since = added(first.since, 1 - years, "year") if first.since else None
        if since is not None and second.since is not None and since <= second.since:
            return replace(first, since=since)
    return first


def _not_over(first: Period, second: Period, today: date, *, past: bool) -> Period:
    """Return the first point in the year before, where the range then is not over yet."""
    if (
        first.since is None
        or past
        or first.since <= today
        or first.until == added(first.since, 1, "day")
    ):
        return first  # between two days the next ones are meant
    earlier = added(first.since, -1, "year")
    if earlier is None:
        return first
    until = _not_before(second, earlier)
    return replace(first, since=earlier) if until is not None and until > today else first


def _not_before(point: Period, first: date) -> date | None:
    """Return the end of the point's first occurrence that is not before `first`."""
    since, until = point.since, point.until
    if since is not None and until is not None and point.every == "year":
        # its year may have been settled too late for this beginning
        while (earlier := added(since, -1, "year")) is not None and earlier >= first:
            since, until = earlier, added(until, -1, "year") or until
    for _ in range(60):
        if since is None or until is None or since >= first:
            return until if since is not None else None
        if point.every not in ("week", "month", "year"):
            return None
        since, until = added(since, 1, point.every), added(until, 1, point.every)
    return None
