"""Which currency a sign, a name or a code means.

Codes, decimals and full English names ("Finnish markkas") come from the CLDR data in babel; the short
names and signs that people write are here. A sign or name that several currencies share ("$", "kr",
"pounds") means the one of the locale's country when it is one of them, else the first.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import lru_cache

from babel.core import get_global
from babel.numbers import get_currency_name, get_territory_currencies, list_currencies

_USUAL_SIGNS: Mapping[str, tuple[str, ...]] = {
    "USD$": ("USD",), "AUD$": ("AUD",), "CAD$": ("CAD",), "NZD$": ("NZD",), "US$": ("USD",),
    "U.S.$": ("USD",), "U.S$": ("USD",), "A$": ("AUD",), "AU$": ("AUD",),
    "CA$": ("CAD",), "NZ$": ("NZD",), "HK$": ("HKD",), "S$": ("SGD",), "R$": ("BRL",),
    "NT$": ("TWD",), "£": ("GBP",), "€": ("EUR",), "₹": ("INR",), "₽": ("RUB",), "₩": ("KRW",),
    "₺": ("TRY",), "₴": ("UAH",), "₦": ("NGN",), "₱": ("PHP",), "฿": ("THB",), "₫": ("VND",),
    "₪": ("ILS",), "zł": ("PLN",), "Kč": ("CZK",), "Ft": ("HUF",), "Rs": ("INR", "PKR", "LKR"),
    "Rs.": ("INR", "PKR", "LKR"), "¥": ("JPY", "CNY"), "￥": ("JPY", "CNY"),
    "₾": ("GEL",), "₡": ("CRC",), "₸": ("KZT",), "₼": ("AZN",), "₲": ("PYG",), "₵": ("GHS",),
    "₭": ("LAK",), "₮": ("MNT",), "៛": ("KHR",), "৳": ("BDT",), "֏": ("AMD",), "؋": ("AFN",),
    "C$": ("CAD",), "MX$": ("MXN",), "Mex$": ("MXN",), "SG$": ("SGD",), "HKD$": ("HKD",),
    "SGD$": ("SGD",), "CN¥": ("CNY",), "JP¥": ("JPY",), "RM": ("MYR",), "CHF": ("CHF",),
    "$": ("USD", "CAD", "AUD", "NZD", "SGD", "HKD", "MXN", "CLP", "COP", "ARS"),
    "kr": ("SEK", "NOK", "DKK", "ISK"),
}  # fmt: skip
_USUAL_NAMES = {
    "pounds sterling": ("GBP",), "british pounds": ("GBP",), "british pound": ("GBP",),
    "pounds": ("GBP", "EGP"), "pound": ("GBP", "EGP"), "quid": ("GBP",), "sterling": ("GBP",),
    "us dollars": ("USD",), "us dollar": ("USD",), "american dollars": ("USD",),
    "canadian dollars": ("CAD",), "australian dollars": ("AUD",),
    "dollars": _USUAL_SIGNS["$"], "dollar": _USUAL_SIGNS["$"], "bucks": _USUAL_SIGNS["$"],
    "buck": _USUAL_SIGNS["$"],
    "euros": ("EUR",), "euro": ("EUR",), "yen": ("JPY",), "yuan": ("CNY",), "chinese yuan": ("CNY",),
    "rmb": ("CNY",), "renminbi": ("CNY",), "rupees": ("INR", "PKR", "LKR"),
    "rupee": ("INR", "PKR", "LKR"), "swiss francs": ("CHF",), "francs": ("CHF",), "franc": ("CHF",),
    "kronor": ("SEK",), "kroner": ("NOK", "DKK"), "zloty": ("PLN",), "zlotys": ("PLN",),
    "rubles": ("RUB",), "roubles": ("RUB",), "won": ("KRW",), "rand": ("ZAR",), "reais": ("BRL",),
    "pesos": ("MXN", "PHP", "ARS", "CLP", "COP"), "lira": ("TRY",), "liras": ("TRY",),
    "pound sterling": ("GBP",), "american dollar": ("USD",), "u.s. dollars": ("USD",),
    "u.s. dollar": ("USD",),
    "peseta": ("ESP",), "pesetas": ("ESP",), "guilder": ("NLG",), "guilders": ("NLG",),
    "markka": ("FIM",), "markkas": ("FIM",), "deutsche marks": ("DEM",), "deutschmarks": ("DEM",),
    "kuai": ("CNY",), "krona": ("SEK", "ISK"), "krone": ("NOK", "DKK"), "koruna": ("CZK",),
    "korunas": ("CZK",), "ruble": ("RUB",), "rouble": ("RUB",),
    "peso": ("MXN", "PHP", "ARS", "CLP", "COP"), "leu": ("RON", "MDL"), "lei": ("RON", "MDL"),
    "punt": ("IEP",), "punts": ("IEP",), "italian lire": ("ITL",), "escudo": ("PTE", "CVE"),
    "escudos": ("PTE", "CVE"), "rands": ("ZAR",),
    "dinars": ("RSD", "KWD", "JOD", "IQD", "TND"), "dinar": ("RSD", "KWD", "JOD", "IQD", "TND"),
    "riyals": ("SAR", "QAR"), "riyal": ("SAR", "QAR"), "rials": ("IRR", "OMR"), "lari": ("GEL",),
    "hryvnia": ("UAH",), "hryvnias": ("UAH",), "ringgit": ("MYR",), "ringgits": ("MYR",),
    "rupiah": ("IDR",), "dong": ("VND",), "naira": ("NGN",), "cedis": ("GHS",), "forint": ("HUF",),
    "shekel": ("ILS",), "dirham": ("AED", "MAD"), "tenge": ("KZT",), "lev": ("BGN",),
    "dirhams": ("AED", "MAD"), "shekels": ("ILS",), "baht": ("THB",), "forints": ("HUF",),
}  # fmt: skip
SMALL_NAMES = {
    "pence": ("GBP",), "penny": ("GBP",), "pennies": ("GBP",), "p": ("GBP",),
    "cents": ("USD", "EUR", "CAD", "AUD", "NZD"), "cent": ("USD", "EUR", "CAD", "AUD", "NZD"),
    "¢": ("USD", "CAD", "AUD"),
}  # fmt: skip
_DOLLARS = (
    "USD AUD CAD NZD HKD SGD TWD MXN ARS CLP COP BRL BBD BSD BMD BZD FJD GYD JMD LRD NAD SBD SRD TTD"
    " XCD UYU DOP"
)
SIGNS = {**_USUAL_SIGNS, **{f"{code}$": (code,) for code in _DOLLARS.split()}}
BEFORE_NAMES = frozenset({
    "dollar", "dollars", "euro", "euros", "pounds", "rupees", "yen", "yuan", "rmb", "pesos", "francs",
    "sterling",
})  # fmt: skip
"""Names that are also written before the amount: "rupees 500"."""

_CODES_THAT_ARE_WORDS = frozenset(
    {"ALL", "TRY", "TOP", "CUP", "PEN", "MOP", "SOS", "ANG", "BAM", "MAD"}
)
"""Before a number they are words in capitals: "ALL 5"."""
_USUAL_CODES = frozenset({
    "GBP", "USD", "EUR", "CHF", "JPY", "INR", "AUD", "CAD", "HKD", "SGD", "NZD", "CNY", "TWD",
    "KRW", "BRL", "MXN", "ZAR", "SEK", "NOK", "DKK", "PLN", "CZK", "HUF", "RUB", "AED", "THB",
    "MYR", "IDR", "ILS", "VND", "NGN", "KES", "PKR", "LKR", "EGP", "KWD", "QAR", "BHD", "OMR",
    "JOD", "UAH", "BGN", "ISK", "CLP", "ARS",
})  # fmt: skip
"""Codes that are also read in lower case; others would make words of the language into money."""
_SHARED_X = frozenset({"XAF", "XOF", "XCD", "XPF"})
"""The codes with an X that people pay with. Source: ISO 4217; the others are metals and funds."""


@lru_cache(maxsize=1)
def codes() -> frozenset[str]:
    """Return the ISO 4217 codes that CLDR knows, those of former currencies included."""
    return frozenset(list_currencies())


@lru_cache(maxsize=1)
def names() -> Mapping[str, tuple[str, ...]]:
    """Return the currencies that each name may mean, names in lower case."""
    full: dict[str, tuple[str, ...]] = {}
    shorter: dict[str, list[str]] = defaultdict(list)
    paid_with = _paid_with()
    # of currencies that share a shorter name, those that are paid with today come first
    for code in sorted(codes(), key=lambda code: (code not in paid_with, code)):
        if code.startswith("X") and code not in _SHARED_X:
            continue
        for count in (1, 2):
            name = str(get_currency_name(code, count=count, locale="en")).lower()
            if _PLAIN_NAME.fullmatch(name):
                full.setdefault(name, (code,))
                for short in _shorter(name):
                    shorter[short].append(code)
    short_names = {name: tuple(dict.fromkeys(found)) for name, found in shorter.items()}
    return short_names | full | _USUAL_NAMES


_PLAIN_NAME = re.compile(r"[^\W\d_]+(?: [^\W\d_]+){0,3}")
_LEFT_OUT = re.compile(r"\b(?:new|south|german) ")
"""What people leave out of "South Korean won" and "Israeli new shekels"."""
_UNITS_THAT_ARE_WORDS = frozenset({
    "mark", "marks", "gold", "unit", "units", "sol", "som", "soms", "real", "dram", "drams",
    "austral", "australs", "loti", "tala", "florin", "cupon", "peso", "franc", "soles", "leone",
    "leones", "kip", "kips", "lek", "lats", "inti",
})  # fmt: skip
"""Units that mean something else without their country."""


def _shorter(name: str) -> Iterator[str]:
    """Yield shorter ways to say a full name: without accents, without "new", the unit alone."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    for short in (plain, _LEFT_OUT.sub("", plain), plain.rpartition(" ")[2]):
        if short not in _UNITS_THAT_ARE_WORDS:
            yield short


@lru_cache(maxsize=1)
def _paid_with() -> frozenset[str]:
    """Return the codes that are legal tender somewhere today."""
    regions = get_global("territory_currencies")
    return frozenset(code for region in regions for code in _own_currencies(region))


def code_of(written: str, *, before: bool) -> str:
    """Return the ISO 4217 code that three letters are, or "" when they are a word.

    Args:
        written: three letters.
        before: whether they stand before the amount.
    """
    upper = written.upper()
    if upper not in codes() or (before and upper in _CODES_THAT_ARE_WORDS):
        return ""
    return upper if written == upper or upper in _USUAL_CODES else ""


def chosen(currencies: tuple[str, ...], region: str) -> str:
    """Return the currency of the region if it is among them, else the first."""
    if len(currencies) > 1:
        for own in _own_currencies(region):
            if own in currencies:
                return own
    return currencies[0]


@lru_cache(maxsize=64)
def _own_currencies(region: str) -> tuple[str, ...]:
    return tuple(get_territory_currencies(region))
