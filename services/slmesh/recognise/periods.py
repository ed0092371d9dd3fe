"""Reads stretches of days in a text: "last month", "from 3rd to 7th of May", "in 2019".

A period is half-open: its end is the first day after it. A week runs from Monday to Sunday.
"last 3 days" are the three before today, "next 3 days" start tomorrow. Words are English;
month names also those of the locale.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from itertools import pairwise

from slmesh.recognise.day import Day, added, last_date, next_date
from slmesh.recognise.day_names import names_of
from slmesh.recognise.durations import lengths
from slmesh.recognise.reading import Reading
from slmesh.recognise.tense import speaks_of_past


@dataclass(frozen=True, slots=True)
class Period:
    """A stretch of days in a text; `until` is the first day after it. Both None: not to be told."""

    start: int
    end: int
    since: date | None
    until: date | None


_UNIT = re.compile(
    r"\b(?P<which>this|the[ ]current|current|next|the[ ]coming|coming|last|past|previous|the"
    r"|following)[ ](?:calendar[ ]|whole[ ]|entire[ ])?"
    r"(?P<unit>week|month|year|quarter|weekend)\b(?![ ]?['\u2019]s|[ -]old)",
    re.IGNORECASE,
)
_BEFORE_LENGTH = re.compile(
    r"\b(?P<which>last|past|previous|next|coming|following)[ ]$", re.IGNORECASE
)
_YEAR = re.compile(
    r"\b(?:in|since|during|of|from|year|until|by|before|after)[ ](?P<year>(?:19|20)[0-9]{2})"
    r"(?![\w:/%-]|[.,][0-9]|[ ](?:pounds|dollars|euros|people))",
    re.IGNORECASE,
)
_TO = re.compile(
    r"[ ]?(?:,[ ])?(?:to|until|till|til|through|thru|up[ ]to|-|\u2013|\u2014)[ ]?(?:the[ ])?",
    re.IGNORECASE,
)
_TO_SPACED = re.compile(r"[ ](?:and|and[ ]leaving|and[ ]ending)[ ](?:the[ ])?", re.IGNORECASE)
_FROM = re.compile(r"\b(?P<word>from|between|since)[ ](?:the[ ])?$", re.IGNORECASE)
_AMBIGUOUS_MONTHS = frozenset({"may", "march", "mar", "sun", "jan", "dec"})


@lru_cache(maxsize=64)
def _month_patterns(locale: str) -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    names = names_of(locale)
    month = "|".join(re.escape(name) for name in sorted(names.months, key=len, reverse=True))
    day = r"(?:3[01]|[12][0-9]|0?[1-9])"
    tail = r"(?:st|nd|rd|th)?"
    to = r"[ ]?(?:to|until|till|til|through|and|-|\u2013|\u2014)[ ]?(?:the[ ])?"
    year = r"(?:,?[ ](?:of[ ])?(?P<year>(?:19|20)[0-9]{2})(?![\w:/]))?"
    return (
        re.compile(
            rf"\b(?:(?P<cue>in|during|for|since|of|all|until|by|from|early|late|this|next|last)[ ])?"
            rf"(?P<month>{month})\b(?:\.?,?[ ](?:of[ ])?(?:(?P<year>(?:19|20)[0-9]{{2}})(?![\w:/])"
            r"|(?P<which>this|next|last)[ ]year))?(?![ ]?[0-9])",
            re.IGNORECASE,
        ),
        re.compile(
            rf"(?<![\w.,:/-])(?:(?:from|between)[ ])?(?:the[ ])?(?P<first>{day}){tail}{to}"
            rf"(?P<second>{day}){tail}[ ]?(?:of[ ])?(?P<month>{month})\b{year}",
            re.IGNORECASE,
        ),
        re.compile(
            rf"\b(?:(?:from|between)[ ])?(?P<month>{month})\.?[ ](?:the[ ])?(?P<first>{day}){tail}{to}"
            rf"(?P<second>{day}){tail}(?![\w:/%]|[.,-][0-9]|[ ]?[ap]\.?m\b){year}",
            re.IGNORECASE,
        ),
    )


def periods(reading: Reading, found_days: Sequence[Day]) -> Iterator[Period]:
    """Find stretches of days; they may overlap, the longest is meant.

    Args:
        reading: the text.
        found_days: the single days of the same text, in order.
    """
    today = reading.now.date()
    for reader in _READERS:
        yield from reader(reading, today)
    yield from _between(reading.text, found_days)


def _calendar_units(reading: Reading, today: date) -> Iterator[Period]:
    """Read "this week", "last month", "the weekend"."""
    for found in _UNIT.finditer(reading.text):
        which = found.group("which").lower().removeprefix("the ")
        unit = found.group("unit").lower()
        if which == "the" and unit != "weekend":
            continue
        shift = {
            "next": 1,
            "coming": 1,
            "following": 1,
            "last": -1,
            "past": -1,
            "previous": -1,
        }.get(which, 0)
        since, until = _unit_around(today, unit, shift)
        yield Period(*found.span(), since, until)


def _unit_around(today: date, unit: str, shift: int) -> tuple[date | None, date | None]:
    """Return the first day of the calendar unit `shift` units from today's, and of the next one."""
    if unit in ("week", "weekend"):
        since = today - timedelta(days=today.weekday()) + timedelta(weeks=shift)
        return (since + timedelta(days=5 if unit == "weekend" else 0)), since + timedelta(days=7)
    month = {"month": today.month, "quarter": (today.month - 1) // 3 * 3 + 1, "year": 1}[unit]
    first = added(date(today.year, month, 1), shift, unit)
    return first, added(first, 1, unit) if first else None


def _lengths_from_now(reading: Reading, today: date) -> Iterator[Period]:
    """Read "the last 3 months", "next two weeks"."""
    for length in reading.once(lengths):
        if length.unit in ("second", "minute", "hour"):
            continue
        before = _BEFORE_LENGTH.search(reading.text[max(0, length.start - 12) : length.start])
        if not before:
            continue
        start = length.start - len(before.group())
        since = until = None
        if length.count is not None and length.count == int(length.count):
            count, tomorrow = int(length.count), today + timedelta(days=1)
            if before.group("which").lower() in ("last", "past", "previous"):
                since, until = added(today, -count, length.unit), today
            else:
                since, until = tomorrow, added(tomorrow, count, length.unit)
        known = since is not None and until is not None
        yield Period(start, length.end, since if known else None, until if known else None)


def _months(reading: Reading, today: date) -> Iterator[Period]:
    """Read "in May", "October 2019", "November this year"."""
    names = names_of(reading.context.locale)
    for found in _month_patterns(reading.context.locale)[0].finditer(reading.text):
        written = found.group("month")
        cue = (found.group("cue") or "").lower()
        settled = cue or found.group("year") or found.group("which")
        if not settled and (written.lower() in _AMBIGUOUS_MONTHS or len(written) < 4):
            continue
        month = names.months[written.lower()]
        past = cue == "since" or speaks_of_past(reading.text, *found.span("month"))
        year = _year_of_month(found, month, cue, today, past=past)
        first = date(year, month, 1)
        start = found.start("cue") if cue in ("this", "next", "last") else found.start("month")
        yield Period(start, found.end(), first, added(first, 1, "month"))


def _year_of_month(found: re.Match[str], month: int, cue: str, today: date, *, past: bool) -> int:
    """Return the year: as written, else of the next occurrence, this month included."""
    if found.group("year"):
        return int(found.group("year"))
    if found.group("which"):
        return today.year + {"this": 0, "next": 1, "last": -1}[found.group("which").lower()]
    if cue == "this":
        return today.year
    if cue == "last":
        return today.year if month < today.month else today.year - 1
    if past:
        return today.year if month <= today.month else today.year - 1
    return today.year if month >= today.month else today.year + 1


def _years(reading: Reading, today: date) -> Iterator[Period]:
    del today
    for found in _YEAR.finditer(reading.text):
        year = int(found.group("year"))
        yield Period(*found.span("year"), date(year, 1, 1), date(year + 1, 1, 1))


def _days_of_month(reading: Reading, today: date) -> Iterator[Period]:
    """Read "from 3rd to 7th of May" and "May 3-7"."""
    names = names_of(reading.context.locale)
    for pattern in _month_patterns(reading.context.locale)[1:]:
        for found in pattern.finditer(reading.text):
            month = names.months[found.group("month").lower()]
            first, second = int(found.group("first")), int(found.group("second"))
            past = speaks_of_past(reading.text, *found.span())
            since = last_date(month, first, today) if past else next_date(month, first, today)
            if found.group("year"):
                since = _safe_date(int(found.group("year")), month, first)
            last = _safe_date(since.year, month, second) if since else None
            if since is None or last is None or last < since:
                continue
            if " and " in found.group().lower() and not _FROM_WORD.match(found.group()):
                continue  # "18 and 19 June" are two days
            yield Period(*found.span(), since, last + timedelta(days=1))


_FROM_WORD = re.compile(r"from\b|between\b", re.IGNORECASE)


def _safe_date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _between(text: str, found_days: Sequence[Day]) -> Iterator[Period]:
    """Join two days with "to" between them: "monday to friday"."""
    for first, second in pairwise(found_days):
        before = _FROM.search(text[max(0, first.start - 14) : first.start])
        spaced = before is not None and _TO_SPACED.fullmatch(text, first.end, second.start)
        if not spaced and not _TO.fullmatch(text, first.end, second.start):
            continue
        start = first.start - len(before.group()) if before else first.start
        last = _not_before(second, first.value)
        if first.value is None or last is None:
            continue
        yield Period(start, second.end, first.value, last + timedelta(days=1))


def _not_before(day: Day, first: date | None) -> date | None:
    """Return the day's first occurrence that is not before `first`; None when it has none."""
    value = day.value
    if value is None or first is None:
        return None
    for _ in range(60):
        if value is None or value >= first:
            return value
        if day.every not in ("week", "month", "year"):
            return None
        value = added(value, 1, day.every)
    return None


_READERS: tuple[Callable[[Reading, date], Iterator[Period]], ...] = (
    _calendar_units,
    _lengths_from_now,
    _months,
    _years,
    _days_of_month,
)
