"""Names of months, weekdays and days, and the patterns of dates that are made of them.

Month and weekday names are English and those of the locale. Knows how dates are written, not which
day they mean.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from slmesh.recognise.locales import writing

_MORE_WEEKDAYS = {"tues": 1, "thur": 3, "thurs": 3, "weds": 2}
DAY_WORDS = {
    "first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7,
    "eighth": 8, "ninth": 9, "tenth": 10, "eleventh": 11, "twelfth": 12, "thirteenth": 13,
    "fourteenth": 14, "fifteenth": 15, "sixteenth": 16, "seventeenth": 17, "eighteenth": 18,
    "nineteenth": 19, "twentieth": 20, "thirtieth": 30, "thirty first": 31,
}  # fmt: skip
DAY_WORDS |= {f"twenty {word}": 20 + value for word, value in list(DAY_WORDS.items()) if value < 10}


@dataclass(frozen=True, slots=True)
class DayNames:
    """The names and the date patterns of one locale, names in lower case."""

    months: dict[str, int]
    weekdays: dict[str, int]
    day_first: re.Pattern[str]
    month_first: re.Pattern[str]
    weekday: re.Pattern[str]
    year_first: re.Pattern[str]


@lru_cache(maxsize=64)
def names_of(locale: str) -> DayNames:
    """Return the month and weekday names of a locale, English ones included, and their patterns."""
    english, own = writing("en-GB"), writing(locale)
    months = english.months | own.months | {"sep": 9, "sept": 9}
    weekdays = english.weekdays | _MORE_WEEKDAYS | own.weekdays
    month = _any(months)
    day = rf"(?:(?P<day>3[01]|[12][0-9]|0?[1-9])(?P<tail>[ ]?(?:st|nd|rd|th)\b)?|(?P<word>{_words()}))"
    year = r"(?P<year>(?:19|20)[0-9]{2}|['\u2019][0-9]{2})(?![\w]|[:/][0-9])"
    week = rf"(?:(?P<weekday>{_any(weekdays)})\.?,?[ ](?:the[ ]|on[ ])?)?"
    return DayNames(
        months,
        weekdays,
        re.compile(
            rf"(?<![\w./-])(?<![0-9][:,])(?:{week})(?:the[ ])?{day}(?:[ ]day)?"
            rf"(?:[ ]?[-/.,])?[ ]{{0,2}}(?:of[ ])?(?:the[ ]month[ ]of[ ])?"
            rf"(?P<month>{month})(?!\w)\.?(?:,?(?:[ ](?:of[ ]|in[ ])?|[-/]){year})?",
            re.IGNORECASE,
        ),
        re.compile(
            rf"(?<![\w./])(?:{week})(?P<month>{month})\.?(?:[-/]|,?[ ]{{1,2}})?(?:the[ ])?{day}"
            rf"(?![\w:/%]|[.,-][0-9]|[ ]?[ap]\.?m\b)"
            rf"(?:(?:[ ]?,[ ]?|[ ](?:of[ ]|in[ ])?|[-/]){year})?",
            re.IGNORECASE,
        ),
        re.compile(
            r"\b(?:(?P<week>next|this|last)[ ]week(?:[ ]on)?[ ])?"
            r"(?:(?P<which>this|next|last|coming|past|previous|following|upcoming)[ ])?"
            rf"(?P<weekday>{_any(weekdays)})\b"
            r"(?:[ ](?:the[ ])?(?P<day>3[01]|[12][0-9]|0?[1-9])(?:st|nd|rd|th)\b)?"
            r"(?:[ ](?:of[ ])?(?:(?P<after>next|last|this)[ ]week|(?P<coming>coming)"
            r"|in[ ](?P<weeks>an?|one|two|three|four|[1-9])[ ]weeks?))?",
            re.IGNORECASE,
        ),
        re.compile(
            rf"(?<![\w./-])(?P<year>(?:19|20)[0-9]{{2}})[-/. ](?P<month>{month})[-/. ]"
            r"(?P<day>3[01]|[12][0-9]|0?[1-9])(?![\w:/]|[.,-][0-9])",
            re.IGNORECASE,
        ),
    )


def _any(names: dict[str, int]) -> str:
    return "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))


def _words() -> str:
    return _any(DAY_WORDS).replace("\\ ", "[ -]")
