"""The statements of spending, made once: to build one takes longer than to run it.

Parameters that begin with ``of_`` find rows; the others are what is written.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, bindparam, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from slmesh.budgets.tables import RESERVATION, WINDOW

__all__ = [
    "ACTIVE",
    "CHANGE_WINDOW",
    "DEAD",
    "END",
    "END_ACTIVE",
    "NEWEST_WINDOWS",
    "OF_REQUEST",
    "RELEASED",
    "RENEW",
    "SETTLED",
    "UNDER_WAY",
    "changed",
    "open_window",
    "set_aside",
]

ACTIVE, SETTLED, RELEASED = "active", "settled", "released"
"""The states of a reservation."""

_COUNTED = (
    "demand",
    "answers",
    "requests",
    "tokens",
    "usd_micros",
    "reserved_tokens",
    "reserved_usd_micros",
)

_ENDED: dict[str, Any] = {
    name: bindparam(f"new_{name}") for name in ("state", "requests", "tokens", "usd_micros")
}

NEWEST_WINDOWS = (
    select(WINDOW)
    .where(WINDOW.c.scope == bindparam("of_scope"))
    .order_by(WINDOW.c.start_s.desc())
    .limit(2)
)
"""The two newest windows of a scope, the newest first."""

CHANGE_WINDOW = (
    update(WINDOW)
    .where(and_(WINDOW.c.scope == bindparam("of_scope"), WINDOW.c.start_s == bindparam("of_start")))
    .values({name: WINDOW.c[name] + bindparam(f"more_{name}") for name in _COUNTED})
    .returning(*WINDOW.c)
)
"""Adds to a window, see :func:`changed`, locks it, and returns it as it is then."""

OF_REQUEST = (
    select(RESERVATION).where(RESERVATION.c.id == bindparam("of_id")).order_by(RESERVATION.c.scope)
)
"""The reservations of a request."""

UNDER_WAY = (
    select(func.count())
    .select_from(RESERVATION)
    .where(RESERVATION.c.scope == bindparam("of_scope"), RESERVATION.c.state == ACTIVE)
)
"""How many answers of a scope are under way."""

RENEW = (
    update(RESERVATION)
    .where(RESERVATION.c.id == bindparam("of_id"))
    .values(expires_s=bindparam("new_expires_s"))
)
"""Gives the reservations of a request a new lease."""

END = (
    update(RESERVATION)
    .where(
        RESERVATION.c.id == bindparam("of_id"),
        RESERVATION.c.scope == bindparam("of_scope"),
    )
    .values(_ENDED)
)
"""Ends one reservation of a request."""

END_ACTIVE = (
    update(RESERVATION)
    .where(RESERVATION.c.id == bindparam("of_id"), RESERVATION.c.state == ACTIVE)
    .values(_ENDED)
    .returning(RESERVATION.c.scope, RESERVATION.c.start_s)
)
"""Ends the reservations of a request whose lease has not passed; returns their windows."""

DEAD = select(RESERVATION).where(
    RESERVATION.c.state == ACTIVE, RESERVATION.c.expires_s < bindparam("of_now")
)
"""Reservations whose lease has passed."""


def changed(scope: str, start_s: int, **more: int) -> dict[str, Any]:
    """Return the parameters of :data:`CHANGE_WINDOW`.

    Args:
        scope: The window's scope.
        start_s: When it begins.
        more: What is added to each column; nothing to those left out.
    """
    added = {f"more_{name}": more.get(name, 0) for name in _COUNTED}
    return {"of_scope": scope, "of_start": start_s, **added}


def open_window(dialect: str) -> Any:
    """Return the statement that makes a window's row unless there is one; takes its key."""
    return _insert(dialect)(WINDOW).on_conflict_do_nothing()


def set_aside(dialect: str) -> Any:
    """Return the statement that writes a reservation; takes all of its columns."""
    insert = _insert(dialect)(RESERVATION)
    keys = ("id", "scope")
    values = {
        column.name: insert.excluded[column.name]
        for column in RESERVATION.c
        if column.name not in keys
    }
    return insert.on_conflict_do_update(index_elements=list(keys), set_=values)


def _insert(dialect: str) -> Any:
    return (postgresql if dialect == "postgresql" else sqlite).insert
