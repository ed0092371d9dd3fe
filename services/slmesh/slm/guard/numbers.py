"""Recognises telephone and card numbers that the strict rules must leave alone.

The shared recognisers answer "which number is this?" and want a valid one. A guard asks "could this
be somebody's number?": an invented or foreign telephone number and a card of an unknown issuer are
personal data too, when the words around them or their grouping say so. Nothing here yields a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from slmesh.recognise import Match
from slmesh.recognise.account import passes_luhn

__all__ = ["cards", "phones"]

_PHONE = re.compile(
    r"(?<![\w+./:$\u00a3\u20ac-])(?<![0-9],)\+?(?:\([0-9]{1,4}\)[ -]?)?[0-9]{1,4}"
    r"(?:[ .-]?(?:\(0\) ?)?[0-9]{2,7}){1,5}"
    r"(?:[ ]?(?:x|ext\.? ?)[0-9]{2,5})?(?!\w|[/.:%-][0-9])"
)
_GROUPED = re.compile(
    r"(?:\+?[0-9]{1,3}[ .-])?(?:\([0-9]{2,4}\)[ -]?|[0-9]{3}[.-])[0-9]{3,4}[.-][0-9]{3,4}"
    r"(?:[ ]?(?:x|ext\.? ?)[0-9]{2,5})?"
)
_BEFORE = re.compile(
    r"(?:\b(?:tele)?phone|\bmobile|\bcell|\btel|\bfax|\bcall(?:ed|ing)?|\btexts?|\bring|whats?app|"
    r"\bdial|\banswering|\bmessages?|\bregistered|\breach\w*|\bcontact\w*|\bnumber is)\b"
    r"[^0-9\n]{0,25}\n?$",
    re.IGNORECASE,
)
_AFTER = re.compile(r"[ -]{1,2}(?:office|fax|mobile|home|work|cell|tel|phone)\b", re.IGNORECASE)
_DATE = re.compile(
    r"(?:[0-9]{1,2}[. -]){2}(?:19|20)[0-9]{2}|(?:19|20)[0-9]{2}(?:[. -][0-9]{1,2}){2}"
)
_CUE_WINDOW = 45
"""How many code points before a number are read for what announces it."""

_CARD = re.compile(
    r"\b(?:card|cc|visa|mastercard|amex)\b[^0-9\n]{0,25}([0-9](?:[ -]?[0-9]){11,18})(?![\w-])",
    re.IGNORECASE,
)


def phones(text: str) -> Iterator[Match]:
    """Find numbers of 6 to 15 digits that are grouped, announced or followed like telephones."""
    for found in _PHONE.finditer(text):
        digits = sum(character.isdigit() for character in found.group().partition("x")[0])
        if not 6 <= digits <= 15 or _DATE.fullmatch(found.group()):
            continue
        before = text[max(0, found.start() - _CUE_WINDOW) : found.start()]
        if (
            _GROUPED.fullmatch(found.group())
            or _AFTER.match(text, found.end())
            or _BEFORE.search(before)
        ):
            yield Match("phone", *found.span(), found.group(), None)


def cards(text: str) -> Iterator[Match]:
    """Find numbers of 12 to 19 digits after "card" whose Luhn digit is right, of any issuer."""
    for found in _CARD.finditer(text):
        digits = "".join(character for character in found.group(1) if character.isdigit())
        if passes_luhn(digits):
            yield Match("card", *found.span(1), found.group(1), None)
