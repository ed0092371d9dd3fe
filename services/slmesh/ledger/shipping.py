"""Ships records from the spool to the database, in a thread of its own.

It takes small batches and pauses between them, so that the process it lives in goes on answering.
While the database is away it keeps trying, and the spool grows; a record the database refuses is set
aside, so that it does not hold up the others.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from slmesh.ledger.database import Database, driver_message
from slmesh.ledger.frames import framed
from slmesh.ledger.rows import row_of
from slmesh.ledger.spool import Spool
from slmesh.mesh.errors import MeshError
from slmesh.mesh.metrics import Metrics

__all__ = ["Shipper"]

_log = logging.getLogger(__name__)

_BATCH = 64
_PAUSE_S = 0.005
_GATHER_S = 0.1
_RETIRE_S = 60.0
_DELETIONS_EVERY_S = 2.0
_PURGE_EVERY_S = 600.0
_RETRIES_S = (0.2, 0.5, 1.0, 2.0, 5.0)

OnHealth = Callable[[bool], None]
OnDeleted = Callable[[Mapping[str, int]], None]


class Shipper:
    """Ships what is in a spool.

    Args:
        spool: The spool.
        database: Where records go.
        aside: The file for records that the database refuses.
        orphans: Returns a spool that a dead process left behind, or None; each is emptied once.
        metrics: Where shipping is counted.
        on_health: Is told, in the thread, when the database goes away or comes back.
        on_deleted: Is told, in the thread, which subjects' records were deleted, by digest, and
            when, in microseconds since the epoch.
    """

    def __init__(
        self,
        spool: Spool,
        database: Database,
        *,
        aside: Path,
        orphans: Callable[[], Spool | None],
        metrics: Metrics,
        on_health: OnHealth,
        on_deleted: OnDeleted,
    ) -> None:
        self._spool = spool
        self._database = database
        self._aside = aside
        self._orphans = orphans
        self._metrics = metrics
        self._on_health = on_health
        self._on_deleted = on_deleted
        self._closing = threading.Event()
        self._stop = threading.Event()
        self._healthy: bool | None = None
        self._failures = 0
        self._deletions_seen = 0
        self._due_s: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run, name="ledger-ship", daemon=True)

    def start(self) -> None:
        """Begin to ship."""
        self._thread.start()

    def close(self, within_s: float) -> int:
        """Ship what is left and stop; returns the bytes that could not be shipped.

        Args:
            within_s: Seconds there are for it. A database that is away is not waited for.
        """
        self._closing.set()
        end_s = time.monotonic() + within_s
        while self._healthy is not False and self._spool.waiting_bytes:
            if time.monotonic() > end_s:
                break
            time.sleep(0.01)
        self._stop.set()
        self._thread.join()
        return self._spool.waiting_bytes

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._database.prepare()
                if not self._healthy:
                    self._database.ping()
                moved = self._ship(self._spool)
                if not moved and not self._closing.is_set():
                    self._idle()
                self._told_healthy()
                # a transaction for every record would cost the process more than all requests
                pause_s = _PAUSE_S if moved == _BATCH or self._closing.is_set() else _GATHER_S
            except (SQLAlchemyError, MeshError) as error:
                pause_s = self._failed(error)
            except Exception as error:
                # the thread must outlive whatever one batch does
                _log.error("unexpected error while shipping", exc_info=error)
                pause_s = self._failed(error)
            self._metrics.ledger_spool_bytes.set(self._spool.waiting_bytes)
            self._stop.wait(pause_s)

    def _ship(self, spool: Spool) -> int:
        payloads, after = spool.read(spool.start, records=_BATCH)
        if payloads:
            self._store(payloads)
            self._metrics.ledger_records.labels("shipped").inc(len(payloads))
        if after != spool.start:
            spool.release(after)
        return len(payloads)

    def _store(self, payloads: Sequence[bytes]) -> None:
        rows = [row_of(payload) for payload in payloads]
        try:
            self._database.insert(rows)
        except (DataError, IntegrityError, ValueError):
            for row in rows:
                self._store_alone(row)

    def _store_alone(self, row: Mapping[str, Any]) -> None:
        try:
            self._database.insert([row])
        except (DataError, IntegrityError, ValueError) as error:
            with self._aside.open("ab") as file:
                file.write(framed(row["record"]))
            self._metrics.ledger_records.labels("set_aside").inc()
            _log.error(
                "the database refused a record; it was set aside",
                extra={
                    "decision_id": row["decision_id"],
                    "error": type(error).__name__,
                    "file": str(self._aside),
                },
            )

    def _idle(self) -> None:
        self._spool.retire(_RETIRE_S)
        if self._is_due("deletions", _DELETIONS_EVERY_S):
            found = self._database.deletions(self._deletions_seen)
            if found:
                self._deletions_seen = found[-1][0]
                self._on_deleted({digest: time_us for _, digest, time_us in found})
                self._spool.retire(0.0)
            self._adopt()
        if self._is_due("purge", _PURGE_EVERY_S):
            while gone := self._database.purge(time.time_ns() // 1000):
                self._metrics.ledger_records.labels("expired").inc(gone)

    def _adopt(self) -> None:
        orphan = self._orphans()
        if orphan is None:
            return
        try:
            while self._ship(orphan) and not self._closing.is_set():
                self._stop.wait(_PAUSE_S)
        finally:
            orphan.close()

    def _is_due(self, what: str, every_s: float) -> bool:
        now_s = time.monotonic()
        if now_s < self._due_s.get(what, 0.0):
            return False
        self._due_s[what] = now_s + every_s
        return True

    def _told_healthy(self) -> None:
        self._failures = 0
        if self._healthy is not True:
            if self._healthy is False:
                _log.warning("the ledger's database is back", extra={"state": "shipping"})
            self._tell(True)

    def _failed(self, error: Exception) -> float:
        if self._healthy is not False:
            _log.error(
                "the ledger's database takes no records; they wait in the spool",
                extra={"error": f"{type(error).__name__}: {driver_message(error)[:200]}"},
            )
            self._tell(False)
        delay_s = _RETRIES_S[min(self._failures, len(_RETRIES_S) - 1)]
        self._failures += 1
        return delay_s

    def _tell(self, healthy: bool) -> None:
        self._healthy = healthy
        self._metrics.ledger_database_up.set(int(healthy))
        self._on_health(healthy)
