"""The ledger's database: SQLite in a file, or PostgreSQL by its URL.

Every method does one transaction and blocks; callers put it in a thread. Times are microseconds since
the epoch.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from slmesh.ledger.schema import DECISIONS, DELETIONS, migrate
from slmesh.mesh.errors import FailedPrecondition

__all__ = ["Database", "Filter", "database_url", "driver_message"]

_BUSY_MS = 5_000
_CONNECT_S = 3
_PAGE = 500
_PURGE = 1_000
_READS = "slmesh_reads"


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which decisions are wanted; None is all.

    Attributes:
        tenant: Of this tenant.
        flow: Of this flow.
        path: That took this path, such as ``escalated``.
        since_us: Received at this time or later.
        before_us: Received before this time.
    """

    tenant: str | None = None
    flow: str | None = None
    path: str | None = None
    since_us: int | None = None
    before_us: int | None = None


def database_url(url: str, folder: Path) -> str:
    """Return the URL for SQLAlchemy.

    Args:
        url: ``SLMESH_LEDGER_URL``; the file ``ledger.sqlite3`` of the folder when empty.
        folder: The ledger's folder.

    Raises:
        FailedPrecondition: The URL names no database the ledger can use.
    """
    if not url:
        return f"sqlite:///{folder.resolve() / 'ledger.sqlite3'}"
    scheme, separator, rest = url.partition("://")
    if separator and scheme in ("postgresql", "postgres", "postgresql+psycopg"):
        return f"postgresql+psycopg://{rest}"
    if separator and scheme == "sqlite":
        return url
    raise FailedPrecondition(
        "setting SLMESH_LEDGER_URL must be a URL like postgresql://user:password@host/name or"
        " sqlite:////folder/file, or none; its scheme is"
        f" '{scheme if separator else ''}'",
        reason="INVALID_SETTING",
    )


def driver_message(error: Exception) -> str:
    """Return the first line a driver says, without the statement and its values."""
    cause = getattr(error, "orig", None) or error
    return str(cause).partition("\n")[0]


