"""Recognises amounts of money, in the smallest unit of their currency.

Currencies and their decimals come from the CLDR data in babel. A sign that several currencies share
("$", "kr", "pounds") means the one of the locale's country when it is one of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache

from babel.numbers import get_currency_precision, get_territory_currencies, list_currencies

from slmesh.recognise.match import Match, Money, Value, match_at
from slmesh.recognise.quantities import Quantity
from slmesh.recognise.reading import Reading

_SIGNS = {
    "USD$": ("USD",), "AUD$": ("AUD",), "CAD$": ("CAD",), "NZD$": ("NZD",), "US$": ("USD",),
    "U.S.$": ("USD",), "A$": ("AUD",), "AU$": ("AUD",), "C$": ("CAD",),
    "CA$": ("CAD",), "NZ$": ("NZD",), "HK$": ("HKD",), "S$": ("SGD",), "R$": ("BRL",),
    "NT$": ("TWD",), "£": ("GBP",), "€": ("EUR",), "₹": ("INR",), "₽": ("RUB",), "₩": ("KRW",),
    "₺": ("TRY",), "₴": ("UAH",), "₦": ("NGN",), "₱": ("PHP",), "฿": ("THB",), "₫": ("VND",),
    "₪": ("ILS",), "zł": ("PLN",), "Kč": ("CZK",), "Ft": ("HUF",), "Rs": ("INR", "PKR", "LKR"),
    "Rs.": ("INR", "PKR", "LKR"), "¥": ("JPY", "CNY"), "￥": ("JPY", "CNY"),
    "$": ("USD", "CAD", "AUD", "NZD", "SGD", "HKD", "MXN", "CLP", "COP", "ARS"),
    "kr": ("SEK", "NOK", "DKK", "ISK"),
}  # fmt: skip
_NAMES = {
    "pounds sterling": ("GBP",), "british pounds": ("GBP",), "british pound": ("GBP",),
    "pounds": ("GBP", "EGP"), "pound": ("GBP", "EGP"), "quid": ("GBP",), "sterling": ("GBP",),
    "us dollars": ("USD",), "us dollar": ("USD",), "american dollars": ("USD",),
    "canadian dollars": ("CAD",), "australian dollars": ("AUD",),
    "dollars": _SIGNS["$"], "dollar": _SIGNS["$"], "bucks": _SIGNS["$"], "buck": _SIGNS["$"],
    "euros": ("EUR",), "euro": ("EUR",), "yen": ("JPY",), "yuan": ("CNY",), "chinese yuan": ("CNY",),
    "rmb": ("CNY",), "renminbi": ("CNY",), "rupees": ("INR", "PKR", "LKR"),
    "rupee": ("INR", "PKR", "LKR"), "swiss francs": ("CHF",), "francs": ("CHF",), "franc": ("CHF",),
    "kronor": ("SEK",), "kroner": ("NOK", "DKK"), "zloty": ("PLN",), "zlotys": ("PLN",),
    "rubles": ("RUB",), "roubles": ("RUB",), "won": ("KRW",), "rand": ("ZAR",), "reais": ("BRL",),
    "pesos": ("MXN", "PHP", "ARS", "CLP", "COP"), "lira": ("TRY",), "liras": ("TRY",),
    "dirhams": ("AED", "MAD"), "shekels": ("ILS",), "baht": ("THB",), "forints": ("HUF",),
}  # fmt: skip
_SMALL_NAMES = {
    "pence": ("GBP",), "penny": ("GBP",), "pennies": ("GBP",), "p": ("GBP",),
    "cents": ("USD", "EUR", "CAD", "AUD", "NZD"), "cent": ("USD", "EUR", "CAD", "AUD", "NZD"),
    "¢": ("USD", "CAD", "AUD"),
}  # fmt: skip
_FOLDED_SIGNS = {sign.lower(): sign for sign in _SIGNS}
_SIGN_ENDS = frozenset(sign[-1] for sign in _SIGNS if not sign[-1].isalpha()) | {"\u00a2"}
_MONEY_VERB = re.compile(
    r"\b(?:transfer(?:red|ring)?|send(?:ing)?|sent|pay(?:ing)?|paid|withdr[ae]w(?:ing)?|deposit"
    r"(?:ed|ing)?|mov(?:e|ed|ing)|spen[dt]|charged?|costs?|owes?|refund(?:ed)?|top[ -]up"
    r"|amount(?:[ ]of)?|balance(?:[ ](?:of|is))?|limit(?:[ ](?:of|to))?|budget(?:[ ]of)?|price)"
    r"(?:[ ](?:me|you|him|her|them|us|about|of|to|with|exactly|over|under|another))?[ ]$",
    re.IGNORECASE,
)
_PENCE_AFTER = re.compile(
    r"(?:[ ]and[ ]|[ ])?(?P<digits>[0-9]{1,2})[ ]?(?:p|pence|c|cents?)(?!\w)"
    r"|[ ](?P<bare>[0-9]{2})(?=$|[.,;:!?)\n](?![0-9])|[ ](?:to|for|on|from|and|in|at|by|or|please)\b)",
    re.IGNORECASE,
)
_GREATEST = 2**63 - 1


@lru_cache(maxsize=1)
def _codes() -> frozenset[str]:
    return frozenset(list_currencies())


@lru_cache(maxsize=1)
def _before() -> re.Pattern[str]:
    signs = "|".join(re.escape(sign) for sign in sorted(_SIGNS, key=len, reverse=True))
    return re.compile(rf"(?P<sign>(?<![A-Za-z]){signs})[ ]?$|(?<!\w)(?P<code>[A-Za-z]{{3}})[ ]?$")


@lru_cache(maxsize=1)
def _after() -> re.Pattern[str]:
    signs = "|".join(
        re.escape(sign) for sign in sorted(_SIGNS, key=len, reverse=True) if len(sign) == 1
    )
    names = "|".join(sorted([*_NAMES], key=len, reverse=True)).replace(" ", "[ ]")
    small = "|".join(sorted([*_SMALL_NAMES], key=len, reverse=True))
    return re.compile(
        rf"[ ]?(?P<sign>{signs}|(?:z\u0142|K\u010d|Ft|kr)(?!\w))"
        rf"|[ -]?(?:of[ ])?(?P<name>{names})(?!\w)"
        rf"|[ ]?(?P<small>{small})(?!\w)"
        r"|[ ]?(?P<code>[A-Z]{3})(?!\w)",
        re.IGNORECASE,
    )


def is_currency(code: str) -> bool:
    """Tell whether the ISO 4217 code is one that CLDR knows."""
    return code in _codes()


def amounts(reading: Reading) -> Iterator[Match]:
    """Find amounts of money; the value is a `Money`.

    An amount without a currency counts only when the context has a default currency and the words
    before it speak of money ("transfer 500 to Anna"). An amount finer than the currency's smallest
    unit is recognised without a value.
    """
    text = reading.text
    taken_until = 0
    for quantity in reading.quantities:
        if quantity.start < taken_until:
            continue
        found = _with_currency(text, quantity, reading.writing.region)
        if found is None:
            found = _with_default(text, quantity, reading.context.default_currency)
        if found is not None and found.start >= taken_until:
            taken_until = found.end
            yield found


def _with_currency(text: str, quantity: Quantity, region: str) -> Match | None:
    near = text[max(0, quantity.start - 2) : quantity.start].rstrip(" ")
    before = None
    if near and (near[-1].isalpha() or near[-1] in _SIGN_ENDS):
        before = _before().search(text, max(0, quantity.start - 6), quantity.start)
    if before is not None:
        currency = _currency_of(before.group("sign"), before.group("code"), region)
        if currency:
            return _amount(text, before.start(), quantity.end, quantity.value, currency)
    near = text[quantity.end : quantity.end + 2].lstrip(" -")
    after = None
    if near and (near[0].isalpha() or near[0] in _SIGN_ENDS):
        after = _after().match(text, quantity.end)
    if after is None:
        return None
    if after.group("small"):
        currency = _chosen(_SMALL_NAMES[after.group("small").lower()], region)
        precision = get_currency_precision(currency)
        value = quantity.value / Decimal(10) ** precision
        return match_at("money", text, quantity.start, after.end(), _money(value, currency))
    names = _NAMES.get((after.group("name") or "").lower())
    if names:
        currency = _chosen(names, region)
    else:
        currency = _currency_of(after.group("sign"), after.group("code"), region)
    if not currency:
        return None
    return _amount(text, quantity.start, after.end(), quantity.value, currency)


def _currency_of(sign: str | None, code: str | None, region: str) -> str:
    if sign:
        exact = sign if sign in _SIGNS else _FOLDED_SIGNS[sign.lower()]
        return _chosen(_SIGNS[exact], region)
    upper = (code or "").upper()
    return upper if upper in _codes() and (code == upper or upper in _USUAL_CODES) else ""


_USUAL_CODES = {"GBP", "USD", "EUR", "CHF", "JPY", "INR", "AUD", "CAD"}
"""Codes that are also read in lower case; others would make words of the language into money."""


def _chosen(currencies: tuple[str, ...], region: str) -> str:
    """Return the currency of the region if it is among them, else the first."""
    if len(currencies) > 1:
        for own in _own_currencies(region):
            if own in currencies:
                return own
    return currencies[0]


@lru_cache(maxsize=64)
def _own_currencies(region: str) -> tuple[str, ...]:
    return tuple(get_territory_currencies(region))


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
