"""Durable spending: the most an answer may take is reserved before the call, and settled after it.

All routers of a mesh share one database, so neither a restart nor a second router resets a budget.
Every change is one transaction, and a reservation changes all budgets it counts against or none. A
reservation that is neither settled nor released, because its router died, is released when its time
has passed. It blocks: asynchronous callers run it in a thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Row

from slmesh.budgets.amounts import Amount, Limit
from slmesh.budgets.statements import (
    ACTIVE,
    CHANGE_WINDOW,
    DEAD,
    END,
    END_ACTIVE,
    NEWEST_WINDOWS,
    OF_REQUEST,
    RELEASED,
    RENEW,
    SETTLED,
    UNDER_WAY,
    changed,
    open_window,
    set_aside,
)
from slmesh.budgets.tables import RESERVATION

__all__ = ["Exhausted", "Reservation", "Spending", "WindowState"]

_SWEPT = 100
"""Dead reservations released by one call: more would keep it waiting."""

_SWEEP_S = 1.0
"""How often one router looks for them; their leases are tens of seconds long."""


@dataclass(frozen=True)
class Reservation:
    """What was set aside for one request.

    Attributes:
        id: The request's, unique for all tenants.
        amount: The most its answer may take; nothing when it was settled before.
        settled: Whether this request has been paid for already: a repeat, which spends nothing.
    """

    id: str
    amount: Amount
    settled: bool = False


@dataclass(frozen=True)
class WindowState:
    """One budget in its present window.

    Attributes:
        scope: The budget's scope.
        start_s: When the window began, seconds since 1970.
        elapsed: The part of it that is over, in [0, 1].
        used: What is spent and reserved.
        demand: Requests that wanted the reasoner so far.
        last_demand: Those of the window before; None when nothing is known of it.
        mean: The mean size of an answer in both windows; None before the first answer.
    """

    scope: str
    start_s: int
    elapsed: float
    used: Amount
    demand: int
    last_demand: int | None
    mean: Amount | None


class Exhausted(Exception):
    """A budget does not hold what a request may take.

    Attributes:
        scope: Which budget.
        quantity: Of what there is too little: ``requests``, ``tokens``, ``usd_micros`` or
            ``concurrent``.
        limit: What the budget allows.
        retry_s: Seconds until the window ends; 1 for ``concurrent``.
    """

    def __init__(self, scope: str, quantity: str, limit: int, retry_s: float) -> None:
        super().__init__(f"{scope} allows {limit} {quantity}")
        self.scope, self.quantity, self.limit, self.retry_s = scope, quantity, limit, retry_s


class Spending:
    """Reserves, settles and releases.

    Args:
        engine: The ledger's database, whose SQLite transactions begin as writes.
        now_s: Seconds since 1970. A window never goes back, whatever the clock does.
        prepare: Makes the tables where they are missing; called before each use.
    """

    def __init__(
        self,
        engine: Engine,
        now_s: Callable[[], float] = time.time,
        *,
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        self._engine = engine
        self._prepare = prepare
        self._now_s = now_s
        self._open_window = open_window(engine.dialect.name)
        self._set_aside = set_aside(engine.dialect.name)
        self._swept_s = float("-inf")

    def reserve(
        self,
        id: str,
        amount: Amount,
        limits: Mapping[str, Limit],
        lease_s: float,
        wanted: Callable[[Mapping[str, WindowState]], bool] = lambda windows: True,
    ) -> Reservation | None:
        """Count a request that wants the reasoner, and set aside the most its answer may take.

        A repeat of a request that has a reservation gets that one, with a new lease; of one that
        was settled, it gets one that takes nothing.

        Args:
            id: The request's, unique for all tenants.
            amount: The most.
            limits: The budgets it counts against, by scope.
            lease_s: Seconds after which it is released unless it was settled.
            wanted: Is told how the budgets stand, this request counted, and returns whether
                anything is to be set aside.

        Returns:
            The reservation; None when it is not wanted.

        Raises:
            Exhausted: One of the budgets does not hold it; nothing was set aside.
        """
        now_s = self._now_s()
        self._sweep(now_s)
        with self._transaction() as connection:
            known = _known(connection, id, now_s + lease_s)
            # what most requests get is taken at once, and given back where it may not be
            taken = Amount() if known else amount
            states = {
                scope: self._counted(connection, scope, limit, taken, now_s)
                for scope, limit in sorted(limits.items())
            }
            is_wanted = wanted(states)
            if is_wanted and known is not None:
                return known
            refused = _first_over(connection, states, limits, amount, now_s) if is_wanted else None
            if is_wanted and refused is None:
                for state in states.values():
                    self._write(connection, id, state, amount, now_s + lease_s)
                return Reservation(id, amount)
            for state in states.values():
                connection.execute(
                    CHANGE_WINDOW, _reserving(state.scope, state.start_s, Amount() - taken)
                )
        if refused is not None:  # here, so that the request is counted all the same
            raise refused
        return None

    def settle(self, reservation: Reservation, actual: Amount) -> None:
        """Put what an answer really took in the place of what was set aside for it.

        A reservation whose lease has passed is settled too: the answer was given, so it is paid for.
        """
        self._end(reservation, SETTLED, actual)

    def release(self, reservation: Reservation) -> None:
        """Give back what was set aside; the reasoner was not used."""
        self._end(reservation, RELEASED, Amount())

    def _counted(
        self, connection: Connection, scope: str, limit: Limit, taken: Amount, now_s: float
    ) -> WindowState:
        """Count a request in the present window, take an amount, and lock the window's row.

        Returns:
            How the window stood before the amount was taken.
        """
        start_s = int(now_s // limit.window_s) * limit.window_s
        newest = connection.execute(NEWEST_WINDOWS, {"of_scope": scope}).all()
        if not newest or newest[0].start_s < start_s:
            connection.execute(self._open_window, {"scope": scope, "start_s": start_s})
        else:  # a later one when the clock was set back: what is spent stays spent
            start_s = newest[0].start_s
        change = _reserving(scope, start_s, taken) | {"more_demand": 1}
        row = connection.execute(CHANGE_WINDOW, change).one()
        before_s = start_s - limit.window_s
        last = next((one for one in newest if one.start_s == before_s), None)
        return _state(row, last, limit, taken, now_s)

    def _write(
        self, connection: Connection, id: str, state: WindowState, amount: Amount, expires_s: float
    ) -> None:
        values = {"id": id, "scope": state.scope, "start_s": state.start_s, "state": ACTIVE}
        connection.execute(self._set_aside, {**values, "expires_s": expires_s, **vars(amount)})

    def _end(self, reservation: Reservation, state: str, actual: Amount) -> None:
        ended = _ended(reservation.id, state, actual)
        with self._transaction() as connection:
            active = connection.execute(END_ACTIVE, ended).all()
            for row in sorted(active):  # windows are locked in the order of their scopes
                change = _ending(row, state, reservation.amount, actual)
                connection.execute(CHANGE_WINDOW, change)
            if active:
                return
            for row in connection.execute(OF_REQUEST, {"of_id": reservation.id}).all():
                if row.state != SETTLED:
                    _end_one(connection, row, state, Amount(), actual)

    def _sweep(self, now_s: float) -> None:
        """Release reservations whose time has passed.

        In a transaction of its own, because it locks windows in an order of its own.
        """
        if 0 <= now_s - self._swept_s < _SWEEP_S:
            return
        self._prepare()
        with self._engine.connect() as connection:
            dead = connection.execute(DEAD.limit(1), {"of_now": now_s}).first()
        if dead is not None:
            with self._transaction() as connection:
                rows = connection.execute(
                    DEAD.order_by(RESERVATION.c.scope)
                    .limit(_SWEPT)
                    .with_for_update(skip_locked=True),
                    {"of_now": now_s},
                ).all()
                for row in rows:
                    _end_one(connection, row, RELEASED, _amount(row), Amount())
                if len(rows) == _SWEPT:
                    return  # there may be more, for the next call
        self._swept_s = now_s

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        self._prepare()
        with self._engine.begin() as connection:
            yield connection


def _known(connection: Connection, id: str, expires_s: float) -> Reservation | None:
    """Return the reservation that a request has already, with a new lease."""
    rows = connection.execute(OF_REQUEST, {"of_id": id}).all()
    if any(row.state == SETTLED for row in rows):
        return Reservation(id, Amount(), settled=True)
    if not rows or any(row.state != ACTIVE for row in rows):
        return None
    connection.execute(RENEW, {"of_id": id, "new_expires_s": expires_s})
    return Reservation(id, _amount(rows[0]))


def _first_over(
    connection: Connection,
    states: Mapping[str, WindowState],
    limits: Mapping[str, Limit],
    amount: Amount,
    now_s: float,
) -> Exhausted | None:
    """Return why one of the budgets does not hold an amount more, or None."""
    for scope, state in states.items():
        over = _over(connection, state, limits[scope], amount, now_s)
        if over is not None:
            return over
    return None


def _over(
    connection: Connection, state: WindowState, limit: Limit, amount: Amount, now_s: float
) -> Exhausted | None:
    """Return why a budget does not hold an amount more, or None."""
    quantity = limit.exceeded(state.used + amount)
    if quantity:
        ends_s = state.start_s + limit.window_s
        return Exhausted(state.scope, quantity, getattr(limit, quantity), max(ends_s - now_s, 1.0))
    if limit.concurrent is not None:
        # the row of the window is locked by now, so nobody counts beside us
        under_way = connection.execute(UNDER_WAY, {"of_scope": state.scope}).scalar_one()
        if under_way >= limit.concurrent:
            return Exhausted(state.scope, "concurrent", limit.concurrent, 1.0)
    return None


def _end_one(
    connection: Connection, row: Row[Any], state: str, reserved: Amount, actual: Amount
) -> None:
    connection.execute(CHANGE_WINDOW, _ending(row, state, reserved, actual))
    connection.execute(END, _ended(row.id, state, actual) | {"of_scope": row.scope})


def _reserving(scope: str, start_s: int, amount: Amount) -> dict[str, Any]:
    """Return the change of a window in which an amount is reserved."""
    return changed(
        scope,
        start_s,
        reserved_tokens=amount.tokens,
        reserved_usd_micros=amount.usd_micros,
        **vars(amount),
    )


def _ending(row: Row[Any], state: str, reserved: Amount, actual: Amount) -> dict[str, Any]:
    """Return the change of a window in which a reservation ends."""
    return changed(
        row.scope,
        row.start_s,
        answers=int(state == SETTLED),
        reserved_tokens=-reserved.tokens,
        reserved_usd_micros=-reserved.usd_micros,
        **vars(actual - reserved),
    )


def _ended(id: str, state: str, actual: Amount) -> dict[str, Any]:
    """Return the parameters of a reservation that ends."""
    values = {f"new_{name}": value for name, value in vars(actual).items()}
    return {"of_id": id, "new_state": state, **values}


def _amount(row: Row[Any]) -> Amount:
    return Amount(row.requests, row.tokens, row.usd_micros)


def _state(
    row: Row[Any], last: Row[Any] | None, limit: Limit, taken: Amount, now_s: float
) -> WindowState:
    # what is reserved and not settled says nothing of how long answers are
    answers = row.answers + (last.answers if last is not None else 0)
    tokens = row.tokens - row.reserved_tokens
    usd_micros = row.usd_micros - row.reserved_usd_micros
    if last is not None:
        tokens += last.tokens - last.reserved_tokens
        usd_micros += last.usd_micros - last.reserved_usd_micros
    mean = Amount(1, tokens // answers, usd_micros // answers) if answers else None
    return WindowState(
        scope=row.scope,
        start_s=row.start_s,
        elapsed=min(max((now_s - row.start_s) / limit.window_s, 0.0), 1.0),
        used=_amount(row) - taken,
        demand=row.demand,
        last_demand=None if last is None else last.demand,
        mean=mean,
    )