class Database:
    """A database of decisions; connections are made when they are needed.

    Args:
        url: The URL, from :func:`database_url`.
    """

    def __init__(self, url: str) -> None:
        try:
            parsed = sa.make_url(url)
        except sa.exc.ArgumentError:
            raise FailedPrecondition(
                "setting SLMESH_LEDGER_URL is no URL", reason="INVALID_SETTING"
            ) from None
        self._is_sqlite = parsed.get_backend_name() == "sqlite"
        if self._is_sqlite:
            if parsed.database:
                Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
            self._engine = sa.create_engine(
                parsed,
                connect_args={"timeout": _BUSY_MS / 1e3},
                pool_reset_on_return=None,  # every transaction has ended by then
            )
            sa.event.listen(self._engine, "connect", _prepare_sqlite)
            sa.event.listen(self._engine, "begin", _begin_sqlite)
        else:
            self._engine = sa.create_engine(
                parsed,
                pool_size=2,
                pool_pre_ping=True,
                connect_args={
                    "connect_timeout": _CONNECT_S,
                    "options": f"-c statement_timeout={_BUSY_MS} -c lock_timeout={_BUSY_MS}",
                },
            )
        self._reads = self._engine.execution_options(**{_READS: True})
        self._turn = threading.Lock()
        self._migrated = False

    @property
    def engine(self) -> sa.Engine:
        """The engine, for the other tables of the database."""
        return self._engine

    def prepare(self) -> None:
        """Bring the schema up to date, once.

        Raises:
            FailedPrecondition: A newer version has changed the database.
            sqlalchemy.exc.SQLAlchemyError: The database cannot be used.
        """
        with self._turn:
            if not self._migrated:
                migrate(self._engine)
                self._migrated = True

    def ping(self) -> None:
        """Ask the database for a sign of life.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: There is none.
        """
        with self._reads.connect() as connection:
            connection.execute(sa.select(1))

    def insert(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Store rows; one whose decision is there already, or whose subject was deleted, is not."""
        dialect = sqlite if self._is_sqlite else postgresql
        statement = dialect.insert(DECISIONS).on_conflict_do_nothing(
            index_elements=[DECISIONS.c.decision_id]
        )
        subjects = {row["subject_digest"] for row in rows} - {""}
        with self._engine.begin() as connection:
            deleted: dict[str, int] = {}
            if subjects:
                found = connection.execute(
                    sa.select(DELETIONS.c.subject_digest, sa.func.max(DELETIONS.c.delete_time_us))
                    .where(DELETIONS.c.subject_digest.in_(subjects))
                    .group_by(DELETIONS.c.subject_digest)
                )
                deleted = {digest: time_us for digest, time_us in found}  # noqa: C416 -- typed rows
            kept = [
                row
                for row in rows
                if row["create_time_us"] > deleted.get(row["subject_digest"], -1)
            ]
            if kept:
                connection.execute(statement, kept)

    def by_decision(self, decision_id: str, tenant: str | None = None) -> bytes | None:
        """Return a record by the decision's id."""
        wanted = sa.select(DECISIONS.c.record).where(DECISIONS.c.decision_id == decision_id)
        if tenant is not None:
            wanted = wanted.where(DECISIONS.c.tenant == tenant)
        return self._one(wanted)

    def by_request(self, tenant: str, request_id: str) -> bytes | None:
        """Return the first record of a request."""
        return self._one(
            sa.select(DECISIONS.c.record)
            .where(DECISIONS.c.tenant == tenant, DECISIONS.c.request_id == request_id)
            .order_by(DECISIONS.c.create_time_us)
            .limit(1)
        )

    def rows(self, wanted: Filter, limit: int | None = None) -> Iterator[Mapping[str, Any]]:
        """Yield rows without their records, the newest first."""
        columns = [column for column in DECISIONS.c if column.name != "record"]
        yield from self._pages(sa.select(*columns), wanted, limit)

    def records(self, wanted: Filter, limit: int | None = None) -> Iterator[bytes]:
        """Yield records, the newest first."""
        columns = (DECISIONS.c.record, DECISIONS.c.create_time_us, DECISIONS.c.decision_id)
        for row in self._pages(sa.select(*columns), wanted, limit):
            yield row["record"]

    def count(self, wanted: Filter) -> int:
        """Return how many decisions there are."""
        query = _matching(sa.select(sa.func.count()).select_from(DECISIONS), wanted)
        with self._reads.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def delete_subject(self, digest: str, now_us: int) -> int:
        """Delete the records of a subject, and what of them still comes; return how many."""
        with self._engine.begin() as connection:
            connection.execute(
                sa.insert(DELETIONS), {"subject_digest": digest, "delete_time_us": now_us}
            )
            gone = connection.execute(
                sa.delete(DECISIONS).where(DECISIONS.c.subject_digest == digest)
            )
            return int(gone.rowcount)

    def deletions(self, after: int) -> Sequence[tuple[int, str, int]]:
        """Return number, subject and time of the deletions after a number."""
        query = (
            sa.select(DELETIONS.c.number, DELETIONS.c.subject_digest, DELETIONS.c.delete_time_us)
            .where(DELETIONS.c.number > after)
            .order_by(DELETIONS.c.number)
        )
        with self._reads.connect() as connection:
            found = connection.execute(query)
            return [(row.number, row.subject_digest, row.delete_time_us) for row in found]

    def purge(self, now_us: int) -> int:
        """Delete some of the records whose time is over; return how many."""
        over = (
            sa.select(DECISIONS.c.decision_id)
            .where(DECISIONS.c.expire_time_us <= now_us)
            .limit(_PURGE)
        )
        with self._engine.begin() as connection:
            gone = connection.execute(
                sa.delete(DECISIONS).where(DECISIONS.c.decision_id.in_(over.scalar_subquery()))
            )
            return int(gone.rowcount)

    def close(self) -> None:
        """Let connections go."""
        self._engine.dispose()

    def _one(self, query: sa.Select[Any]) -> bytes | None:
        with self._reads.connect() as connection:
            found = connection.execute(query).scalar_one_or_none()
        return None if found is None else bytes(found)

    def _pages(
        self, query: sa.Select[Any], wanted: Filter, limit: int | None
    ) -> Iterator[Mapping[str, Any]]:
        """Yield rows page by page, so that a long read holds no transaction open."""
        time_us, name = DECISIONS.c.create_time_us, DECISIONS.c.decision_id
        query = _matching(query, wanted).order_by(time_us.desc(), name.desc())
        last: tuple[int, str] | None = None
        left = limit
        while left is None or left > 0:
            page = query.limit(_PAGE if left is None else min(_PAGE, left))
            if last is not None:
                page = page.where(sa.tuple_(time_us, name) < sa.tuple_(*map(sa.literal, last)))
            with self._reads.connect() as connection:
                found = connection.execute(page).mappings().all()
            for row in found:
                yield dict(row)
            if len(found) < _PAGE:
                return
            last = (found[-1]["create_time_us"], found[-1]["decision_id"])
            left = None if left is None else left - len(found)


def _matching(query: sa.Select[Any], wanted: Filter) -> sa.Select[Any]:
    for column, value in (
        (DECISIONS.c.tenant, wanted.tenant),
        (DECISIONS.c.flow, wanted.flow),
        (DECISIONS.c.path, wanted.path),
    ):
        if value is not None:
            query = query.where(column == value)
    if wanted.since_us is not None:
        query = query.where(DECISIONS.c.create_time_us >= wanted.since_us)
    if wanted.before_us is not None:
        query = query.where(DECISIONS.c.create_time_us < wanted.before_us)
    return query


def _prepare_sqlite(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # the driver begins no transaction of its own: see below
    cursor = connection.cursor()
    # FULL: what the spool lets go must not be lost with the last pages of the write-ahead log
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={_BUSY_MS}"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    # schema changes too belong to a transaction, and a write that begins as a read could not wait
    # for another writer
    reads = connection.get_execution_options().get(_READS, False)
    statement = "BEGIN" if reads else "BEGIN IMMEDIATE"
    driver = connection.connection.dbapi_connection
    assert driver is not None
    try:
        driver.cursor().execute(statement)  # by SQLAlchemy's own way it takes ten times as long
    except sqlite3.Error as error:
        raise sa.exc.DBAPIError.instance(statement, None, error, sqlite3.Error) from error
