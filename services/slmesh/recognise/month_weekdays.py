"""Reads days that are counted in a month: "the first friday in july", "last day of next month".

Weekday and month names are English and those of the locale.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from functools import lru_cache

from slmesh.recognise.day import Day, added, nth_weekday
from slmesh.recognise.day_names import any_of, names_of
from slmesh.recognise.period import SHIFTS, unit_around
from slmesh.recognise.reading import Reading
from slmesh.recognise.tense import speaks_of_past

_NUMBERS = {
    "first": 1, "1st": 1, "second": 2, "2nd": 2, "third": 3, "3rd": 3, "fourth": 4, "4th": 4,
    "fifth": 5, "5th": 5, "last": -1,
}  # fmt: skip


@lru_cache(maxsize=64)
def _pattern(locale: str) -> re.Pattern[str]:
    names = names_of(locale)
    weekday, month = any_of(names.weekdays), any_of(names.months)
    return re.compile(
        rf"\b(?P<number>{'|'.join(_NUMBERS)})[ ](?P<weekday>{weekday})[ ](?:(?:of|in)[ ])?(?:the[ ])?"
        rf"(?:(?P<which>this|next|last|coming|following)[ ](?P<unit>month|year)\b"
        rf"|(?<=the[ ])(?P<whole>month|year)\b|(?P<month>{month})\b"
        r"(?:,?[ ](?:of[ ])?(?P<year>(?:19|20)[0-9]{2})(?![\w:/]))?"
        r"|(?P<alone>(?:19|20)[0-9]{2})(?![\w:/]))",
        re.IGNORECASE,
    )


@lru_cache(maxsize=64)
def _end_days(locale: str) -> re.Pattern[str]:
    month = any_of(names_of(locale).months)
    return re.compile(
        r"\b(?:the[ ])?(?P<number>first|last)[ ]day[ ](?:of|in)[ ](?:(?P<which>this|next|last|the)[ ]"
        rf"(?P<unit>month|year)\b|(?P<month>{month})\b(?:,?[ ](?:of[ ])?(?P<year>(?:19|20)[0-9]{{2}})"
        r"(?![\w:/]))?|(?P<alone>(?:19|20)[0-9]{2})(?![\w:/]))",
        re.IGNORECASE,
    )


def first_and_last_days(reading: Reading, today: date) -> Iterator[Day]:
    """Find "the last day of the month", "first day of 2018"."""
    months = names_of(reading.context.locale).months
    for found in _end_days(reading.context.locale).finditer(reading.text):
        groups = found.groupdict()
        unit = (groups["unit"] or ("month" if groups["month"] else "year")).lower()
        if groups["which"]:
            since, until = unit_around(today, unit, SHIFTS[groups["which"].lower()])
        elif groups["month"]:
            month = months[groups["month"].lower()]
            year = int(groups["year"] or today.year + (month < today.month))
            since, until = unit_around(date(year, month, 1), "month", 0)
        else:
            since, until = unit_around(date(int(groups["alone"]), 1, 1), "year", 0)
        last = added(until, -1, "day") if until is not None else None
        yield Day(*found.span(), since if groups["number"].lower() == "first" else last)


def weekdays_of_months(reading: Reading, today: date) -> Iterator[Day]:
    """Find weekdays counted in a month; without a year in the next such month, this one included."""
    names = names_of(reading.context.locale)
    for found in _pattern(reading.context.locale).finditer(reading.text):
        number = _NUMBERS[found.group("number").lower()]
        weekday = names.weekdays[found.group("weekday").lower()]
        if found.group("alone"):
            value = _of_year(int(found.group("alone")), number, weekday)
        elif found.group("which") or found.group("whole"):
            unit = (found.group("unit") or found.group("whole")).lower()
            shift = SHIFTS[(found.group("which") or "the").lower()]
            first = added(today.replace(day=1), shift, unit)
            if first is None:
                value = None
            elif unit == "year":
                value = _of_year(first.year, number, weekday)
            else:
                value = nth_weekday(first.year, first.month, number, weekday)
        else:
            month = names.months[found.group("month").lower()]
            year = int(found.group("year") or today.year)
            value = nth_weekday(year, month, number, weekday)
            open_year = not found.group("year") and value is not None
            past = open_year and speaks_of_past(reading, *found.span())
            if open_year and value is not None and (value > today if past else value < today):
                value = nth_weekday(year + (-1 if past else 1), month, number, weekday)
        yield Day(*found.span(), value)


def _of_year(year: int, number: int, weekday: int) -> date | None:
    return nth_weekday(year, 12 if number < 0 else 1, number, weekday)
