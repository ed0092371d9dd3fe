"""Writes values as readings: short strings that are equal when two values are.

An extractor's value has one or more readings, and so has what a data set gives; a value is right when
they share one. "The 5th at noon" reads as a date and as a time too; a range reads as its ends, because
sets mark the ends of a range as two dates. Knows values, and no data set.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from ipaddress import ip_address

from slmesh.api.extract.v1.extract_pb2 import Field, Money

__all__ = ["UNRESOLVED", "address_reading", "exponent_of", "number_reading", "readings"]

UNRESOLVED = "unresolved"
"""The reading of a field without a value."""

_EXPONENTS = {
    # of the former currencies those that had no smaller unit
    **dict.fromkeys(("ESP", "ITL", "LUF", "MGF", "TPE"), 0),
    **dict.fromkeys(("CLP", "ISK", "JPY", "KRW", "PYG", "RWF", "UGX", "VND", "XAF", "XOF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}
"""Digits after the decimal mark where they are not two. Source: ISO 4217, list one."""


def readings(field: Field) -> frozenset[str]:
    """Return all readings of a field that was found."""
    return frozenset(_readings(field))


def exponent_of(currency: str) -> int:
    """Return how many digits an amount of the currency has after the decimal mark."""
    return _EXPONENTS.get(currency, 2)


def number_reading(kind: str, number: float) -> str:
    """Return the reading of a number of some kind, to ten significant digits."""
    return f"{kind}:{number:.10g}"


def address_reading(address: str) -> str:
    """Return the reading of an IP address: the same for every way to write it."""
    try:
        return f"ip_address:{ip_address(address)}"
    except ValueError:
        return f"ip_address:{address}".lower()


def _readings(field: Field) -> Iterator[str]:
    # what a set gives as written, such as telephone numbers without a country
    yield f"written:{field.text.strip().lower()}"
    kind = field.value.WhichOneof("kind")
    if kind is None:
        yield UNRESOLVED
    elif kind == "money":
        yield from _money(field.value.money)
    elif kind == "date_time":
        moment = field.value.date_time
        yield f"date_time:{moment[:19]}"
        yield f"date:{moment[:10]}"
        yield f"time:{moment[11:19]}"
    elif kind == "interval":
        yield from _interval(field.value.interval)
    elif kind == "ip_address":
        yield address_reading(field.value.ip_address)
    elif kind == "duration":
        duration = field.value.duration
        yield number_reading(kind, duration.seconds + duration.nanos / 1e9)
    elif kind in ("number", "ordinal", "percentage"):
        yield number_reading(kind, getattr(field.value, kind))
    else:
        yield f"{kind}:{getattr(field.value, kind)}".lower()


def _money(money: Money) -> Iterator[str]:
    yield f"money:{money.currency_code}:{money.minor_units}"
    yield f"minor:{money.minor_units}"
    yield number_reading("amount", money.minor_units / 10 ** exponent_of(money.currency_code))


def _interval(interval: str) -> Iterator[str]:
    start, _, end = interval.partition("/")
    yield f"interval:{interval}"
    yield f"from:{start[:10]}"
    try:
        # the end is not included
        last = date.fromisoformat(end) - timedelta(days=1)
    except ValueError:  # an end with a time of day
        yield f"to:{end[:10]}"
    else:
        yield f"to:{last.isoformat()}"
