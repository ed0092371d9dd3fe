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

from sqlalchemy import Connection, Engine, Row, and_, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from slmesh.budgets.amounts import Amount, Limit
from slmesh.budgets.tables import RESERVATION, WINDOW

__all__ = ["Exhausted", "Reservation", "Spending", "WindowState"]

_ACTIVE, _SETTLED, _RELEASED = "active", "settled", "released"
_SWEPT = 100
"""Dead reservations released by one call: more would keep it waiting."""


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
        dialect = postgresql if engine.dialect.name == "postgresql" else sqlite
        self._insert = dialect.insert

    def demand(self, limits: Mapping[str, Limit]) -> dict[str, WindowState]:
        """Count one request that wants the reasoner, and return the state of its budgets.

        Args:
            limits: The budgets it counts against, by scope.
        """
        self._sweep()
        with self._transaction() as connection:
            now_s = self._now_s()
            states = {}
            for scope, limit in sorted(limits.items()):
                start_s = self._window(connection, scope, limit, now_s)
                row = connection.execute(
                    update(WINDOW)
                    .where(*_of(scope, start_s))
                    .values(demand=WINDOW.c.demand + 1)
                    .returning(*WINDOW.c)
                ).one()
                last = connection.execute(
                    select(WINDOW).where(*_of(scope, start_s - limit.window_s))
                ).one_or_none()
                states[scope] = _state(row, last, limit, now_s)
            return states

    def reserve(
        self, id: str, amount: Amount, limits: Mapping[str, Limit], lease_s: float
    ) -> Reservation:
        """Set aside the most that the answer to a request may take.

        A repeat of a request that has a reservation gets that one, with a new lease; of one that
        was settled, it gets one that takes nothing.

        Args:
            id: The request's, unique for all tenants.
            amount: The most.
            limits: The budgets it counts against, by scope.
            lease_s: Seconds after which it is released unless it was settled.

        Raises:
            Exhausted: One of the budgets does not hold it; nothing was set aside.
        """
        self._sweep()
        with self._transaction() as connection:
            now_s = self._now_s()
            starts = {
                scope: self._window(connection, scope, limit, now_s)
                for scope, limit in sorted(limits.items())
            }
            known = self._known(connection, id, now_s + lease_s)
            if known is not None:
                return known
            for scope, start_s in starts.items():
                self._take(connection, scope, start_s, limits[scope], amount, now_s)
                values = {"id": id, "scope": scope, "start_s": start_s, "state": _ACTIVE}
                values |= {"expires_s": now_s + lease_s} | vars(amount)
                insert = self._insert(RESERVATION).values(**values)
                connection.execute(
                    insert.on_conflict_do_update(index_elements=["id", "scope"], set_=values)
                )
            return Reservation(id, amount)

    def settle(self, reservation: Reservation, actual: Amount) -> None:
        """Put what an answer really took in the place of what was set aside for it.

        A reservation whose lease has passed is settled too: the answer was given, so it is paid for.
        """
        self._end(reservation.id, _SETTLED, actual)

    def release(self, reservation: Reservation) -> None:
        """Give back what was set aside; the reasoner was not used."""
        self._end(reservation.id, _RELEASED, Amount())

    def _end(self, id: str, state: str, actual: Amount) -> None:
        with self._transaction() as connection:
            rows = connection.execute(
                select(RESERVATION).where(RESERVATION.c.id == id).order_by(RESERVATION.c.scope)
            ).all()
            for row in rows:
                if row.state == _SETTLED:
                    continue
                reserved = _amount(row) if row.state == _ACTIVE else Amount()
                self._end_one(connection, row, state, reserved, actual)

    def _end_one(
        self, connection: Connection, row: Row[Any], state: str, reserved: Amount, actual: Amount
    ) -> None:
        change = actual - reserved
        paid = state == _SETTLED
        connection.execute(
            update(WINDOW)
            .where(*_of(row.scope, row.start_s))
            .values(
                requests=WINDOW.c.requests + change.requests,
                tokens=WINDOW.c.tokens + change.tokens,
                usd_micros=WINDOW.c.usd_micros + change.usd_micros,
                reserved_tokens=WINDOW.c.reserved_tokens - reserved.tokens,
                reserved_usd_micros=WINDOW.c.reserved_usd_micros - reserved.usd_micros,
                answers=WINDOW.c.answers + int(paid),
            )
        )
        connection.execute(
            update(RESERVATION)
            .where(RESERVATION.c.id == row.id, RESERVATION.c.scope == row.scope)
            .values(state=state, **vars(actual))
        )

    def _known(self, connection: Connection, id: str, expires_s: float) -> Reservation | None:
        rows = connection.execute(select(RESERVATION).where(RESERVATION.c.id == id)).all()
        if any(row.state == _SETTLED for row in rows):
            return Reservation(id, Amount(), settled=True)
        if not rows or any(row.state != _ACTIVE for row in rows):
            return None
        connection.execute(
            update(RESERVATION).where(RESERVATION.c.id == id).values(expires_s=expires_s)
        )
        return Reservation(id, _amount(rows[0]))

    def _take(
        self,
        connection: Connection,
        scope: str,
        start_s: int,
        limit: Limit,
        amount: Amount,
        now_s: float,
    ) -> None:
        row = connection.execute(
            update(WINDOW)
            .where(*_of(scope, start_s))
            .values(
                requests=WINDOW.c.requests + amount.requests,
                tokens=WINDOW.c.tokens + amount.tokens,
                usd_micros=WINDOW.c.usd_micros + amount.usd_micros,
                reserved_tokens=WINDOW.c.reserved_tokens + amount.tokens,
                reserved_usd_micros=WINDOW.c.reserved_usd_micros + amount.usd_micros,
            )
            .returning(*WINDOW.c)
        ).one()
        quantity = limit.exceeded(_amount(row))
        if quantity:
            ends_s = start_s + limit.window_s
            raise Exhausted(scope, quantity, getattr(limit, quantity), max(ends_s - now_s, 1.0))
        if limit.concurrent is not None:
            # the row of the window is locked by now, so nobody counts beside us
            under_way = connection.execute(
                select(func.count())
                .select_from(RESERVATION)
                .where(RESERVATION.c.scope == scope, RESERVATION.c.state == _ACTIVE)
            ).scalar_one()
            if under_way >= limit.concurrent:
                raise Exhausted(scope, "concurrent", limit.concurrent, 1.0)

    def _window(self, connection: Connection, scope: str, limit: Limit, now_s: float) -> int:
        """Return the start of the present window, and make its row."""
        start_s = int(now_s // limit.window_s) * limit.window_s
        latest = connection.execute(
            select(func.max(WINDOW.c.start_s)).where(WINDOW.c.scope == scope)
        ).scalar_one()
        if latest is not None and latest > start_s:
            return int(latest)  # the clock was set back: what is spent stays spent
        connection.execute(
            self._insert(WINDOW).values(scope=scope, start_s=start_s).on_conflict_do_nothing()
        )
        return start_s

    def _sweep(self) -> None:
        """Release reservations whose time has passed.

        In a transaction of its own, because it locks windows in an order of its own.
        """
        self._prepare()
        now_s = self._now_s()
        dead = select(RESERVATION).where(
            RESERVATION.c.state == _ACTIVE, RESERVATION.c.expires_s < now_s
        )
        with self._engine.connect() as connection:
            if connection.execute(dead.limit(1)).first() is None:
                return
        with self._transaction() as connection:
            rows = connection.execute(
                dead.order_by(RESERVATION.c.scope).limit(_SWEPT).with_for_update(skip_locked=True)
            ).all()
            for row in rows:
                self._end_one(connection, row, _RELEASED, _amount(row), Amount())

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        self._prepare()
        with self._engine.begin() as connection:
            yield connection


def _of(scope: str, start_s: int) -> tuple[Any, ...]:
    return (and_(WINDOW.c.scope == scope, WINDOW.c.start_s == start_s),)


def _amount(row: Row[Any]) -> Amount:
    return Amount(row.requests, row.tokens, row.usd_micros)


def _state(row: Row[Any], last: Row[Any] | None, limit: Limit, now_s: float) -> WindowState:
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
        used=_amount(row),
        demand=row.demand,
        last_demand=None if last is None else last.demand,
        mean=mean,
    )
