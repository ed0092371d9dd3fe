"""Turns the values that data sets give into readings, see :mod:`slmesh.evaluation.values`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any

from google.protobuf.json_format import ParseDict, ParseError

from slmesh.api.extract.v1.extract_pb2 import Field
from slmesh.evaluation.rows import Row
from slmesh.evaluation.values import UNRESOLVED, number_reading, readings

__all__ = ["golden_readings", "nlupp_readings", "recognizers_readings"]

_WRITTEN_TYPES = {"email": "email", "url": "url", "ip": "ip_address"}
_NUMBER_TYPES = {
    "number": "number",
    "ordinal": "ordinal",
    "percentage": "percentage",
    # the set names units ("Dollar"), which are no currencies: the amount alone is compared
    "currency": "amount",
}
_TIME_TYPES = {
    "datetimeV2.date": "date",
    "datetimeV2.time": "time",
    "datetimeV2.datetime": "date_time",
}


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
        parts |= {"amount"}
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
    elif kind in _NUMBER_TYPES:
        try:
            yield number_reading(_NUMBER_TYPES[kind], float(str(value).rstrip("%")))
        except ValueError:
            yield UNRESOLVED
    for item in resolution.get("values", ()):
        yield from _moment(kind, item)


def _moment(kind: str, item: Mapping[str, Any]) -> Iterator[str]:
    value = item.get("value")
    if value == "not resolved":
        yield UNRESOLVED
    elif "start" in item or "end" in item:
        # an open end is two dots. Source: ISO 8601-2, section 8
        start, end = item.get("start", ".."), item.get("end", "..")
        yield f"interval:{start}/{end}".replace(" ", "T")
    elif kind == "datetimeV2.duration":
        yield number_reading("duration", float(value or 0))
    elif kind in _TIME_TYPES and value is not None:
        yield f"{_TIME_TYPES[kind]}:{value}".replace(" ", "T")
