"""Reads times of day in a text: "17:30", "5 pm", "half past six", "10 05 in the morning".

A time without "am" or "pm" and without a part of the day is read on the 24-hour clock as written:
"at 7" is 07:00. Words are English; digits are read in any language. Knows nothing of dates.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import time

from slmesh.recognise.number_words import DIGITS, TEENS, TENS

_HOURS = DIGITS | {"ten": 10, "eleven": 11, "twelve": 12}
_TENS = {word: value for word, value in TENS.items() if value < 60}
_MINUTES = (
    DIGITS
    | TEENS
    | _TENS
    | {f"{tens} {unit}": _TENS[tens] + DIGITS[unit] for tens in _TENS for unit in DIGITS}
    | {f"{oh} {unit}": DIGITS[unit] for oh in ("oh", "o") for unit in DIGITS}
    | {"half": 30, "quarter": 15}
)
_USUAL_MINUTES = frozenset({"five", "ten", "twenty", "twenty five", "quarter", "half"})
"""What is said before "to six" without being a range of numbers."""
_UNDER_TEN = DIGITS.keys() | {"half", "quarter"}
_SPOKEN = "|".join(
    word.replace(" ", "[ -]")
    for word in sorted(_MINUTES, key=len, reverse=True)
    if word not in _UNDER_TEN
)
_PAST_WORDS = "|".join(
    word.replace(" ", "[ -]")
    for word in sorted(_MINUTES, key=len, reverse=True)
    if word != "quarter" and not word.startswith("o")
)
_HOUR = rf"(?:2[0-4]|1[0-9]|0?[0-9]|{'|'.join(_HOURS)})"
_HALF_DAY = r"(?:ampm(?!\w)|[ap][ ]?\.[ ]?m(?:[ ]?\.)?|[ap][ ]?m(?!\w)|[ap](?![\w]))"
_PART = (
    r"(?:,?[ ](?:early[ ]|late[ ])?(?:in[ ]the[ ]|at[ ])?(?:early[ ]|late[ ])?"
    r"(?P<part>morning|afternoon|evening|night(?![ ](?:stay|trip|break|holiday|booking)))\b)"
)

_CLOCK = re.compile(
    rf"(?<![\w.,:/-])(?P<hour>2[0-4]|1[0-9]|0?[0-9])"
    rf"(?:(?P<mark>[:.h])(?P<minute>[0-5][0-9])(?::(?P<second>[0-5][0-9]))?)?"
    rf"(?:(?P<gap>[ ])(?P<spaced>[0-5][0-9]))?"
    rf"(?:[ ]|\.(?=[ap]m))?(?P<half>{_HALF_DAY})?(?![\w:]|[.,/-][0-9])",
    re.IGNORECASE,
)
_WORDED = re.compile(
    rf"\b(?P<hour>{'|'.join(_HOURS)})"
    rf"(?:[ -](?P<spaced>{_SPOKEN}))?"
    rf"[ ]?(?P<half>{_HALF_DAY})(?!\w)",
    re.IGNORECASE,
)
_RUN_TOGETHER = re.compile(
    rf"(?<![\w.,:/-])(?P<hour>1[0-2]|0?[1-9])(?P<minute>[0-5][0-9])[ ]?(?P<half>{_HALF_DAY})(?!\w)",
    re.IGNORECASE,
)
_PAST = re.compile(
    rf"\b(?P<minute>(?:a[ ])?quarter|{_PAST_WORDS}|[1-5]?[0-9])"
    r"(?P<unit>[ ]min(?:ute)?s?)?[ ](?P<side>past|to|after|till?|before)[ ]"
    rf"(?P<hour>{_HOUR})(?:[ ]?(?P<half>{_HALF_DAY})(?!\w))?(?![\w:]|[.,/-][0-9])"
    r"(?![ -](?:hour|minute|day|week|month|year)s?\b)",
    re.IGNORECASE,
)
_OCLOCK = re.compile(
    rf"(?<![\w.,:/-])(?P<hour>{_HOUR})[ ]?o['\u2019]?[ ]?clock\b(?:[ ](?P<half>{_HALF_DAY})(?!\w))?",
    re.IGNORECASE,
)
_IN_PART = re.compile(
    rf"\b(?P<hour>{'|'.join(_HOURS)})(?:[ -](?P<spaced>{_SPOKEN}))?"
    r"(?=[ ](?:in[ ]the[ ]|at[ ])(?:early[ ]|late[ ])?(?:morning|afternoon|evening|night)\b)",
    re.IGNORECASE,
)
_FOUR_DIGITS = re.compile(
    r"\b(?:at|by|around|from|until|till|before|after|between|to|and)[ ]"
    r"(?:(?P<hour>0[0-9])(?P<minute>[0-5][0-9])|(?P<hours>1[0-9]|2[0-3])(?P<minutes>[0-5][0-9])"
    r"(?=[ ]?(?:hrs|hours)\b))(?![\w:/]|[.,][0-9])",
    re.IGNORECASE,
)
_RUN_TOGETHER_AT = re.compile(
    r"\bat[ ](?P<hour>1[0-9]|2[0-3]|[1-9])(?P<minute>[0-5][0-9])"
    r"(?=[ ](?:on|today|tonight|tomorrow|in[ ]the|this)[ ]|[ ](?:today|tonight|tomorrow)\b)",
    re.IGNORECASE,
)
_HALF_TOLD = (
    r",?[ ](?:tonight|tonite|last[ ]night|tomorrow[ ](?:morning|afternoon|evening|night)"
    r"|this[ ](?:morning|afternoon|evening))\b"
)
_NAMED_AFTER = re.compile(_HALF_TOLD, re.IGNORECASE)
_MAY_BE_HOUR = re.compile(
    r"(?:^|[.,;:!?(]|\b(?:at|by|around|about|until|till|from|back|home|here|there|arrive|meet|come|leave"
    r"|out|go|return|call))[ ]?$",
    re.IGNORECASE,
)
"""What stands before an hour that only "tonight" behind it tells: "table for 8 tonight" has none."""
_NAMED = re.compile(
    r"\b(?P<twelve>12[ ])?(?P<name>(?:at[ ])?noon|midday|mid-day|midnight|noontime)(?:[ -]?ish)?\b",
    re.IGNORECASE,
)
_AT = re.compile(r"(?:\bat|@|\bat[ ](?:about|around)|\baround)[ ]?$", re.IGNORECASE)
_AT_ENDS = ("t", "T", "@", "d", "D")
_AT_WORD = re.compile(
    rf"\bat[ ](?:about[ ]|around[ ])?(?P<hour>{'|'.join(_HOURS)})\b"
    r"(?![ ]?(?:o['\u2019]?[ ]?clock|%))",
    re.IGNORECASE,
)
_SPOKEN_TIME = re.compile(
    r"(?:\b(?:at|by|from|till|until|before|after|around|about|between|today|tomorrow|tonight|\w+day)"
    r"|(?:st|nd|rd|th))[ ]"
    rf"(?P<hour>{'|'.join(_HOURS)})[ -](?P<spaced>{_SPOKEN})\b(?:[ ]minutes\b)?",
    re.IGNORECASE,
)
_LEADING_PART = re.compile(
    r"\b(?P<part>morning|afternoon|evening|night)[ ](?:at[ ]|from[ ])?$", re.IGNORECASE
)
_CUE = re.compile(
    r"(?:\b(?:at|by|from|to|till|until|before|after|around|about|for|between|and)|@|-)[ ]?$",
    re.IGNORECASE,
)
_NOT_HOUR = re.compile(
    r"[ ]?(?:%|\u00a3|\u20ac|\$|[a-z]{2,20}s\b|people|per\b|st\b|nd\b|rd\b|th\b|k\b|[A-Z]{3}\b|of\b"
    r"|(?:more|other|different)\b)"
)
_ISH = re.compile(r"(?<![\w.,:/-])(?P<hour>1[0-2]|[1-9])[ -]?ish\b", re.IGNORECASE)
_TRAILING_PART = re.compile(_PART, re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Clock:
    """A time of day in a text.

    `either` tells that the half of the day is not written, so that "tonight" next to it decides.
    """

    start: int
    end: int
    value: time
    either: bool = False


def clock_times(text: str) -> list[Clock]:
    """Return the times of day in the text, in order, without overlaps."""
    found = sorted(_candidates(text), key=lambda clock: (clock.start, -clock.end))
    kept: list[Clock] = []
    for clock in found:
        if not kept or clock.start >= kept[-1].end:
            kept.append(clock)
        elif clock.end > kept[-1].end and clock.start == kept[-1].start:
            kept[-1] = clock
    return kept


def _candidates(text: str) -> Iterator[Clock]:
    for found in _PAST.finditer(text):
        yield from _past(text, found)
    for found in _CLOCK.finditer(text):
        yield from _digits(text, found)
    for found in _OCLOCK.finditer(text):
        yield from _settled(text, found, _hour(found), 0)
    for found in _WORDED.finditer(text):
        yield from _settled(text, found, _hour(found), _spoken_minute(found.group("spaced")))
    for found in _RUN_TOGETHER.finditer(text):
        yield from _settled(text, found, _hour(found), int(found.group("minute")))
    for found in _ISH.finditer(text):
        yield from _settled(text, found, int(found.group("hour")), 0)
    for found in _AT_WORD.finditer(text):
        if not _NOT_HOUR.match(text, found.end()):
            hour = _HOURS[found.group("hour").lower()]
            yield from _on_clock(text, found.start("hour"), found.end(), hour, 0, None)
    for found in _NAMED.finditer(text):
        start = found.end("name") - len(found.group("name").split(" ")[-1])
        start = found.start("twelve") if found.group("twelve") else start
        hour = 0 if found.group("name").lower().endswith("midnight") else 12
        yield Clock(start, found.end(), time(hour))
    for found in _IN_PART.finditer(text):
        yield from _settled(text, found, _hour(found), _spoken_minute(found.group("spaced")))
    for found in _FOUR_DIGITS.finditer(text):
        name = "" if found.group("hour") else "s"
        hour, minute = int(found.group(f"hour{name}")), int(found.group(f"minute{name}"))
        yield Clock(found.start(f"hour{name}"), found.end(), time(hour, minute))
    for found in _RUN_TOGETHER_AT.finditer(text):
        hour, minute = int(found.group("hour")), int(found.group("minute"))
        yield from _on_clock(text, found.start("hour"), found.end(), hour, minute, None)
    for found in _SPOKEN_TIME.finditer(text):
        if not _NOT_HOUR.match(text, found.end()):
            minute = _spoken_minute(found.group("spaced"))
            yield from _on_clock(text, found.start("hour"), found.end(), _hour(found), minute, None)


def _digits(text: str, found: re.Match[str]) -> Iterator[Clock]:
    """Read "17:30", "5pm", "5 30 pm", "5.30 pm" and, after "at" alone, "5" and "17.30"."""
    mark = found.group("mark")
    bare = not (mark or found.group("half") or found.group("spaced"))
    # Most numbers are no times: turn them away before anything dear is asked.
    ends_before = text[max(0, found.start() - 2) : found.start()].strip(" ")[-1:]
    follows = text[found.end() : found.end() + 1]
    if bare and follows not in (" ", ",") and ends_before not in _AT_ENDS:
        return
    hour = int(found.group("hour"))
    minute = int(found.group("minute") or found.group("spaced") or 0)
    second = int(found.group("second") or 0)
    half, end = found.group("half"), found.end()
    lone = half and half.lower() in ("a", "p") and found.group("minute") is None
    if lone and not re.search(r"\bat[ ]$", text[max(0, found.start() - 4) : found.start()]):
        half, end = None, found.start("half")
    while end > found.start() and text[end - 1] == " ":
        end -= 1
    part = _TRAILING_PART.match(text, end) if text[end : end + 1] in (" ", ",") else None
    before = text[max(0, found.start() - 12) : found.start()]
    told = bare and _NAMED_AFTER.match(text, end) and _MAY_BE_HOUR.search(before)
    if bare and not told and not part and before.rstrip(" ")[-1:] not in _AT_ENDS:
        return
    if (mark and mark in ":hH") or half or part or told:
        pass
    elif found.group("spaced") or mark:
        if not _CUE.search(before):
            return
        if found.group("spaced") and not _AT.search(before):
            return
    elif not _AT.search(before) or _NOT_HOUR.match(text, end):
        return
    yield from _on_clock(text, found.start(), end, hour, minute, half, second=second)


def _past(text: str, found: re.Match[str]) -> Iterator[Clock]:
    """Read "half past six"; "25 to 7" only where it cannot be a range of numbers."""
    word = re.sub(r"^a ", "", found.group("minute").lower()).replace("-", " ")
    minute = int(word) if word.isdigit() else _MINUTES[word]
    backwards = found.group("side").lower() in ("to", "til", "till", "before")
    part = _TRAILING_PART.match(text, found.end())
    if backwards and word not in _USUAL_MINUTES:
        before = text[max(0, found.start() - 10) : found.start()].lower()
        ranged = re.search(r"\b(?:from|between)[ ]$", before)
        told = found.group("half") or part or before.endswith("at ") or found.group("unit")
        sure = part or before.endswith("at ") or found.group("unit")
        if word.isdigit() and minute <= 12 and not sure:
            return  # "5 to 6 pm" is a range
        if ranged or minute % 5 or not told:
            return
    if not 0 < minute < 60:
        return
    hour = _hour(found)
    if backwards:
        hour, minute = (hour - 1) % 24, 60 - minute
        # "25 to 1 pm" is 12:35, not 24:35.
        if hour == 0 and (found.group("half") or part):
            hour = 12
    yield from _settled(text, found, hour, minute)


def _hour(found: re.Match[str]) -> int:
    hour = found.group("hour").lower()
    return _HOURS[hour] if hour in _HOURS else int(hour)


def _spoken_minute(words: str | None) -> int:
    return _MINUTES[words.lower().replace("-", " ")] if words else 0


def _settled(text: str, found: re.Match[str], hour: int, minute: int) -> Iterator[Clock]:
    half = found.groupdict().get("half")
    yield from _on_clock(text, found.start(), found.end(), hour, minute, half)


def _on_clock(
    text: str,
    start: int,
    end: int,
    hour: int,
    minute: int,
    half: str | None,
    *,
    second: int = 0,
) -> Iterator[Clock]:
    """Yield the time, with the part of the day that follows it counted in."""
    part = _TRAILING_PART.match(text, end)
    if half and half.lower() == "ampm":
        half = None
    leading = None if half or part else _LEADING_PART.search(text, max(0, start - 16), start)
    if leading and 0 < hour <= 12:
        hour = in_part(hour, leading.group("part").lower())
    if half:
        afternoon = half[0] in "pP"
        hour = hour % 12 + (12 if afternoon else 0) if hour <= 12 else hour
    elif part:
        hour = in_part(hour, part.group("part").lower())
        end = part.end()
    if hour == 24:
        hour = 0
    if hour < 24:
        either = not half and not part and not leading and 0 < hour <= 12
        yield Clock(start, end, time(hour, minute, second), either)


def in_part(hour: int, part: str) -> int:
    """Return the hour on the 24-hour clock: 9 at night is 21, 3 at night is 3, 12 at night is 0."""
    if hour > 12:
        return hour
    if part == "night":
        return 0 if hour == 12 else (hour if hour < 6 else hour + 12)
    if part == "morning":
        return 0 if hour == 12 else hour
    return hour if hour == 12 else hour + 12
