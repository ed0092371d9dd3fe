"""Recognises how to reach somebody: e-mail, telephone, URL, IP address.

Telephone numbers are judged by the phonenumbers library; a cheap pattern decides what it gets to
see. Nothing here asks the network whether an address exists.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from functools import lru_cache
from urllib.parse import urlsplit, urlunsplit

import phonenumbers
from phonenumbers.phonemetadata import PhoneMetadata

from slmesh.recognise.match import Match, match_at
from slmesh.recognise.reading import Reading

_EMAIL = re.compile(
    r"(?<![^\W\u2e80-\uffff])(?<![.!#$%&'*+/=?^`{|}~-])"
    r"[^\W\u2e80-\uffff.]?(?:[^\W\u2e80-\uffff]|[.!#$%&'*+/=?^`{|}~-]){1,64}@"
    r"(?:(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}[^\W\d_]{2,24}(?![\w-])"
    r"|\[(?:[0-9]{1,3}\.){3}[0-9]{1,3}\])"
)
_EMAIL_EDGE = ".'`{|}/=?!#$%&*~^"

_TOP_LEVEL = (
    "com|org|net|edu|gov|mil|int|info|biz|name|pro|io|ai|app|dev|co|me|tv|shop|store|online|site"
    "|tech|blog|cloud|bank|link|news|xyz|ly|uk|us|ca|au|nz|ie|in|za|de|fr|es|it|nl|be|ch|at|se|no|dk|fi|pl|pt|gr|cz"
    "|ro|hu|tr|ru|ua|cn|jp|kr|sg|hk|tw|my|th|vn|id|ph|br|mx|ar|cl|pe|il|ae|sa|eg|ng|ke|eu"
)
_URL = re.compile(
    r"(?<![\w@-])(?:https?|ftp)://[^\s<>\"'`{}|\\^]{1,2000}"
    r"|(?<![\w@.-])(?:"
    r"www\.[\w-]{1,63}\.[^\s<>\"'`{}|\\^]{1,2000}"
    rf"|(?:[a-z0-9](?:[a-z0-9-]{{0,61}}[a-z0-9])?\.){{1,5}}(?:{_TOP_LEVEL})(?![\w@-])(?!\.\w)"
    r"(?::[0-9]{1,5})?(?:/[^\s<>\"'`{}|\\^]{0,2000})?"
    r")",
    re.IGNORECASE,
)
_URL_EDGE = ".,;:!?)]*'\u2019\u201d"

_IPV4 = re.compile(r"(?<![\w.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?!\w|\.[0-9])")
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:.]{1,45}(?![\w:])")

_PHONE = re.compile(
    r"(?:(?<![\w+@#/.,-])|(?<=[a-z])(?=\(\+?[0-9])|(?<=[a-z]-)(?=1?[ ]?\([0-9]))(?<!\w[ ]\()"
    r"(?:\+|00|\([ ]?)?\+?[0-9](?:[ \u00a0./()\u2010-\u2015-]{0,3}[0-9]){5,17}"
    r"(?:[ ]{0,2}(?:x|ext\.?|extension)[ ]?[0-9]{1,6})?(?![\w@]|[.,-][0-9])",
    re.IGNORECASE,
)
_PHONE_CUE = re.compile(
    r"(?:tele)?phone|mobile|\bcell\b|\btel\b|\bfax\b|\bcall\b|\btext\b|\bring\b|whats?app"
    r"|\bdial\b|contact|reach|\bnumber\s+is\b",
    re.IGNORECASE,
)
_DATE_LIKE = re.compile(
    r"\(?(?:[0-9]{1,2}[./ -][0-9]{1,2}[./ -](?:19|20)[0-9]{2}|(?:19|20)[0-9]{2}[./-][0-9]{1,2}[./-]"
    r"[0-9]{1,2})(?:[ -].*)?$"
)
_NORTH_AMERICAN = re.compile(r"\(?[0-9]{3}\)[ ]?[0-9]{3}-[0-9]{4}|[0-9]{3}([.-])[0-9]{3}\1[0-9]{4}")
_INTERNATIONAL = re.compile(r"^00|^\(00(?=[0-9]+\))")
_SHORTEST = 10
_DECIMAL = re.compile(r"[0-9]+\.[0-9]+")
_CUE_WINDOW = 40
"""How many code points before a number are read for a word such as "phone"."""


def emails(reading: Reading) -> Iterator[Match]:
    """Find e-mail addresses; the value has its domain in lower case."""
    text = reading.text
    if "@" not in text:
        return
    for found in _EMAIL.finditer(text):
        start, end = found.span()
        while text[start] in _EMAIL_EDGE:
            start += 1
        local, _, domain = text[start:end].rpartition("@")
        if local and not local.endswith("."):
            yield match_at("email", text, start, end, f"{local}@{domain.lower()}")


def urls(reading: Reading) -> Iterator[Match]:
    """Find URLs, with a scheme or without ("example.com/a").

    The value has its scheme and host in lower case; a scheme that is not written is not added.
    """
    text = reading.text
    if "." not in text and "://" not in text:
        return
    for found in _URL.finditer(text):
        start, end = found.span()
        while end > start and text[end - 1] in _URL_EDGE:
            # A closing bracket belongs to the URL when it was opened inside it.
            if text[end - 1] == ")" and "(" in text[start:end]:
                break
            end -= 1
        value = _lower_host(text[start:end])
        if value:
            yield match_at("url", text, start, end, value)


def _lower_host(url: str) -> str:
    if "://" not in url:
        host, slash, rest = url.partition("/")
        return host.lower() + slash + rest
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    if not parts.netloc:
        return ""
    login, at, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=login + at + host.lower()))


def ip_addresses(reading: Reading) -> Iterator[Match]:
    """Find IPv4 and IPv6 addresses; the value is the shortest form."""
    text = reading.text
    if "." in text:
        for found in _IPV4.finditer(text):
            yield from _address(text, *found.span())
    if ":" in text:
        for found in _IPV6.finditer(text):
            start, end = found.span()
            while end > start and text[end - 1] == ".":
                end -= 1
            if text.count(":", start, end) >= 2:
                yield from _address(text, start, end)


def _address(text: str, start: int, end: int) -> Iterator[Match]:
    try:
        address = ipaddress.ip_address(text[start:end])
    except ValueError:
        return
    yield match_at("ip_address", text, start, end, str(address))


def phones(reading: Reading) -> Iterator[Match]:
    """Find telephone numbers; the value is E.164.

    A number counts when it is valid in the region of the locale, has the North American grouping,
    or carries a country code or a trunk prefix and a possible length (numbers reserved for fiction,
    such as 07700 900123, are of this kind). Anything else of 7 to 15 digits counts only after a
    word such as "phone" or "call me on"; it has no value when no region makes it possible.
    """
    text = reading.text
    region = reading.writing.region
    for found in _PHONE.finditer(text):
        start, end = found.span()
        raw = text[start:end]
        if raw.startswith("(") and ")" not in raw:
            raw = raw.lstrip("( ")
            start = end - len(raw)
        if _DATE_LIKE.match(raw) or _DECIMAL.fullmatch(raw):
            continue
        announced = _spoken_of(text, start, raw)
        value = _e164(raw, region, announced=announced)
        if not value and "-" in raw and (prefix := raw.rpartition("-")[0]) and raw[0] == "+":
            # "+86 20 6130 2222-8866" ends in the extension
            value = _valid(prefix, region)
        if not value and " " in raw and len(raw) > _SHORTEST:
            # A number may stand next to another one: "(914) 349-8600 04/21".
            shorter = raw[: raw.rindex(" ")]
            value = _valid(shorter, region)
            end = start + len(shorter) if value else end
        if value or announced or _is_foreign(raw, region):
            yield match_at("phone", text, start, end, value or None)


def _e164(raw: str, region: str, *, announced: bool) -> str:
    """Return the number in E.164 form, or "" when nothing says that it is a telephone number."""
    written = _INTERNATIONAL.sub("+", raw)
    number = _parsed(written, region)
    if number is not None and phonenumbers.is_valid_number(number):
        # A bare run of digits that only the region makes valid is as likely an account number.
        bare = raw.isdigit() and raw[0] != "0" and len(raw) < 10
        if announced or not bare:
            return _formatted(number)
    if _NORTH_AMERICAN.fullmatch(raw):
        american = _parsed(raw, "US")
        if american is not None and (
            phonenumbers.is_valid_number(american)
            or (")" in raw and phonenumbers.is_possible_number(american))
        ):
            return _formatted(american)
    if _is_foreign(raw, region):
        return ""  # nothing names its country
    trunk = raw.lstrip("( ")[:1] == "0" and not raw.isdigit()
    prefixed = written[:1] == "+" or trunk
    if number is not None and (prefixed or announced) and phonenumbers.is_possible_number(number):
        return _formatted(number)
    return ""


def _is_foreign(raw: str, region: str) -> bool:
    """Tell a number with the trunk prefix 0 where the region has another one."""
    if raw.isdigit() or raw.lstrip("( ")[:1] != "0" or _INTERNATIONAL.match(raw):
        return False
    number = _parsed(raw, region)
    possible = number is not None and phonenumbers.is_possible_number(number)
    return possible and _trunk_prefix(region) != "0"


def _valid(raw: str, region: str) -> str:
    """Return the number in E.164 form when it is one that can be dialled, else ""."""
    number = _parsed(raw, region)
    return _formatted(number) if number is not None and phonenumbers.is_valid_number(number) else ""


@lru_cache(maxsize=256)
def _trunk_prefix(region: str) -> str:
    """Return what is dialled before a national number of the region: "0" in the UK."""
    metadata = PhoneMetadata.metadata_for_region(region)
    return str(metadata.national_prefix or "") if metadata is not None else ""


def _parsed(raw: str, region: str) -> phonenumbers.PhoneNumber | None:
    try:
        return phonenumbers.parse(raw, region)
    except phonenumbers.NumberParseException:
        return None


def _formatted(number: phonenumbers.PhoneNumber) -> str:
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


def _spoken_of(text: str, start: int, raw: str) -> bool:
    digits = sum(character.isdigit() for character in raw)
    before = text[max(0, start - _CUE_WINDOW) : start]
    return 7 <= digits <= 15 and _PHONE_CUE.search(before) is not None
