"""Which classes of data a guard's findings stand for."""

from __future__ import annotations

from slmesh.api.guard.v1 import guard_pb2

__all__ = ["SECRET_KINDS", "classes_found"]

SECRET_KINDS = frozenset(
    {"access_token", "api_key", "credential", "password", "private_key", "secret"}
)
"""Kinds of finding that open something, beside telling who somebody is."""


def classes_found(response: guard_pb2.ScreenResponse) -> frozenset[str]:
    """Return the classes of data that a guard has found.

    An injection is no data: it is a signal to the flow.
    """
    return frozenset(
        "secret" if finding.kind in SECRET_KINDS else "personal"
        for finding in response.findings
        if finding.check == guard_pb2.CHECK_TYPE_PERSONAL_DATA
    )
