"""Reads what a request says about the writer of its text: locale, time zone, currency, moment."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from slmesh.api.extract.v1.extract_pb2 import ExtractRequest
from slmesh.mesh.errors import InvalidArgument
from slmesh.recognise import Context, is_currency, writing

__all__ = ["context_of"]

_DEFAULT_LOCALE = "en-GB"
_DEFAULT_TIME_ZONE = "UTC"
_YEARS = range(1900, 2200)
"""Years that a reference time may lie in: dates are counted from it in both directions."""


def context_of(request: ExtractRequest) -> Context:
    """Return what the request says about its writer, defaults filled in.

    Raises:
        InvalidArgument: a value is not one; the field is named.
    """
    locale = request.locale or _DEFAULT_LOCALE
    try:
        writing(locale)
    except ValueError as error:
        raise InvalidArgument(str(error), reason="UNKNOWN_LOCALE", field="locale") from error
    zone = request.time_zone or _DEFAULT_TIME_ZONE
    if not _is_time_zone(zone):
        raise InvalidArgument(
            f"time zone '{zone[:60]}' is not an IANA name such as 'Europe/London'",
            reason="UNKNOWN_TIME_ZONE",
            field="time_zone",
        )
    currency = request.default_currency
    if currency and not is_currency(currency):
        raise InvalidArgument(
            f"currency '{currency[:60]}' is not an ISO 4217 code such as 'GBP'",
            reason="UNKNOWN_CURRENCY",
            field="default_currency",
        )
    return Context(locale, zone, currency, _reference(request))


def _reference(request: ExtractRequest) -> datetime:
    if not request.HasField("reference_time"):
        return datetime.now(UTC)
    try:
        reference = request.reference_time.ToDatetime(UTC)
    except (ValueError, OverflowError):
        reference = None
    if reference is None or reference.year not in _YEARS:
        raise InvalidArgument(
            f"reference_time must lie in the years {_YEARS.start} to {_YEARS.stop - 1}",
            reason="REFERENCE_TIME_OUT_OF_RANGE",
            field="reference_time",
        )
    return reference


@lru_cache(maxsize=256)
def _is_time_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        return False
    return True
