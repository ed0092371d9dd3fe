"""Reads what a calendar names: "last month", "October 2019", "in 2019", "2019-Q1", "the 1990s".

Words are English; month names also those of the locale.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from functools import lru_cache

from slmesh.recognise.day import added
from slmesh.recognise.day_names import DAY_WORD, DAY_WORDS, any_of, names_of
from slmesh.recognise.parts_of_years import parts_of_years
from slmesh.recognise.period import SHIFTS, Period, unit_around
from slmesh.recognise.reading import Reading
from slmesh.recognise.tense import speaks_of_past
from slmesh.recognise.year_words import YEAR_WORDS, year_of_words

_UNIT = re.compile(
    r"\b(?P<which>this|the[ ]current|current|next|the[ ]coming|coming|last|past|previous|the[ ]next"
    r"|the[ ]last|the[ ]past|the[ ]previous|the|following|the[ ]following|upcoming)[ ]"
    r"(?:calendar[ ]|whole[ ]|entire[ ])?"
    r"(?P<unit>week|month|year|quarter|weekend|decade|century)\b(?![ ](?:after[ ]next|before[ ]last)\b)"
    r"(?![ ]?['\u2019]s|[ -]old|[ ]to[ ]date)",
    re.IGNORECASE,
)
_REST = re.compile(
    r"\b(?:the[ ])?(?:rest|remainder|remaining)[ ]of[ ](?:the|this|my|our)[ ](?:current[ ])?"
    r"(?P<unit>week|month|quarter|year|decade)\b",
    re.IGNORECASE,
)
_BEFORE_LAST = re.compile(
    r"\b(?:the[ ])?(?P<unit>week|weekend|month|year)[ ](?P<which>before[ ]last|after[ ]next)\b",
    re.IGNORECASE,
)
_TO_DATE = re.compile(r"\b(?:the[ ])?(?P<unit>year|month|week)[ -]to[ -]date\b", re.IGNORECASE)
_FOUR = r"(?:19|20)[0-9]{2}"
_NO_AMOUNT = (
    r"(?![\w:/%]|-[0-9]{1,2}(?![0-9])|[.,][0-9]"
    r"|[ ](?:pounds|dollars|euros|people|times|points|usd))"
)
_YEAR = re.compile(
    rf"(?:\b(?P<cue>in|since|during|of|from|year|until|till|by|before|after|for|than|between|through"
    rf"|to)[ ](?:the[ ]year[ ](?:of[ ])?)?|(?<![\w.,])=[ ]?)(?P<year>{_FOUR}){_NO_AMOUNT}"
    rf"|\bcy[ ]?(?P<short>[0-9]{{2}}(?:[0-9]{{2}})?)\b",
    re.IGNORECASE,
)
_MORE_YEARS = re.compile(rf"[ ]?(?:,|and|or|&)[ ](?P<year>{_FOUR}){_NO_AMOUNT}", re.IGNORECASE)
_SPOKEN_YEAR = re.compile(
    rf"\b(?:in|since|during|from|until|by|before|after|year)[ ](?P<year>{YEAR_WORDS})"
    r"(?![ ](?:hundred|thousand|million|pounds|dollars|euros|people|pence|percent|times))",
    re.IGNORECASE,
)
_YEAR_RANGE = re.compile(
    rf"(?<![\w./,:-])(?P<first>{_FOUR})[ ]?[-\u2013~][ ]?(?P<second>{_FOUR})(?![\w/%:]|[.,-][0-9])"
)
_YEAR_MONTH = re.compile(
    rf"(?<![\w./,:-])(?P<year>{_FOUR})[-/](?P<month>0[1-9]|1[0-2])(?![\w/%:]|[.,-][0-9])"
)
_MONTH_YEAR = re.compile(
    rf"(?<![\w./,:-])(?P<month>0?[1-9]|1[0-2])[-/](?P<year>{_FOUR})(?![\w/%:]|[.,-][0-9])"
)
_YEAR_TO_NOW = re.compile(
    rf"(?<![\w./,:$-])(?P<year>{_FOUR})(?=[ ]?(?:[-\u2013~]|\bto\b|until|till|through)[ ]?"
    r"(?:now|today|date|(?:the[ ])?present)\b)",
    re.IGNORECASE,
)
_DECADE = re.compile(
    r"\b(?:the[ ])?(?P<year>(?:1[0-9]|20)[0-9]0)[ ]?['\u2019]?s\b"
    r"|(?P<cue>\b(?:the|in|of|early|late|mid)[ -])['\u2019]?(?P<short>[1-9]0)[ ]?['\u2019]?s\b"
    r"|\b(?P<word>twenties|thirties|forties|fifties|sixties|seventies|eighties|nineties)\b",
    re.IGNORECASE,
)
_DECADES = {
    "twenties": 20, "thirties": 30, "forties": 40, "fifties": 50, "sixties": 60, "seventies": 70,
    "eighties": 80, "nineties": 90,
}  # fmt: skip
_AGE = re.compile(
    r"\b(?:my|his|her|their|our|your|low|high)[ ](?:early[ ]|mid[ -]?|late[ ])?$", re.I
)
_CENTURY = re.compile(
    rf"\b(?:(?P<number>[1-9]|1[0-9]|2[0-1])(?:st|nd|rd|th)|(?P<word>{DAY_WORD}))[ -]{{1,2}}century\b",
    re.I,
)
_AMBIGUOUS_MONTHS = frozenset({"may", "march", "mar", "sun", "jan", "dec"})


@lru_cache(maxsize=64)
def _month_pattern(locale: str) -> re.Pattern[str]:
    month = any_of(names_of(locale).months)
    return re.compile(
        rf"\b(?:(?P<before>{_FOUR})[ /-]"
        r"|(?P<cue>in|during|for|since|of|all|until|by|from|between|to|through|till|and|after|before|early"
        r"|late|this|next|last)[ ])?"
        rf"(?P<month>{month})\b(?:\.?,?[ -](?:of[ ]|in[ ])?(?:(?P<year>{_FOUR})(?![\w:/])"
        rf"|(?P<worded>{YEAR_WORDS})|(?P<which>this|next|last)[ ]year))?(?![ ]?[0-9])",
        re.IGNORECASE,
    )


def calendar_periods(reading: Reading, today: date) -> Iterator[Period]:
    """Find the calendar's weeks, months, quarters, years, decades and centuries."""
    yield from _units(reading.text, today)
    yield from _months(reading, today)
    yield from _years(reading.text)
    yield from parts_of_years(reading.text, today)
    yield from _decades(reading.text, today)


