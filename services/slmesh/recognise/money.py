"""Recognises amounts of money, in the smallest unit of their currency.

Which currency is meant is told by `currencies`; this module knows where an amount stands and how its
pence are written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache
from itertools import zip_longest

from babel.numbers import get_currency_precision

from slmesh.recognise.currencies import (
    BEFORE_NAMES,
    SIGNS,
    SMALL_NAMES,
    chosen,
    code_of,
    codes,
    names,
)
from slmesh.recognise.match import Match, Money, Value, match_at
from slmesh.recognise.quantities import Quantity
from slmesh.recognise.reading import Reading

_FOLDED_SIGNS = {sign.lower(): sign for sign in SIGNS}
_SIGN_ENDS = frozenset(sign[-1] for sign in SIGNS if not sign[-1].isalpha()) | {"\u00a2"}
_MONEY_VERB = re.compile(
    r"\b(?:transfer(?:red|ring)?|send(?:ing)?|sent|pay(?:ing)?|paid|withdr[ae]w(?:ing)?|deposit"
    r"(?:ed|ing)?|mov(?:e|ed|ing)|spen[dt]|charged?|costs?|owes?|refund(?:ed)?|top[ -]up"
    r"|amount(?:[ ]of)?|balance(?:[ ](?:of|is))?|limit(?:[ ](?:of|to))?|budget(?:[ ]of)?|price)"
    r"(?:[ ](?:me|you|him|her|them|us|about|of|to|with|exactly|over|under|another))?[ ]$",
    re.IGNORECASE,
)
_PENCE_AFTER = re.compile(
    r"(?:[ ]and[ ]|[ ])?(?P<digits>[0-9]{1,2})[ ]?(?:p|pence|c|cents?)(?!\w)"
    r"|[ ](?:and[ ])?(?P<bare>[0-9]{2})(?=$|[.,;:!?)\n](?![0-9])"
    r"|[ ](?:to|for|on|from|and|in|at|by|or|please|more)\b)",
    re.IGNORECASE,
)
_PENCE = re.compile(r"[ ]?(?:pence|penny|pennies|cents?)(?!\w)", re.IGNORECASE)
_STOP = re.compile(r"[ ]{0,2}(?:$|[.,;:!?)](?![0-9])|(?:for|to|from|more|please)\b)", re.IGNORECASE)
_GREATEST = 2**63 - 1


@lru_cache(maxsize=1)
def _before() -> re.Pattern[str]:
    """Return the pattern of what stands before an amount; letters may stand apart: "hk $ 5"."""
    signs = "|".join(
        _spaced(sign)
        for sign in sorted(SIGNS, key=len, reverse=True)
        if not sign.isalpha() or sign in _LETTERS_BEFORE
    )
    return re.compile(
        rf"(?P<sign>(?<![A-Za-z.])(?:{signs}))[ ]?$|(?<!\w)(?P<code>[A-Za-z]{{3}})[ ]?$"
        rf"|(?<!\w)(?P<name>{'|'.join(sorted(BEFORE_NAMES))})[ ]$",
        re.IGNORECASE,
    )


def _spaced(sign: str) -> str:
    """Return the pattern of a sign; one letter and "$" stand apart for Canada only ("a $1 charge")."""
    letters = sign.removesuffix("$")
    if letters != sign and (len(letters) > 1 or letters == "C"):
        return re.escape(letters) + r"[ ]?\$"
    return f"(?-i:{re.escape(sign)})" if sign == "RM" else re.escape(sign)


_LETTERS_BEFORE = frozenset({"Rs", "kr", "RM", "CHF", "Kč", "zł"})


@lru_cache(maxsize=1)
def _after() -> re.Pattern[str]:
    signs = "|".join(
        re.escape(sign) for sign in sorted(SIGNS, key=len, reverse=True) if len(sign) == 1
    )
    small = "|".join(sorted([*SMALL_NAMES], key=len, reverse=True))
    return re.compile(
        rf"[ ]?(?P<sign>{signs}|(?:z\u0142|K\u010d|Ft|kr)(?!\w))"
        rf"|[ ]?(?P<small>{small})(?!\w)"
        r"|(?P<scale>[ ]?[kM])(?P<scaled>[A-Z]{3})(?!\w)"
        r"|[ ]?(?P<code>[A-Z]{3})(?!\w)(?:[ ](?P<more>thousand|million|billion|trillion)\b)?",
        re.IGNORECASE,
    )


_MORE = {"k": 3, "m": 6, "mm": 6, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
"""Powers of ten that stand beside a currency: "75 USD million", "48.5 MGBP"."""
_NAME = re.compile(
    r"[ -]?(?:of[ ])?(?P<words>(?:u\.s\.[ ])?[^\W\d_]+(?:[ ][^\W\d_]+){0,3})(?!\w)", re.IGNORECASE
)
_ONE_UNIT = re.compile(
    r"\b(?P<part>half[ ]|(?:a[ ])?quarter[ ]of[ ])?(?P<article>an?)[ ]"
    r"(?=(?:u\.?s\.?[ ])?(?:dollar|euro|buck|pound(?![ ](?:of|for|a|shop|store|sign|cake)\b))\b)",
    re.IGNORECASE,
)
_COMMA_PENCE = re.compile(r",(?P<digits>[0-9]{2})(?![0-9,]|\.[0-9])")
_SCALE = re.compile(r"(?P<scale>[ ]?mm|[ ][mk])(?![\w/\u00b2\u00b3])", re.IGNORECASE)


def is_currency(code: str) -> bool:
    """Tell whether the ISO 4217 code is one that CLDR knows."""
    return code in codes()


def amounts(reading: Reading) -> Iterator[Match]:
    """Find amounts of money; the value is a `Money`.

    An amount without a currency counts only when the context has a default currency and the words
    before it speak of money ("transfer 500 to Anna"). An amount finer than the currency's smallest
    unit is recognised without a value.
    """
    text = reading.text
    ones = list(_one_units(text, reading.writing.region))
    taken_until = 0
    for quantity, following in zip_longest(reading.quantities, reading.quantities[1:]):
        while ones and ones[0].start <= quantity.start:
            one = _with_worded_pence(text, ones.pop(0), quantity)
            taken_until = one.end
            yield one
        if quantity.start < taken_until:
            continue
        found = _with_currency(text, quantity, reading.writing.region, taken_until)
        if found is None:
            found = _with_default(text, quantity, reading.context.default_currency)
        if found is not None and found.start >= taken_until:
            found = _with_worded_pence(text, found, following)
            taken_until = found.end
            yield found
    yield from ones


def _one_units(text: str, region: str) -> Iterator[Match]:
    """Find "a dollar", "half a pound" and "a quarter of a euro", in order."""
    for found in _ONE_UNIT.finditer(text):
        part = (found.group("part") or "").lower()
        value = Decimal("0.5") if "half" in part else Decimal("0.25" if part else 1)
        currency, end = _named(text, found.end() - 1, region)
        if currency:
            yield match_at("money", text, found.start(), end, _money(value, currency))


def _with_currency(text: str, quantity: Quantity, region: str, free_from: int) -> Match | None:
    """Return the amount, its pence after a comma or a full stop: "5,50 \u20ac" too."""
    pence = _COMMA_PENCE.match(text, quantity.end)
    if pence is not None and text[quantity.start : quantity.end].isdigit():
        value = quantity.value + Decimal(pence.group("digits")) / 100
        whole = replace(quantity, end=pence.end(), value=value)
        found = _beside_currency(text, whole, region, free_from)
        if found is not None:
            return found
    return _beside_currency(text, quantity, region, free_from)


def _beside_currency(text: str, quantity: Quantity, region: str, free_from: int) -> Match | None:
    near = text[max(free_from, quantity.start - 2) : quantity.start].rstrip(" ")
    before = None
    if near and (near[-1].isalpha() or near[-1] in _SIGN_ENDS):
        before = _before().search(text, max(free_from, quantity.start - 8), quantity.start)
    if before is not None:
        if before.group("sign"):
            currency = _currency_of_sign(before.group("sign"), region)
        elif before.group("name"):
            stands = _STOP.match(text, quantity.end) is not None
            currency = chosen(names()[before.group("name").lower()], region) if stands else ""
        else:
            currency = code_of(before.group("code"), before=True)
            if not currency and before.group("code").lower() in BEFORE_NAMES:
                currency = chosen(names()[before.group("code").lower()], region)
        if currency:
            scale = None if quantity.suffixed else _SCALE.match(text, quantity.end)
            power = _MORE[scale.group("scale").strip().lower()] if scale else 0
            end = _repeated(text, scale.end() if scale else quantity.end, currency, region)
            return _amount(text, before.start(), end, quantity.value.scaleb(power), currency)
    near = text[quantity.end : quantity.end + 2].lstrip(" -")
    if near and (near[0].isalpha() or near[0] in _SIGN_ENDS):
        return _with_currency_after(text, quantity, region)
    return None


def _with_currency_after(text: str, quantity: Quantity, region: str) -> Match | None:
    currency, end = _named(text, quantity.end, region)
    if currency:
        return _amount(text, quantity.start, end, quantity.value, currency)
    after = _after().match(text, quantity.end)
    if after is None:
        return None
    if after.group("small"):
        currency = chosen(SMALL_NAMES[after.group("small").lower()], region)
        precision = get_currency_precision(currency)
        value = quantity.value / Decimal(10) ** precision
        return match_at("money", text, quantity.start, after.end(), _money(value, currency))
    if after.group("sign"):
        currency = _currency_of_sign(after.group("sign"), region)
    else:
        currency = code_of(after.group("scaled") or after.group("code"), before=False)
    if not currency:
        return None
    power = _MORE.get((after.group("scale") or after.group("more") or "").strip().lower(), 0)
    return _amount(text, quantity.start, after.end(), quantity.value.scaleb(power), currency)


def _currency_of_sign(written: str, region: str) -> str:
    sign = written.replace(" ", "")
    exact = sign if sign in SIGNS else _FOLDED_SIGNS[sign.lower()]
    return chosen(SIGNS[exact], region)


def _named(text: str, position: int, region: str) -> tuple[str, int]:
    """Return the currency whose name stands there and where the name ends; "" when none does."""
    found = _NAME.match(text, position)
    if found is None:
        return "", position
    words = found.group("words")
    while words:
        currencies = names().get(words.lower())
        if currencies:
            return chosen(currencies, region), found.start("words") + len(words)
        words = words.rpartition(" ")[0]
    return "", position


def _repeated(text: str, end: int, currency: str, region: str) -> int:
    """Return the end of an amount whose currency is said twice: "$ 10 dollars"."""
    again, until = _named(text, end, region)
    if again == currency:
        return until
    code = _CODE_BEHIND.match(text, end)
    return code.end() if code is not None and code.group("code") == currency else end


_CODE_BEHIND = re.compile(r"[ ]?(?P<code>[A-Z]{3})(?!\w)")


def _amount(text: str, start: int, end: int, value: Decimal, currency: str) -> Match:
    """Return the amount, with the pence that follow it: "£5 50p", "15 dollars 50"."""
    if start > 0 and text[start - 1] in "-\u2212" and (start == 1 or text[start - 2].isspace()):
        start, value = start - 1, -value
    small = _PENCE_AFTER.match(text, end)
    whole = value == int(value) and get_currency_precision(currency) == 2
    if small and whole and (small.group("digits") or text[end - 1].isalpha()):
        digits = small.group("digits") or small.group("bare")
        value += Decimal(digits) / 100 * (-1 if value < 0 else 1)
        end = small.end()
    return match_at("money", text, start, end, _money(value, currency))


def _with_worded_pence(text: str, found: Match, small: Quantity | None) -> Match:
    """Return the amount with pence in words: "five dollars and fifty cents", "$5 and fifty"."""
    money = found.value
    if small is None or not isinstance(money, Money) or get_currency_precision(money.currency) != 2:
        return found
    joint = text[found.end : small.start]
    if joint == " and " and small.value == Decimal("0.5") and text[found.end - 1].isalpha():
        half = Money(money.currency, money.minor_units + 50)
        return match_at("money", text, found.start, small.end, half)
    if money.minor_units % 100 or not 0 < small.value < 100 or small.value % 1:
        return found
    unit = _PENCE.match(text, small.end)
    alone = joint == " and " and small.worded and _STOP.match(text, small.end)
    if joint == " " and small.worded and small.value >= 10:  # "five pounds fifty"
        alone = text[found.end - 1].isalpha() and _STOP.match(text, small.end)
    if joint not in (" and ", " ", ", ") or not (unit or alone):
        return found
    minor = money.minor_units + int(small.value) * (-1 if money.minor_units < 0 else 1)
    end = unit.end() if unit else small.end
    return match_at("money", text, found.start, end, Money(money.currency, minor))


def _money(value: Decimal, currency: str) -> Value:
    minor = value * Decimal(10) ** get_currency_precision(currency)
    if minor != int(minor) or abs(minor) > _GREATEST:
        return None
    return Money(currency, int(minor))


def _with_default(text: str, quantity: Quantity, currency: str) -> Match | None:
    if not currency:
        return None
    before = text[max(0, quantity.start - 40) : quantity.start]
    glued = quantity.end < len(text) and (
        text[quantity.end].isalnum() or text[quantity.end] in "%/:"
    )
    if glued or not _MONEY_VERB.search(before):
        return None
    return match_at("money", text, quantity.start, quantity.end, _money(quantity.value, currency))
