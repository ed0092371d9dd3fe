"""Recognises plain numbers, percentages, ordinals and numbers of people.

A number that another kind explains (a time, an amount of money) is left to that kind when both are
asked for. Ordinals and number words are English.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from itertools import zip_longest

from slmesh.recognise.match import Match, match_at
from slmesh.recognise.quantities import Quantity
from slmesh.recognise.reading import Reading

_PERCENT = re.compile(
    r"[ ]?(?:%|\bper[ ]?cent(?:age(?:[ ]points?)?|s)?\b|\bpct\b|\bpercentage[ ]points?\b)",
    re.IGNORECASE,
)
_ONE_IS_NO_COUNT = re.compile(
    r"\b(?:this|that|which|the|another|new|no|any|every|each|old|right|wrong|same|other|first"
    r"|last|next|some|good|different)\s+$",
    re.IGNORECASE,
)
_DIVIDES = re.compile(r"[ ](?:over|(?P<in>in))[ ]", re.IGNORECASE)
_HALF = re.compile(
    r"(?<!other[ ])(?<!first[ ])(?<!second[ ])(?<!last[ ])(?<!better[ ])(?<!a[ ])(?<!and[ ])(?<![\w-])"
    r"(?P<half>half)(?=[ ](?:of|the|my|your|his|her|our|their|its|this|that)\b)",
    re.IGNORECASE,
)
_RANGE = re.compile(
    r"(?<![\w.,:/$\u00a3\u20ac#+-])(?P<low>[0-9]{1,4})-(?P<high>[0-9]{1,4})(?![\w:/%-]|[.,][0-9])"
)
_ENDS = re.compile(r"[ ]{0,2}(?:$|[.,;:!?)\"'](?![0-9])|(?:of|and|or|is|are)\b)", re.IGNORECASE)
_FULL_DATES = (
    re.compile(
        r"(?<![\w/.:-])([0-3]?[0-9])([/-])([0-3]?[0-9])\2((?:19|20)[0-9]{2})(?![\w/:]|[.,-][0-9])"
    ),
    re.compile(
        r"(?<![\w/.:-])((?:19|20)[0-9]{2})([/-])([01]?[0-9])\2([0-3]?[0-9])(?![\w/:]|[.,-][0-9])"
    ),
)
_GLUED_AFTER = re.compile(r"[\w]|[:/][0-9]|-[0-9]")
_METRES = re.compile(r"[0-9]m$|(?<![.,0-9])[0-9]+b$")
"""Letters that stand for a scale in money only: "1m" is a length."""
_GLUED_BEFORE = re.compile(r"[0-9][:/-]$|[#@]$")

_ORDINAL_WORDS = {
    "first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7,
    "eighth": 8, "ninth": 9, "tenth": 10, "eleventh": 11, "twelfth": 12, "thirteenth": 13,
    "fourteenth": 14, "fifteenth": 15, "sixteenth": 16, "seventeenth": 17, "eighteenth": 18,
    "nineteenth": 19, "twentieth": 20, "thirtieth": 30, "fortieth": 40, "fiftieth": 50,
    "sixtieth": 60, "seventieth": 70, "eightieth": 80, "ninetieth": 90, "hundredth": 100,
    "thousandth": 1000, "millionth": 10**6,
    "billionth": 10**9, "trillionth": 10**12, "nineth": 9,
}  # fmt: skip
_ORDINAL = re.compile(
    r"(?<![\w.,])(?P<digits>[0-9]{1,9})[ ]?(?P<tail>st|nd|rd|th)\b"
    rf"|\b(?P<word>{'|'.join(_ORDINAL_WORDS)})\b",
    re.IGNORECASE,
)
_SECOND_IS_TIME = re.compile(r"(?:\b(?:a|per|one|each|every|split|half)|[0-9])[ ]?$", re.IGNORECASE)

_COUNT_NOUN = re.compile(
    r"[ ](?:(?:more|other|extra|additional)[ ])?"
    r"(?:people|persons?|guests?|adults?|grown-?ups?|children|kids?|teenagers?|babies|infants?|pax"
    r"|diners?|ppl|peeps|heads?|friends)\b",
    re.IGNORECASE,
)
_OF_US = re.compile(r"[ ]of[ ](?:us|them)\b", re.IGNORECASE)
_AND_MORE = re.compile(r"[ ]?(?:,|and|&|plus)[ ]", re.IGNORECASE)
_COUNT_BEFORE = re.compile(
    r"\b(?:(?:table|party|group|booking|reservation|room|rooms|book|dinner|lunch|family|total)[ ]"
    r"(?:it[ ])?(?:for|of)|(?:we(?:'re|[ ]are|[ ]will[ ]be)|there(?:'ll|[ ]will)[ ]be)"
    r"(?:[ ](?:about|only|just))?)[ ]$",
    re.IGNORECASE,
)
_NOT_PEOPLE = re.compile(
    r"[ ]?(?:nights?|days?|weeks?|months?|hours?|minutes?|o'?clock|am|pm|a\.m|p\.m|rooms?|%|:)",
    re.IGNORECASE,
)


def numbers(reading: Reading) -> Iterator[Match]:
    """Find plain numbers, those of a date in numbers too; the value is a float."""
    text = reading.text
    taken_until = 0
    for quantity, following in zip_longest(reading.quantities, reading.quantities[1:]):
        if quantity.start < taken_until or not _is_plain(text, quantity):
            continue
        end, value = quantity.end, quantity.value
        if following is not None and _is_divided(text, quantity, following):
            end, value = following.end, value / following.value
            taken_until = end
        yield match_at("number", text, quantity.start, end, float(value))
    for pattern in _FULL_DATES:
        for found in pattern.finditer(text):
            for group in (1, 3, 4):
                # a date stands where one is asked for: it is the stronger kind
                yield match_at("number", text, *found.span(group), float(found.group(group)))
    for found in _RANGE.finditer(text):
        low, high = int(found.group("low")), int(found.group("high"))
        alike = found.end("low") - found.start("low") == found.end("high") - found.start("high")
        if low < high and (alike or high < 1000):  # "10-20" and no code
            yield match_at("number", text, *found.span("low"), float(low))
            yield match_at("number", text, *found.span("high"), float(high))
    for found in _HALF.finditer(text):
        yield match_at("number", text, *found.span("half"), 0.5)


def _is_divided(text: str, top: Quantity, bottom: Quantity) -> bool:
    """Tell "one over 20" and "1 in 21" from numbers that only stand side by side."""
    joint = _DIVIDES.fullmatch(text, top.end, bottom.start)
    if joint is None or abs(top.value) >= bottom.value or bottom.value != int(bottom.value):
        return False
    if top.start and text[top.start - 1] not in " (\n\"'":
        return False
    if joint.group("in") and (top.value != int(top.value) or bottom.value >= 1000):
        return False
    return _ENDS.match(text, bottom.end) is not None


def _is_plain(text: str, quantity: Quantity) -> bool:
    """Tell a number from a part of a code, of a time ("10:30") and from the pronoun "one"."""
    before = text[max(0, quantity.start - 12) : quantity.start]
    if quantity.worded:
        lone = text[quantity.start : quantity.end].lower() == "one"
        return not (lone and _ONE_IS_NO_COUNT.search(before))
    if _GLUED_AFTER.match(text, quantity.end) or _METRES.search(text, quantity.start, quantity.end):
        return False
    return not before or before[-1] in " \n" or _GLUED_BEFORE.search(before) is None


def percentages(reading: Reading) -> Iterator[Match]:
    """Find percentages; the value is in percent: 4.5 for "4.5 %"."""
    text = reading.text
    if "%" not in text and "ercent" not in text and "er cent" not in text and "pct" not in text:
        return
    for quantity in reading.quantities:
        unit = _PERCENT.match(text, quantity.end)
        if unit:
            value = float(quantity.value)
            yield match_at("percentage", text, quantity.start, unit.end(), value)


def ordinals(reading: Reading) -> Iterator[Match]:
    """Find positions ("3rd", "twenty-first"); the value is an integer."""
    text = reading.text
    tens = {quantity.end: quantity for quantity in reading.quantities if quantity.worded}
    for found in _ORDINAL.finditer(text):
        if found.group("digits"):
            yield match_at("ordinal", text, *found.span(), int(found.group("digits")))
            continue
        word = found.group("word").lower()
        start, value = found.start(), _ORDINAL_WORDS[word]
        prefix = tens.get(start - 1)
        if prefix is not None and text[start - 1] in " -":
            start, value = prefix.start, _with_prefix(prefix.value, value)
        elif word == "second" and _SECOND_IS_TIME.search(text[max(0, start - 8) : start]):
            continue
        if 0 < value < 2**63:
            yield match_at("ordinal", text, start, found.end(), value)


def _with_prefix(prefix: Decimal, ordinal: int) -> int:
    """Return 21 for twenty and first, 200 for two and hundredth; 0 when they do not join."""
    if prefix != int(prefix):
        return 0
    if ordinal >= 100:
        return int(prefix) * ordinal
    return int(prefix) + ordinal if int(prefix) % 10 == 0 else 0


def people(reading: Reading) -> Iterator[Match]:
    """Find how many people come ("a table for four", "2 adults and 3 kids"); the value is a number.

    The noun belongs to the span where one is written, and what is joined by "and" is counted
    together.
    """
    text = reading.text
    pending: tuple[int, int, float] | None = None
    for quantity in reading.quantities:
        if not 0 < quantity.value < 1000 or quantity.value != int(quantity.value):
            continue
        value = float(quantity.value)
        noun = _COUNT_NOUN.match(text, quantity.end)
        if noun is None:
            if _counts_people(text, quantity):
                yield match_at("people", text, quantity.start, quantity.end, value)
            continue
        if pending is not None and _AND_MORE.fullmatch(text, pending[1], quantity.start):
            pending = (pending[0], noun.end(), pending[2] + value)
            continue
        if pending is not None:
            yield match_at("people", text, *pending)
        pending = (quantity.start, noun.end(), value)
    if pending is not None:
        yield match_at("people", text, *pending)


def _counts_people(text: str, quantity: Quantity) -> bool:
    """Tell by the words around it whether a number without a noun counts people."""
    if _OF_US.match(text, quantity.end):
        return True
    if not text[max(0, quantity.start - 2) : max(0, quantity.start - 1)].isalpha():
        return False
    if _COUNT_BEFORE.search(text[max(0, quantity.start - 40) : quantity.start]) is None:
        return False
    glued = _GLUED_AFTER.match(text, quantity.end) or _NOT_PEOPLE.match(text, quantity.end)
    return glued is None
