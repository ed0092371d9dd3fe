"""Checks of a route request that its descriptor does not tell: ids, documents, locale, time zone.

What a bad value would do to one step is no reason to degrade an answer: the caller is told. Pure.
"""

from __future__ import annotations

import re
import uuid
from zoneinfo import ZoneInfo

from slmesh.api.route.v1 import route_pb2
from slmesh.mesh.errors import InvalidArgument

__all__ = ["MAX_DOCUMENTS", "check_request", "request_id_of"]

MAX_DOCUMENTS = 16

_LOCALE = re.compile(r"[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8})*")
_CURRENCY = re.compile(r"[A-Z]{3}")


def check_request(request: route_pb2.RouteRequest) -> None:
    """Check a request.

    Raises:
        InvalidArgument: A field is wrong; it is named.
    """
    if len(request.documents) > MAX_DOCUMENTS:
        raise InvalidArgument(
            f"the field 'documents' has {len(request.documents)} items, the limit is"
            f" {MAX_DOCUMENTS}",
            reason="TOO_MANY_ITEMS",
            field="documents",
            metadata={"limit": str(MAX_DOCUMENTS)},
        )
    for index, document in enumerate(request.documents):
        if not document:
            path = f"documents[{index}]"
            raise InvalidArgument(
                f"the field '{path}' is empty", reason="FIELD_REQUIRED", field=path
            )
    if request.locale and not _LOCALE.fullmatch(request.locale):
        raise _wrong("locale", "a BCP 47 language tag such as 'en-GB'", "INVALID_LOCALE")
    if request.default_currency and not _CURRENCY.fullmatch(request.default_currency):
        raise _wrong("default_currency", "an ISO 4217 code such as 'GBP'", "INVALID_CURRENCY")
    if request.time_zone:
        try:
            ZoneInfo(request.time_zone)
        except (ValueError, OSError, LookupError):
            raise _wrong(
                "time_zone", "an IANA name such as 'Europe/London'", "INVALID_TIME_ZONE"
            ) from None


def request_id_of(request: route_pb2.RouteRequest) -> str:
    """Return the caller's request id in its canonical form; empty when there is none.

    Raises:
        InvalidArgument: It is not a UUID.
    """
    if not request.request_id:
        return ""
    try:
        canonical = str(uuid.UUID(request.request_id))
    except ValueError:
        canonical = ""
    if canonical != request.request_id.lower():
        raise _wrong(
            "request_id",
            "a UUID such as '0d5c6f1e-8d0a-4f3e-9a50-2f1d3c1b7a11'",
            "INVALID_REQUEST_ID",
        )
    return canonical


def _wrong(field: str, wanted: str, reason: str) -> InvalidArgument:
    return InvalidArgument(f"the field '{field}' must be {wanted}", reason=reason, field=field)
