"""Recognises what names an account: IBAN, payment card, UK sort code and account number, US SSN.

IBANs and cards count only when their check digits are right; numbers that carry no check digit
count only in their usual grouping or after a word that announces them. Nothing here knows whether
an account exists.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from slmesh.recognise.match import Match, match_at
from slmesh.recognise.reading import Reading

# Source: SWIFT IBAN registry, release 99; the length of an IBAN by country.
_IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22,
    "BI": 27, "BR": 29, "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27,
    "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27,
    "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22,
    "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32,
    "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19,
    "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24,
    "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31,
    "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23,
    "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20, "YE": 30,
}  # fmt: skip
_IBAN_START = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}(?=[ -]?[A-Za-z0-9])")

_DIGIT_RUN = re.compile(r"(?<![\w.+])[0-9]+(?:[ -][0-9]+)*(?!\w)")
# Source: ISO/IEC 7812 issuer ranges of the card schemes, with the lengths they issue.
_ISSUERS = (
    (re.compile(r"4"), {13, 16, 19}),
    (re.compile(r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), {16}),
    (re.compile(r"3[47]"), {15}),
    (re.compile(r"30[0-59]|3[689]"), {14, 16}),
    (re.compile(r"6011|64[4-9]|65"), {16, 17, 18, 19}),
    (re.compile(r"35(?:2[89]|[3-8])"), {16, 17, 18, 19}),
    (re.compile(r"2131|1800"), {15}),
    (re.compile(r"62|220[0-4]"), {16, 17, 18, 19}),
    (re.compile(r"50|5[6-9]|6"), {12, 13, 14, 15, 16, 17, 18, 19}),
)
_CARD_LENGTHS = range(19, 11, -1)

_SSN = re.compile(
    r"(?<![\w-])(?!000|666|9)[0-9]{3}([ -])(?!00)[0-9]{2}\1(?!0000)[0-9]{4}(?![\w-]|\.[0-9])"
)
_SSN_SPOKEN = re.compile(
    r"(?:\bssn\b|social\s+security)[^0-9\n]{0,30}((?!000|666|9)[0-9]{3}(?!00)[0-9]{2}(?!0000)"
    r"[0-9]{4})(?![0-9])",
    re.IGNORECASE,
)

_SORT_CODE = re.compile(r"(?<![\w-])[0-9]{2}([ -])[0-9]{2}\1[0-9]{2}(?![\w-])")
_SORT_CODE_CUE = re.compile(r"\bsort\s?-?code\b[^0-9\n]{0,20}$", re.IGNORECASE)
_SORT_CODE_SPOKEN = re.compile(r"\bsort\s?-?code\b[^0-9\n]{0,20}([0-9]{6})(?![0-9])", re.IGNORECASE)
_ACCOUNT = re.compile(
    r"\b(?:account|acct|acc|a/c|bank\s+details)\b(?:\s?(?:number|num|no|nr|#))?[^0-9\n]{0,20}"
    r"(?<![\w-])([0-9]{2,12}(?:[ -][0-9]{2,6}){0,4})(?!\w|[-/.,:][0-9])",
    re.IGNORECASE,
)
_AFTER_SORT_CODE = re.compile(r"[ ,;/]{0,3}(?:and\s)?([0-9]{8})(?![\w-])")


def ibans(reading: Reading) -> Iterator[Match]:
    """Find IBANs, grouped or not, whose length and check digits are right."""
    text = reading.text
    for found in _IBAN_START.finditer(text):
        length = _IBAN_LENGTHS.get(text[found.start() : found.start() + 2].upper())
        if length is None:
            continue
        end = _end_of_characters(text, found.start(), length)
        if end is None:
            continue
        value = re.sub(r"[ -]", "", text[found.start() : end]).upper()
        if _mod_97(value) == 1:
            yield match_at("iban", text, found.start(), end, value)


def _end_of_characters(text: str, start: int, count: int) -> int | None:
    """Return where `count` letters and digits from `start` end; single gaps are allowed."""
    seen, position = 0, start
    while position < len(text) and seen < count:
        character = text[position]
        if character.isascii() and character.isalnum():
            seen += 1
        elif character not in " -" or text[position - 1] in " -":
            return None
        position += 1
    ends_cleanly = position == len(text) or not text[position].isalnum()
    return position if seen == count and ends_cleanly else None


def _mod_97(iban: str) -> int:
    """Return the ISO 7064 MOD 97-10 remainder; 1 for an IBAN with right check digits."""
    turned = iban[4:] + iban[:4]
    return int("".join(str(int(character, 36)) for character in turned)) % 97


def cards(reading: Reading) -> Iterator[Match]:
    """Find payment card numbers of a known issuer range whose Luhn digit is right."""
    text = reading.text
    for found in _DIGIT_RUN.finditer(text):
        if found.end() - found.start() >= _CARD_LENGTHS[-1]:
            yield from _cards_in_run(text, *found.span())


def _cards_in_run(text: str, start: int, end: int) -> Iterator[Match]:
    """Find cards among the groups of one run of digits ("4111 1111 1111 1111 12")."""
    positions = [index for index in range(start, end) if text[index] not in " -"]
    digits = "".join(text[index] for index in positions)
    first = 0
    while first <= len(digits) - _CARD_LENGTHS[-1]:
        length = 0
        if _may_start_card(positions, first):
            length = _card_length(digits, positions, first)
        if length:
            value = digits[first : first + length]
            last = positions[first + length - 1]
            yield match_at("card", text, positions[first], last + 1, value)
        first += length or 1


def _may_start_card(positions: list[int], first: int) -> bool:
    """Tell whether a card may start at the digit: at the start of the run or of a group of 3."""
    if first == 0:
        return True
    starts_group = positions[first] != positions[first - 1] + 1
    return starts_group and positions[first + 2] == positions[first] + 2


def _card_length(digits: str, positions: list[int], first: int) -> int:
    """Return the length of the longest card that starts at `first` and ends a group, or 0."""
    for length in _CARD_LENGTHS:
        last = first + length - 1
        if last >= len(digits):
            continue
        if last + 1 < len(digits) and positions[last + 1] == positions[last] + 1:
            continue
        value = digits[first : last + 1]
        if _issued(value) and passes_luhn(value):
            return length
    return 0


def _issued(digits: str) -> bool:
    return any(len(digits) in lengths and prefix.match(digits) for prefix, lengths in _ISSUERS)


def passes_luhn(digits: str) -> bool:
    """Tell whether the last digit is the Luhn check digit of the others.

    Source: ISO/IEC 7812-1, annex B.
    """
    total = 0
    for index, digit in enumerate(reversed(digits)):
        doubled = int(digit) * (2 if index % 2 else 1)
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0


def ssns(reading: Reading) -> Iterator[Match]:
    """Find US social security numbers; the value is "123-45-6789"."""
    text = reading.text
    for found in _SSN.finditer(text):
        yield match_at("ssn", text, *found.span(), found.group().replace(" ", "-"))
    for found in _SSN_SPOKEN.finditer(text):
        digits = found.group(1)
        value = f"{digits[:3]}-{digits[3:5]}-{digits[5:]}"
        yield match_at("ssn", text, *found.span(1), value)


def sort_codes(reading: Reading) -> Iterator[Match]:
    """Find UK sort codes; the value is "12-34-56".

    Three pairs of digits that could be a day, a month and a year count only after "sort code".
    """
    text = reading.text
    for found in _SORT_CODE.finditer(text):
        value = found.group().replace(" ", "-")
        announced = _SORT_CODE_CUE.search(text[max(0, found.start() - 40) : found.start()])
        dashed = found.group(1) == "-" and not _could_be_date(value)
        if announced or dashed or _AFTER_SORT_CODE.match(text, found.end()):
            yield match_at("sort_code", text, *found.span(), value)
    for found in _SORT_CODE_SPOKEN.finditer(text):
        digits = found.group(1)
        value = f"{digits[:2]}-{digits[2:4]}-{digits[4:]}"
        yield match_at("sort_code", text, *found.span(1), value)


def _could_be_date(value: str) -> bool:
    first, second, third = (int(part) for part in value.split("-"))
    day_month = 1 <= first <= 31 and 1 <= second <= 31 and min(first, second) <= 12
    return day_month or (1 <= second <= 12 and 1 <= third <= 31)


def account_numbers(reading: Reading) -> Iterator[Match]:
    """Find bank account numbers: 6 to 17 digits after "account" or 8 after a sort code."""
    text = reading.text
    for found in _ACCOUNT.finditer(text):
        value = re.sub(r"[ -]", "", found.group(1))
        if 6 <= len(value) <= 17 and not _SORT_CODE.fullmatch(found.group(1)):
            yield match_at("account_number", text, *found.span(1), value)
    for code in sort_codes(reading):
        found_after = _AFTER_SORT_CODE.match(text, code.end)
        if found_after:
            yield match_at("account_number", text, *found_after.span(1), found_after.group(1))
