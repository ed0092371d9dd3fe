"""Reads single days in a text and counts them from the day of the reference time.

How an open date is settled:
a bare weekday is the next one after today; "this friday" is the one of the current week (Monday to
Sunday), "next friday" and "previous friday" those of the weeks beside it, "last friday" the latest one
before today; a day and month without a year is its next occurrence, where an earlier day of the
current month is still this year's ("on 1 March", written on 15 March); a day of the month alone is its
next occurrence, today included; with a weekday that contradicts the next occurrence, the nearest year
or month where both agree. In words about the past ("I was charged on 3 March") an open date is its
latest occurrence instead, see `tense`.

Month and weekday names are English and those of the locale; everything else is English.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta

from slmesh.recognise.counted_days import beside_days, counted_days, with_weekdays
from slmesh.recognise.day import Day, added, date_of, full_year, last_date, next_date
from slmesh.recognise.day_names import CARDINALS, DAY_WORD, DAY_WORDS, DayNames, names_of
from slmesh.recognise.feasts import feast_name, feasts, latest_feast
from slmesh.recognise.match import longest
from slmesh.recognise.month_weekdays import first_and_last_days, weekdays_of_months
from slmesh.recognise.numeric_days import numeric_days
from slmesh.recognise.period import SHIFTS
from slmesh.recognise.reading import Reading
from slmesh.recognise.tense import speaks_of_past
from slmesh.recognise.weekdays import day_on_weekday, weekdays, weekdays_beside
from slmesh.recognise.year_words import year_of_words

_NAMED = re.compile(
    r"\b(?:(?P<after>(?:the[ ])?day[ ]after[ ]tomorrow)|(?P<before>(?:the[ ])?day[ ]before[ ]yesterday)"
    r"|(?P<tomorrow>tomorrow|tmrw?|tomorow|2moro)|(?P<yesterday>yesterday)|(?P<today>today)"
    r"|(?P<night>tonight|tonite)|this[ ](?P<part>morning|afternoon|evening)"
    r"|(?P<last>last[ ]night))(?:[ ](?P<later>morning|afternoon|evening|night))?(?=s?\b)",
    re.IGNORECASE,
)
_ORDINAL_DAY = re.compile(
    r"(?:\b(?P<the>the|next|last)[ ]|(?P<cue>\b(?:from|to|till|until|on|by|between|and|since|for)[ ]))?"
    rf"\b(?:(?P<day>3[01]|[12][0-9]|0?[1-9])(?P<tail>st|nd|rd|th)?|(?:(?<=the[ ])|(?=first[ ]of[ ]))"
    rf"(?P<word>{DAY_WORD}))"
    r"(?:[ ](?:day[ ])?(?:of[ ])?(?P<month>this|next|last|the)[ ]month)?(?![\w:/%]|[.,-][0-9])",
    re.IGNORECASE,
)
_TO_ANOTHER = re.compile(
    r"[ ]?(?:to|until|till|through|-|\u2013)[ ]?(?:the[ ])?[0-9]{1,2}(?:st|nd|rd|th)\b",
    re.IGNORECASE,
)
_ON_THE = re.compile(r"\b(?:on|by|until|till|from)[ ]the[ ]$", re.IGNORECASE)
_DAY_ENDS = re.compile(
    r"[ ]?(?:$|[.,;:!?)\n-]|(?:to|and|at|for|from|until|till|in|with|by|or|please|then|through|as|if"
    r"|is|was|around|about|we|i|between|before|after)\b)",
    re.IGNORECASE,
)


def days(reading: Reading) -> list[Day]:
    """Return the single days in the text in order, without overlaps, the longest reading of each."""
    today = reading.now.date()
    found: list[Day] = []
    for reader in _READERS:
        found.extend(reader(reading, today))
    counted = [*counted_days(reading, today), *beside_days(reading, found)]
    found += counted
    found.extend(with_weekdays(reading, counted, found))
    found.extend(weekdays_beside(reading, found))
    return [_told(reading, day, today) for day in longest(found)]


def _told(reading: Reading, day: Day, today: date) -> Day:
    """Return an open day that is told as past as its latest occurrence."""
    if not day.every or day.value is None or day.value < today:
        return day
    if not speaks_of_past(reading, day.start, day.end):
        return day
    if day.every == "week":
        value: date | None = day.value - timedelta(days=7 if day.value - today != _WEEK else 14)
    elif day.every == "month":
        value = _next_day_of_month(day.value.day, today, "last")
    elif day.every == "feast":
        written = reading.text[day.start : day.end]
        value = latest_feast(feast_name(written, reading.writing.region), today)
    elif day.every == "match":
        value = day_on_weekday(day.value.day, day.value.weekday(), today, ahead=False)
    else:
        value = last_date(day.value.month, day.value.day, today)
        if day.every == "dated" and (value is None or value.weekday() != day.value.weekday()):
            return day
    return replace(day, value=value)


_WEEK = timedelta(days=7)


def _with_month(reading: Reading, today: date) -> Iterator[Day]:
    names = names_of(reading.context.locale)
    for pattern in (names.day_first, names.month_first):
        for found in pattern.finditer(reading.text):
            if not found.group("tail") and _is_verb(reading.text, found):
                continue
            yield _month_and_day(found, names, today)
            listed = _listed_before if pattern is names.day_first else _listed_after
            yield from listed(reading.text, found, names, today)


_AUXILIARY = re.compile(r"[ ](?:be|have|not|need|i|we|you|also|want)\b", re.IGNORECASE)


def _is_verb(text: str, found: re.Match[str]) -> bool:
    """Tell "2 may be late" from "2 may"."""
    lowered = found.group("month") in ("may", "march", "mar")
    return lowered and _AUXILIARY.match(text, found.end()) is not None


_LISTED = re.compile(
    r"(?<![\w.,:/-])(?P<whole>(?P<day>3[01]|[12][0-9]|0?[1-9])(?:st|nd|rd|th)?)"
    r"[ ](?:and|or|&)[ ](?:the[ ])?$",
    re.IGNORECASE,
)
_RANGE_BEFORE = re.compile(r"\b(?:from|between)[ ](?:the[ ])?$", re.IGNORECASE)


def _listed_before(text: str, found: re.Match[str], names: DayNames, today: date) -> Iterator[Day]:
    """Read the 18 of "18 and 19 June"; "between 18 and 19 June" is a range."""
    listed = _LISTED.search(text, max(0, found.start() - 14), found.start())
    if listed is not None and not _RANGE_BEFORE.search(
        text, max(0, listed.start() - 14), listed.start()
    ):
        yield _listed(listed, found, names, today)


_LISTED_BEHIND = re.compile(
    r"[ ](?:and|or|&)[ ](?:the[ ])?(?P<whole>(?P<day>3[01]|[12][0-9]|0?[1-9])(?:st|nd|rd|th)?)"
    r"(?=$|[.,;!?)](?![0-9])|[ ](?:to|and|at|for|from|in|with|please|if|is|was|of)\b)",
    re.IGNORECASE,
)


def _listed_after(text: str, found: re.Match[str], names: DayNames, today: date) -> Iterator[Day]:
    """Read the 4th of "March 3rd and 4th"."""
    listed = _LISTED_BEHIND.match(text, found.end())
    if listed is not None and not _RANGE_BEFORE.search(
        text, max(0, found.start() - 14), found.start()
    ):
        yield _listed(listed, found, names, today)


def _listed(listed: re.Match[str], found: re.Match[str], names: DayNames, today: date) -> Day:
    """Return a day of the month that is named by the date beside it."""
    month, year = names.months[found.group("month").lower()], _year(found, today)
    day = int(listed.group("day"))
    value = date_of(year, month, day) if year else next_date(month, day, today)
    return Day(*listed.span("whole"), value, "" if year else "year")


def _month_and_day(found: re.Match[str], names: DayNames, today: date) -> Day:
    groups = found.groupdict()
    word = (groups["word"] or groups.get("cardinal") or "").lower().replace("-", " ")
    day = DAY_WORDS.get(word) or CARDINALS.get(word) or int(groups["day"])
    month = names.months[found.group("month").lower()]
    # "the" in front is no part of the date.
    start = min(found.start(name) for name in ("weekday", "day", "word", "month") if groups[name])
    year, behind = _year(found, today), found.group("behind")
    weekday = names.weekdays.get((found.group("weekday") or behind or "").lower())
    value = date_of(year, month, day) if year else next_date(month, day, today, weekday)
    end = found.end()
    if behind and (value is None or value.weekday() != weekday):
        # "3 May, friday and saturday": a day of its own
        weekday, end = None, found.start("behind") - 2
        value = date_of(year, month, day) if year else next_date(month, day, today)
    every = "" if year else "year" if weekday is None else "dated"
    return Day(start, end, value, every)


def _year(found: re.Match[str], today: date) -> int:
    """Return the year beside a day and month, or 0."""
    groups = found.groupdict()
    if groups["worded"]:
        return year_of_words(groups["worded"])
    written = groups["year"] or groups["short"] or groups["late"] or groups["bare_year"]
    return full_year(written.lstrip("'\u2019"), today) if written else 0


def _named(reading: Reading, today: date) -> Iterator[Day]:
    for found in _NAMED.finditer(reading.text):
        groups = found.groupdict()
        shift = (
            2 if groups["after"] else -2 if groups["before"] else 1 if groups["tomorrow"]
            else -1 if groups["yesterday"] or groups["last"] else 0
        )  # fmt: skip
        part = groups["part"] or groups["later"] or ""
        if groups["night"] or groups["last"]:
            part = "night"
        yield Day(*found.span(), today + timedelta(days=shift), "", part.lower())
    yield from feasts(reading.text, today, reading.writing.region)


def _of_month(reading: Reading, today: date) -> Iterator[Day]:
    """Read a day of the month alone: "the 21st", "from 1st", "the 15th of next month"."""
    text = reading.text
    for found in _ORDINAL_DAY.finditer(text):
        the, month = (found.group("the") or "").lower(), (found.group("month") or "").lower()
        word = (found.group("word") or "").lower().replace("-", " ")
        number = "word" if word else "day"
        start = found.start("the") if the in ("next", "last") else found.start(number)
        day = DAY_WORDS.get(word) or int(found.group("day") or 0)
        if word and not month and not _ON_THE.search(text, max(0, start - 12), start):
            continue  # "the second" of a list
        if month in ("this", "next", "last"):
            first = added(today.replace(day=1), SHIFTS[month], "month")
            yield Day(start, found.end(), date_of(first.year, first.month, day) if first else None)
        elif (
            (word or found.group("tail"))
            and (the or month or found.group("cue") or _TO_ANOTHER.match(text, found.end()))
            and _DAY_ENDS.match(text, found.end())
        ):
            yield Day(start, found.end(), _next_day_of_month(day, today, the), "month")


_DAY_OF_MONTH = re.compile(
    r"\b(?P<which>this|next|last)[ ]month[ ](?:on[ ])?(?:the[ ])?"
    r"(?P<day>3[01]|[12][0-9]|0?[1-9])(?:st|nd|rd|th)\b",
    re.IGNORECASE,
)


def _after_month(reading: Reading, today: date) -> Iterator[Day]:
    """Read "next month on the 20th"."""
    for found in _DAY_OF_MONTH.finditer(reading.text):
        first = added(today.replace(day=1), SHIFTS[found.group("which").lower()], "month")
        value = date_of(first.year, first.month, int(found.group("day"))) if first else None
        yield Day(*found.span(), value)


def _next_day_of_month(day: int, today: date, which: str) -> date | None:
    step = -1 if which == "last" else 1
    for ahead in range(13):
        month = today.month - 1 + ahead * step
        value = date_of(today.year + month // 12, month % 12 + 1, day)
        if value is not None and (value < today if step < 0 else value >= today):
            return value
    return None


_READERS: tuple[Callable[[Reading, date], Iterator[Day]], ...] = (
    numeric_days,
    _with_month,
    weekdays,
    _named,
    _of_month,
    _after_month,
    weekdays_of_months,
    first_and_last_days,
)
