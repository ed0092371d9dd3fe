"""Splits a text into the words and digits that numbers are made of.

Knows what each of them is worth; which of them form one number is settled in `quantities`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from slmesh.recognise.number_words import DIGITS, TEENS, TENS

_SCALES = {
    "hundred": 10**2, "thousand": 10**3, "grand": 10**3, "lakh": 10**5, "million": 10**6,
    "crore": 10**7, "billion": 10**9, "trillion": 10**12, "dozen": 12,
    "dz": 12, "doz": 12, "mil": 10**6,
}  # fmt: skip
_SUFFIXES = {
    "k": 10**3, "m": 10**6, "mm": 10**6, "mn": 10**6, "mln": 10**6, "mil": 10**6,
    "bn": 10**9, "b": 10**9,
}  # fmt: skip

_PARTS = {
    # the first two only after tens: "three twenty-firsts"
    "first": 1, "second": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6,
    "seventh": 7, "eighth": 8, "ninth": 9, "tenth": 10,
    "twentieth": 20, "thirtieth": 30, "fortieth": 40, "fiftieth": 50,
    "hundredth": 100, "thousandth": 1000, "millionth": 10**6, "billionth": 10**9, "trillionth": 10**12,
}  # fmt: skip

_ZEROS = {"zero": 0, "nil": 0, "nought": 0, "naught": 0}
_WORDS = _ZEROS | DIGITS | TEENS | TENS | {"fourty": 40}
_WORD_PATTERN = "|".join(sorted([*_WORDS, *_SCALES], key=len, reverse=True))
_MARKED = {
    ".": r"[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?(?![0-9])"
    r"|[0-9]{1,3}(?:'[0-9]{3})+(?:\.[0-9]+)?(?![0-9])"
    r"|[0-9]{1,3},[0-9]{1,2}(?=[ ](?:million|billion|trillion|thousand)\b)"
    r"|[0-9]{1,3}(?:,[0-9]{2})+,[0-9]{3}(?:\.[0-9]+)?(?![0-9])"
    r"|[0-9]{1,3}(?:\.[0-9]{3})+,[0-9]{1,2}(?![0-9])"
    r"|[1-9][0-9]{0,2}(?:[ \u00a0\u202f][0-9]{3})+(?:\.[0-9]+)?(?![\w/-])|[0-9]+(?:\.[0-9]+)?|\.[0-9]+",
    ",": r"[0-9]{1,3}(?:[.'\u00a0\u202f ][0-9]{3})+(?:,[0-9]+)?(?![0-9])"
    r"|[0-9]{1,3}(?:,[0-9]{3})+\.[0-9]{1,2}(?![0-9])|[0-9]+(?:,[0-9]+)?|,[0-9]+",
}
_AFTER_CODE = "|".join(rf"(?<=\b{code})" for code in ("usd", "gbp", "eur", "chf", "cad", "aud"))
LONGEST = 40
"""Digits in the longest number that is read; a longer run is not a quantity."""
_USUAL_FRACTION = (
    r"(?:1/2|[12]/3|[13]/4|[1-4]/5|[15]/6|[1357]/8|(?:[13579]|1[135])/16"
    r"|[0-9]{1,2}/1000?)"
    r"(?![\w/]|[.,:-][0-9])"
)
"""Fractions that are written with a stroke; other pairs are dates and ratios more often."""
_POWER = (
    r"(?:e(?P<exponent>[+-]?[0-9]{1,3})(?![\w.])"
    r"|[ ]?[x\u00d7*][ ]?10\^(?P<ten>[+-]?[0-9]{1,3})(?![\w.])"
    r"|\^(?P<power>[+-]{0,2}[0-9]{1,3})(?![\w.]))?"
)
# "2.33 k" but not "401 k"
_SUFFIX = r"(?:[ ]?(?:mn|mln|bn)|k|(?:(?<=[.][0-9])|(?<=[.][0-9]{2}))[ ]k|mil|(?-i:MM)|m|b)"
_GREATEST_EXPONENT = 300
"""Of ten, in a number that a double holds. Source: IEEE 754 binary64."""
_DATE_CUE = re.compile(
    r"\b(?:on|by|for|since|until|till|from|before|after|due|dated|and|to)[ ]$", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Token:
    """A word or a row of digits of a text, with what it is worth."""

    kind: str  # digits, small, scale, minus, and, a, half, halves, point, of, part, parts
    start: int
    end: int
    value: Decimal
    suffixed: bool = False


_FRACTION_MARK = re.compile("[/\u00bc-\u00be\u2150-\u215e]")


@lru_cache(maxsize=4)
def _pattern(decimal_mark: str, *, fractions: bool) -> re.Pattern[str]:
    """Return the pattern of all tokens; that of fractions is dear, and few texts need it."""
    fraction = (
        r"(?<![\w.,:/^])(?<![\w)]-)(?P<sign>[-\u2212][ ]?)?"
        rf"(?:(?P<whole>[0-9]{{1,6}})(?:[ ]{{1,2}}|-))?(?P<stroke>{_USUAL_FRACTION})"
        r"|(?<![\w.,:/-])(?P<before>[0-9]{1,6})?[ ]?(?P<vulgar>[\u00bc-\u00be\u2150-\u215e])|"
    )
    never = r"(?P<sign>(?!))(?P<whole>(?!))(?P<stroke>(?!))(?P<before>(?!))(?P<vulgar>(?!))|"
    return re.compile(
        rf"{fraction if fractions else never}"
        rf"(?:(?<![\w])|{_AFTER_CODE})(?P<digits>(?<![0-9][.:/]){_sign()}(?:{_MARKED[decimal_mark]}))"
        rf"{_POWER}(?P<suffix>{_SUFFIX}(?![\w/]))?"
        rf"|\b(?P<word>{_WORD_PATTERN})(?P<plural>s)?\b"
        r"|\b(?P<minus>minus|negative)\b"
        rf"|\b(?P<part>{'|'.join(_PARTS)})(?P<parts>s)?\b"
        r"|\b(?P<joint>and|an?|half|halves|point|of)\b",
        re.IGNORECASE,
    )


def _sign() -> str:
    return r"(?:(?<![\w)])[-\u2212](?=[0-9.,]))?"


def number_tokens(text: str, decimal_mark: str) -> Iterator[Token]:
    """Yield the words and digits of numbers in a text, in order.

    Args:
        text: any text.
        decimal_mark: "." or ",", as the locale writes it.
    """
    fractions = _FRACTION_MARK.search(text) is not None
    for found in _pattern(decimal_mark, fractions=fractions).finditer(text):
        if found.group("digits"):
            yield from _digits(found, decimal_mark)
        elif found.group("stroke") or found.group("vulgar"):
            yield from _fraction(text, found)
        elif found.group("minus"):
            yield Token("minus", found.start(), found.end(), Decimal(-1))
        elif found.group("word"):
            word = found.group("word").lower()
            if word in _WORDS and not found.group("plural"):
                yield Token("small", found.start(), found.end(), Decimal(_WORDS[word]))
            elif word in _SCALES:
                yield Token("scale", found.start(), found.end(), Decimal(_SCALES[word]))
        elif found.group("part"):
            kind = "parts" if found.group("parts") else "part"
            value = Decimal(_PARTS[found.group("part").lower()])
            yield Token(kind, found.start(), found.end(), value)
        else:
            joint = found.group("joint").lower()
            kind = "a" if joint == "an" else joint
            yield Token(kind, found.start(), found.end(), Decimal(1))


def _digits(found: re.Match[str], decimal_mark: str) -> Iterator[Token]:
    value = _decimal(found.group("digits"), decimal_mark)
    if value is not None:
        value = _to_the_power(value, found)
    if value is None:
        return
    suffix = (found.group("suffix") or "").lower().strip()
    scale = _SUFFIXES.get(suffix, 1)
    yield Token("digits", found.start(), found.end(), value * scale, bool(suffix))


def _to_the_power(value: Decimal, found: re.Match[str]) -> Decimal | None:
    """Return the number with what "e6", "x10^6" or "^6" behind it makes of it."""
    ten = found.group("exponent") or found.group("ten")
    try:
        if ten:
            value = value.scaleb(int(ten))
        elif found.group("power"):
            value = value ** int(found.group("power").replace("--", "").replace("+", ""))
    except ArithmeticError:
        return None
    return value if abs(value.adjusted()) <= _GREATEST_EXPONENT else None


def _fraction(text: str, found: re.Match[str]) -> Iterator[Token]:
    """Read "2 1/4" and "⅔"; "on 3/4" is a date."""
    if found.group("vulgar"):
        whole, written = found.group("before"), unicodedata.normalize("NFKC", found.group("vulgar"))
        top, _, bottom = written.partition("\u2044")
    else:
        whole, (top, _, bottom) = found.group("whole"), found.group("stroke").partition("/")
        if not whole and _DATE_CUE.search(text, max(0, found.start() - 8), found.start()):
            return
    value = Decimal(whole or 0) + Decimal(top) / Decimal(bottom)
    if found.group("sign"):
        value = -value
    yield Token("digits", found.start(), found.end(), value)


def _decimal(digits: str, decimal_mark: str) -> Decimal | None:
    if len(digits) > LONGEST:
        return None
    if digits.isdigit():
        return Decimal(digits)
    plain = digits.replace("\u2212", "-")
    dot, comma = plain.rfind("."), plain.rfind(",")
    if dot >= 0 and comma >= 0:
        decimal_mark = "." if dot > comma else ","
    elif comma >= 0 and len(plain) - comma < 4:
        decimal_mark = ","  # "1,2 million": no group has so few digits
    group = "," if decimal_mark == "." else "."
    for mark in (group, "'", "\u00a0", "\u202f", " "):
        plain = plain.replace(mark, "")
    return Decimal(plain.replace(",", "."))
