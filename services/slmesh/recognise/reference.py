"""Recognises order, booking and reference numbers.

They follow no standard, so a code counts only when a word announces it ("booking reference QX7RT2")
or when it has the shape of a numbered document ("INV-20418", "#88120").
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from slmesh.recognise.match import Match, match_at
from slmesh.recognise.reading import Reading

_NOUN = (
    r"order|booking|reservation|confirmation|reference|ref|tracking|ticket|case|claim|invoice"
    r"|transaction|policy|customer|membership|parcel|shipment|return|complaint|application"
)
_LABEL = r"(?:(?:number|num|no|nr|id|code|ref|reference)(?!\w)\.?|\#)"
_ANNOUNCED = re.compile(
    rf"\b(?:{_NOUN})\b\.?(?P<label>[ ]?{_LABEL})?(?P<second>[ ]?{_LABEL})?"
    r"(?:[ ]?[:=-]|[ ](?:is|was|are|being|of))?(?:[ ]?[:])?[ ]{0,2}"
    r"(?P<hash>\#?)(?P<code>[A-Za-z0-9](?:[A-Za-z0-9]|[-/_](?=[A-Za-z0-9])){2,29})(?![\w@]|[./:]\w)",
    re.IGNORECASE,
)
_SHAPED = re.compile(r"(?<![\w-])(?P<code>[A-Z]{2,5}-?[0-9]{4,12}(?:-[0-9A-Z]{2,10})?)(?![\w-])")
_HASHED = re.compile(r"(?<![\w&/])\#(?P<code>[0-9]{4,12})(?!\w)")


def order_numbers(reading: Reading) -> Iterator[Match]:
    """Find order, booking and reference numbers; the value is the code as written."""
    text = reading.text
    for found in _ANNOUNCED.finditer(text):
        code = found.group("code")
        labelled = bool(found.group("label") or found.group("hash"))
        if _is_code(code, labelled=labelled):
            yield match_at("order_number", text, *found.span("code"), code)
    for pattern in (_SHAPED, _HASHED):
        for found in pattern.finditer(text):
            yield match_at("order_number", text, *found.span("code"), found.group("code"))


def _is_code(code: str, *, labelled: bool) -> bool:
    """Tell a code from the word or the count that may follow the same noun."""
    digits = sum(character.isdigit() for character in code)
    if digits == 0:
        return labelled and len(code) >= 5 and code.isupper()
    if digits == len(code):
        return digits >= (4 if labelled else 5)
    ordinal = re.fullmatch(r"[0-9]+(?:st|nd|rd|th|am|pm|k|m|x|h)", code, re.IGNORECASE)
    return ordinal is None and digits >= 2 and len(code) >= 4
