"""Turns the values that data sets give into readings, see :mod:`slmesh.evaluation.values`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from google.protobuf.json_format import ParseDict, ParseError

from slmesh.api.extract.v1.extract_pb2 import Field
from slmesh.evaluation.rows import Row
from slmesh.evaluation.values import (
    UNRESOLVED,
    address_reading,
    exponent_of,
    number_reading,
    readings,
)

__all__ = ["golden_readings", "nlupp_readings", "recognizers_readings"]

_WRITTEN_TYPES = {"email": "email", "url": "url"}
_NUMBER_TYPES = {
    "number": "number",
    "ordinal": "ordinal",
    "percentage": "percentage",
}
_TIME_TYPES = {
    "datetimeV2.date": "date",
    "datetimeV2.time": "time",
    "datetimeV2.datetime": "date_time",
}
_MINOR_UNITS = frozenset({"Cent", "Pence", "Penny"})

_BETWEEN = re.compile(r"\([^,]*,[^,]*,P[0-9.]+(?P<unit>[DMY])\)")
_JOINED = re.compile(r"\b(?:to|until|till|til|through|thru|and)\b|[-\u2013\u2014~]", re.IGNORECASE)
_PART_OF_YEAR = re.compile(r"(?<=[0-9])-(?=[qh][1-4]\b)|(?<=\b[qh][1-4])-(?=[0-9])", re.IGNORECASE)
_END_OF = re.compile(r"\b(?:to|until|till|and) (?:the )?end of\b", re.IGNORECASE)
_QUARTER = re.compile(r"\bq[1-4]\b", re.IGNORECASE)


def golden_readings(row: Row, expected: Mapping[str, Any]) -> frozenset[str]:
    """Return the readings of a field of a golden file; none when the field has no value there.

    Raises:
        InvalidArgument: The value is none of the contract.
    """
    if "value" not in expected:
        return frozenset()
    try:
        field = ParseDict({"value": expected["value"]}, Field())
    except ParseError as error:
        raise row.wrong(f"the value of the field '{expected.get('name')}': {error}") from None
    # one of the readings of what is found must be the first reading here, not any of its parts
    return frozenset(_whole(readings(field)))


def nlupp_readings(row: Row, slot: str, expected: Any) -> frozenset[str]:
    """Return the readings of a slot of NLU++; none where it gives no absolute value."""
    try:
        return frozenset(_nlupp(slot, expected))
    except (KeyError, TypeError, ValueError) as error:
        raise row.wrong(f"the value of the slot '{slot}' cannot be read: {error!r}") from None


def recognizers_readings(result: Mapping[str, Any]) -> frozenset[str]:
    """Return the readings of a result of Recognizers-Text; any of those it lists is right."""
    return frozenset(_recognizers(result))


def _whole(found: frozenset[str]) -> Iterator[str]:
    kinds = {reading.partition(":")[0] for reading in found}
    parts = {"written"}
    if "date_time" in kinds:
        parts |= {"date", "time"}
    if "interval" in kinds:
        parts |= {"from", "to"}
    if "money" in kinds:
        parts |= {"amount", "minor"}
    return (reading for reading in found if reading.partition(":")[0] not in parts)


def _nlupp(slot: str, expected: Any) -> Iterator[str]:
    if isinstance(expected, Mapping) and expected.get("type") is not None:
        if slot == "date_period" and expected["type"] == "absolute":
            end = _day(expected["to"]) + timedelta(days=1)  # ours is not included
            yield f"interval:{_day(expected['from']).isoformat()}/{end.isoformat()}"
        return
    if slot == "amount_of_money":
        if expected["currency"] == "ambiguous":
            yield number_reading("amount", float(expected["amount"]))
        else:
            yield f"money:{expected['currency']}:{round(float(expected['amount']) * 100)}"
    elif slot.startswith("time"):
        yield f"time:{expected['hour']:02}:{expected['minute']:02}:00"
    elif slot.startswith("date"):
        day = _day(expected).isoformat()
        yield f"date:{day}"
        if slot in ("date_from", "date_to"):
            yield f"{slot.removeprefix('date_')}:{day}"
    elif isinstance(expected, str):
        kind = {"person_name": "person", "company_name": "organisation"}.get(slot, "keyword")
        yield f"{kind}:{expected.strip()}".lower()
    else:
        yield number_reading("number", float(expected))


def _day(parts: Mapping[str, int]) -> date:
    return date(parts["year"], parts["month"], parts["day"])


def _recognizers(result: Mapping[str, Any]) -> Iterator[str]:
    kind = result["typeName"]
    resolution = result.get("resolution") or {}
    value = resolution.get("value")
    if kind == "phonenumber":  # the set gives the number as written
        yield f"written:{result['text'].strip().lower()}"
    elif kind in _WRITTEN_TYPES and value is not None:
        yield f"{_WRITTEN_TYPES[kind]}:{value}".lower()
    elif kind == "ip" and value is not None:
        yield address_reading(str(value))
    elif kind == "currency":
        yield _amount(resolution)
    elif kind in _NUMBER_TYPES:
        try:
            yield number_reading(_NUMBER_TYPES[kind], float(str(value).rstrip("%")))
        except ValueError:
            yield UNRESOLVED
    for item in resolution.get("values", ()):
        yield from _moment(kind, result["text"], item)


def _amount(resolution: Mapping[str, Any]) -> str:
    """Return the reading of an amount: with its currency where the set gives a code of ISO 4217.

    It names most units only ("Dollar"), which are no currencies: then the amount alone is compared,
    of cents and pence the number of them, which the contract gives as minor units.
    """
    try:
        number = Decimal(str(resolution.get("value")))
    except InvalidOperation:
        return UNRESOLVED
    currency = resolution.get("isoCurrency")
    minor = number * 10 ** exponent_of(currency) if currency else number
    if minor == int(minor) and currency:
        return f"money:{currency}:{int(minor)}"
    if minor == int(minor) and resolution.get("unit") in _MINOR_UNITS:
        return f"minor:{int(minor)}"
    return number_reading("amount", float(number))


def _moment(kind: str, text: str, item: Mapping[str, Any]) -> Iterator[str]:
    value = item.get("value")
    if value == "not resolved":
        yield UNRESOLVED
    elif "start" in item or "end" in item:
        # an open end is two dots. Source: ISO 8601-2, section 8
        start, end = item.get("start", ".."), item.get("end", "..")
        if kind == "datetimeV2.daterange":
            end = _end_not_included(text, str(item.get("timex", "")), end)
        yield f"interval:{start}/{end}".replace(" ", "T")
    elif kind == "datetimeV2.duration":
        yield number_reading("duration", float(value or 0))
    elif kind in _TIME_TYPES and value is not None:
        yield f"{_TIME_TYPES[kind]}:{value}".replace(" ", "T")


def _end_not_included(text: str, timex: str, end: str) -> str:
    """Return the end of a range of days as the contract counts it.

    Of a range between two named points ("May 3 to 7", "2014-2018") the set gives the start of the
    last one as its end. The contract's end is not included, and the last day, month, quarter or year
    that is named belongs to the range: it ends one of them later. Every other range ("next 3 days")
    ends in both with what is not included.
    """
    text = _PART_OF_YEAR.sub(" ", text)
    between = _BETWEEN.fullmatch(timex)
    if between is None or not _JOINED.search(text) or _END_OF.search(text):
        return end
    last = date.fromisoformat(end)
    if between["unit"] == "D":
        return (last + timedelta(days=1)).isoformat()
    months = {"M": 1, "Y": 12}[between["unit"]]
    if _QUARTER.search(text):
        months = 3
    index = last.year * 12 + last.month - 1 + months
    return date(index // 12, index % 12 + 1, 1).isoformat()
