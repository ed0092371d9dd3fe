"""Names of months, weekdays and days, and the patterns of dates that are made of them.

Month and weekday names are English and those of the locale. Knows how dates are written, not which
day they mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from slmesh.recognise.locales import writing
from slmesh.recognise.number_words import DIGITS, TEENS
from slmesh.recognise.year_words import YEAR_WORDS

_MORE_WEEKDAYS = {"tues": 1, "thur": 3, "thurs": 3, "weds": 2}
DAY_WORDS = {
    "first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7,
    "eighth": 8, "ninth": 9, "tenth": 10, "eleventh": 11, "twelfth": 12, "thirteenth": 13,
    "fourteenth": 14, "fifteenth": 15, "sixteenth": 16, "seventeenth": 17, "eighteenth": 18,
    "nineteenth": 19, "twentieth": 20, "thirtieth": 30, "thirty first": 31,
}  # fmt: skip
CARDINALS = TEENS | {"twenty": 20, "thirty": 30, "thirty one": 31}
CARDINALS |= {f"twenty {word}": 20 + value for word, value in DIGITS.items()}
_FOUR = r"(?:19|20)[0-9]{2}"
_TWO = r"(?:3[01]|[12][0-9]|0?[1-9])"
DAY_WORDS |= {f"twenty {word}": 20 + value for word, value in list(DAY_WORDS.items()) if value < 10}


def any_of(names: Iterable[str]) -> str:
    """Return the pattern of any of some names, the longer ones tried first."""
    return "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))


DAY_WORD = rf"(?:{any_of(DAY_WORDS)})".replace("\\ ", "[ -]")
"""Pattern of a day of the month in words: "twenty first"."""
_CARDINAL = any_of(CARDINALS).replace("\\ ", "[ -]")


_YEAR = (
    r"(?:(?:,?(?:[ ](?:of[ ]|in[ ])?|[-/])|[ ]?,[ ]?)"
    r"(?:(?P<year>(?:19|20)[0-9]{2}|['\u2019][0-9]{2})(?![\w]|[:/][0-9])"
    rf"|(?P<worded>{YEAR_WORDS}))"
    r"|(?:[ ]of[ ]|(?<=[a-z])[-/])(?P<short>[0-9]{2})(?![\w:/.-])"
    r"|[ ](?P<bare_year>[0-9]{2})(?=\s*(?:$|[.!?;)](?![0-9])))"
    r"|(?=[ ][0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?[ ](?P<late>(?:19|20)[0-9]{2})(?!\w)))?"
)
"""Pattern of the year behind a day and month."""


@dataclass(frozen=True, slots=True)
class DayNames:
    """The names and the date patterns of one locale, names in lower case."""

    months: dict[str, int]
    weekdays: dict[str, int]
    day_first: re.Pattern[str]
    month_first: re.Pattern[str]
    weekday: re.Pattern[str]
    any_order: re.Pattern[str]


@lru_cache(maxsize=64)
def names_of(locale: str) -> DayNames:
    """Return the month and weekday names of a locale, English ones included, and their patterns."""
    english, own = writing("en-GB"), writing(locale)
    months = english.months | own.months | {"sep": 9, "sept": 9}
    weekdays = english.weekdays | _MORE_WEEKDAYS | own.weekdays
    month = any_of(months)
    day = rf"(?:(?P<day>3[01]|[12][0-9]|0?[1-9])(?P<tail>[ ]?(?:st|nd|rd|th)\b)?|(?P<word>{DAY_WORD}))"
    weekday = any_of(weekdays)
    week = rf"(?:(?P<weekday>{weekday})\.?,?[ ](?:the[ ]|on[ ])?)?"
    beside = rf"(?:[ ]?\((?:{weekday})\)|,[ ](?P<behind>{weekday})\b)?"
    return DayNames(
        months,
        weekdays,
        re.compile(
            rf"(?<![\w./-])(?<![0-9][:,])(?<!\$)(?<!\$[ ])(?:{week})(?:the[ ])?{day}(?:[ ]day)?"
            rf"(?:[-/.,]|[ ][-/.,](?![ ]))?[ ]{{0,2}}(?:of[ ])?(?:the[ ]month[ ]of[ ])?"
            rf"(?P<month>{month})(?!\w)\.?{_YEAR}{beside}",
            re.IGNORECASE,
        ),
        re.compile(
            rf"(?<![\w./])(?:{week})(?P<month>{month})\.?(?:[-/]|,?[ ]{{1,2}})?(?:the[ ])?"
            rf"(?:{day}|(?P<cardinal>{_CARDINAL})\b"
            rf"(?![ ](?:hundred|thousand|people|pounds|dollars|per)))"
            rf"(?![\w:/%]|[.,][0-9]|-[0-9](?![0-9]?:)|[ ]?[ap]\.?m\b){_YEAR}{beside}",
            re.IGNORECASE,
        ),
        re.compile(
            r"\b(?:(?P<week>next|this|last|previous|following|coming)[ ]week(?:['\u2019]?s)?,?"
            r"(?:[ ](?:on|from|between)|[ ]-)?[ ])?"
            r"(?:(?P<which>this|next|last|coming|past|previous|following|upcoming)[ ])?"
            rf"(?P<weekday>{weekday})\b"
            r"(?:,?[ ](?:(?:the[ ])?(?P<day>3[01]|[12][0-9]|0?[1-9])(?:st|nd|rd|th)\b"
            rf"|the[ ](?P<word>{DAY_WORD})\b(?![ ](?:week|month|quarter|day|time|half|one)s?\b)"
            r"|(?P<bare>3[01]|[12][0-9])(?=$|[.,;!?)](?![0-9])|[ ](?:at|from|for)\b)))?"
            r"(?:[ ](?:of[ ])?(?:the[ ])?(?:(?P<after>next|last|this|previous|following|coming)[ ]week"
            r"|(?P<coming>coming)"
            r"|(?P<later>after[ ]next(?:[ ]week)?\b|fortnight\b|week\b(?![ ]?(?:day|end|of|to)))"
            r"|in[ ](?P<weeks>an?|one|two|three|four|[1-9])[ ]weeks?))?",
            re.IGNORECASE,
        ),
        re.compile(
            rf"(?<![\w./-])(?:(?P<a>{_FOUR})(?P<gap>[-/. ])(?:(?P<month>{month})"
            rf"(?P=gap)(?P<b>{_TWO})(?:st|nd|rd|th)?"
            rf"|(?P<c>{_TWO})(?P=gap)(?P<second>{month}))"
            rf"|(?P<d>{_TWO})(?P<other>[-/.])(?P<e>{_FOUR})(?P=other)(?P<third>{month})"
            rf"|(?P<fourth>{month})(?P<dash>[-/.])(?P<f>{_FOUR})(?P=dash)(?P<g>{_TWO})"
            rf"|(?P<h>{_TWO})(?P<dot>[-/.])(?P<fifth>{month})(?P=dot)(?P<i>{_FOUR})"
            rf"|(?P<sixth>{month})(?P<stroke>[-/.])(?P<j>{_TWO})(?P=stroke)(?P<k>{_FOUR}))"
            r"(?![\w:/]|[.,-][0-9])",
            re.IGNORECASE,
        ),
    )