_WITHOUT_ARTICLE = ("the next", "the last", "the past", "the previous", "the following")
"""Where the article is no part of the span."""


def _units(text: str, today: date) -> Iterator[Period]:
    """Find "this week", "last month", "the weekend", "the week after next", "year to date"."""
    for found in _UNIT.finditer(text):
        which = found.group("which").lower().removeprefix("the ")
        unit = found.group("unit").lower()
        since, until = unit_around(today, unit, SHIFTS[which])
        weak = which == "the" and unit != "weekend"
        start = found.start()
        if found.group("which").lower().startswith(_WITHOUT_ARTICLE):
            start += 4
        yield Period(start, found.end(), since, until, weak=weak)
    for found in _BEFORE_LAST.finditer(text):
        shift = 2 if found.group("which").lower().startswith("after") else -2
        yield Period(*found.span(), *unit_around(today, found.group("unit").lower(), shift))
    for found in _REST.finditer(text):
        _, until = unit_around(today, found.group("unit").lower(), 0)
        yield Period(*found.span(), today, until)
    for found in _TO_DATE.finditer(text):
        since, _ = unit_around(today, found.group("unit").lower(), 0)
        yield Period(*found.span(), since, added(today, 1, "day"))


def _months(reading: Reading, today: date) -> Iterator[Period]:
    """Find "in May", "October 2019", "2017 april", "2015-12", "November this year"."""
    names = names_of(reading.context.locale)
    for found in _month_pattern(reading.context.locale).finditer(reading.text):
        written = found.group("month")
        cue = (found.group("cue") or "").lower()
        year = found.group("before") or found.group("year")
        if found.group("worded"):
            year = str(year_of_words(found.group("worded")))
        settled = cue or year or found.group("which")
        weak = not settled and (written.lower() in _AMBIGUOUS_MONTHS or len(written) < 4)
        weak = weak or (
            not (year or found.group("which"))
            and cue in ("to", "and", "through", "between")
            and written.islower()
        )
        month = names.months[written.lower()]
        past = cue == "since" or speaks_of_past(reading, *found.span("month"))
        number = int(year) if year else _year_of_month(found, month, cue, today, past=past)
        first = date(number, month, 1)
        start = found.start("cue") if cue in ("this", "next", "last") else found.start("month")
        if found.group("before"):
            start = found.start("before")
        every = "" if year or found.group("which") or cue in ("this", "next", "last") else "year"
        yield Period(start, found.end(), first, added(first, 1, "month"), every, weak)
    for pattern in (_YEAR_MONTH, _MONTH_YEAR):
        for found in pattern.finditer(reading.text):
            first = date(int(found.group("year")), int(found.group("month")), 1)
            yield Period(*found.span(), first, added(first, 1, "month"))


def _year_of_month(found: re.Match[str], month: int, cue: str, today: date, *, past: bool) -> int:
    """Return the year: as written, else of the next occurrence, this month included."""
    if found.group("which"):
        return today.year + SHIFTS[found.group("which").lower()]
    if cue == "this":
        return today.year
    if cue == "last":
        return today.year if month < today.month else today.year - 1
    if past:
        return today.year if month <= today.month else today.year - 1
    return today.year if month >= today.month else today.year + 1


def _years(text: str) -> Iterator[Period]:
    for found in _YEAR.finditer(text):
        short = found.group("short")
        year = int(found.group("year") or (short if len(short) == 4 else f"20{short}"))
        span = found.span("year") if found.group("year") else found.span()
        weak = (found.group("cue") or "").lower() in ("for", "than", "to", "through")
        yield _year(*span, year, weak=weak)
        more = _MORE_YEARS.match(text, found.end())
        while more is not None and not weak:
            yield _year(*more.span("year"), int(more.group("year")))
            more = _MORE_YEARS.match(text, more.end())
    for found in _SPOKEN_YEAR.finditer(text):
        yield _year(*found.span("year"), year_of_words(found.group("year")))
    for found in _YEAR_TO_NOW.finditer(text):
        yield _year(*found.span(), int(found.group("year")))
    for found in _YEAR_RANGE.finditer(text):
        for name in ("first", "second"):
            yield _year(*found.span(name), int(found.group(name)), weak=True)


def _year(start: int, end: int, year: int, *, weak: bool = False) -> Period:
    return Period(start, end, date(year, 1, 1), date(year + 1, 1, 1), weak=weak)


def _decades(text: str, today: date) -> Iterator[Period]:
    for found in _DECADE.finditer(text):
        if _AGE.search(text, max(0, found.start() - 16), found.start()):
            continue
        start = found.start() + len(found.group("cue") or "")
        if found.group("year"):
            year = int(found.group("year"))
        else:
            short = _DECADES.get((found.group("word") or "").lower()) or int(found.group("short"))
            year = today.year // 100 * 100 + short
            # the last decade of that name that has begun
            year -= 100 if year > today.year else 0
        yield Period(start, found.end(), date(year, 1, 1), date(year + 10, 1, 1))
    if "century" not in text.lower():
        return
    for found in _CENTURY.finditer(text):
        word = (found.group("word") or "").lower().replace("-", " ")
        year = ((DAY_WORDS.get(word) or int(found.group("number"))) - 1) * 100
        yield Period(*found.span(), date(max(year, 1), 1, 1), date(year + 100, 1, 1))
