"""The ledger of one process: a spool in front of a database, with the threads between them.

Appending touches the spool only. Records are found in the spool until they are shipped and in the
database from then on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sqlalchemy.exc import SQLAlchemyError

from slmesh.ledger.database import Database, database_url
from slmesh.ledger.rows import decision_key, keys_of, request_key, row_of
from slmesh.ledger.shipping import Shipper
from slmesh.ledger.spool import Spool
from slmesh.ledger.syncing import WINDOW_S, Syncer
from slmesh.mesh.errors import FailedPrecondition, Unavailable
from slmesh.mesh.metrics import Metrics
from slmesh.mesh.settings import Settings

__all__ = ["NO_LEDGER", "Ledger", "LedgerOptions", "ledger_folder"]

_log = logging.getLogger(__name__)

NO_LEDGER = "none"
"""The value of ``SLMESH_LEDGER_URL`` that keeps decisions in memory only."""

_SLOTS = 64
_ASK_S = 2.0
_ASK_AGAIN_S = 1.0
_WARN_EVERY_S = 60.0


@dataclass(frozen=True, kw_only=True)
class LedgerOptions:
    """How a ledger is kept.

    Attributes:
        folder: Where spool and SQLite file lie.
        url: The database; SQLite in the folder when empty.
        spool_limit_bytes: The most bytes that wait for the database.
        sync_before_reply: Whether a reply waits until its record is on the disk.
    """

    folder: Path
    url: str = ""
    spool_limit_bytes: int = 512 << 20
    sync_before_reply: bool = False

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the options that the settings state."""
        return cls(
            folder=ledger_folder(settings),
            url=settings.ledger_url,
            spool_limit_bytes=settings.ledger_spool_mib << 20,
            sync_before_reply=settings.ledger_sync_before_reply,
        )


def ledger_folder(settings: Settings) -> Path:
    """Return where a ledger keeps its files."""
    return settings.state_dir / "ledger"


class Ledger:
    """Keeps records and finds them again.

    Args:
        options: How.
        metrics: Where records, bytes and seconds are counted.
        on_health: Is told, in a thread of the ledger, when the database goes away or comes back.
        on_deleted: Is told, in a thread of the ledger, the digests of subjects whose records were
            deleted.

    Raises:
        FailedPrecondition: The folder or the URL cannot be used.
    """

    def __init__(
        self,
        options: LedgerOptions,
        metrics: Metrics,
        *,
        on_health: Callable[[bool], None] = lambda healthy: None,
        on_deleted: Callable[[Sequence[str]], None] = lambda digests: None,
    ) -> None:
        self._options = options
        self._metrics = metrics
        self._on_deleted = on_deleted
        self._deleted: dict[str, int] = {}
        self._ask_again_s = 0.0
        self._warn_again_s = 0.0
        self._database = Database(database_url(options.url, options.folder))
        self._spool = self._claim()
        self._syncer = Syncer(
            self._spool, at_once=options.sync_before_reply, on_sync=self._count_sync
        )
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="ledger-read")
        self._shipper = Shipper(
            self._spool,
            self._database,
            aside=options.folder / "set-aside.spool",
            orphans=self._orphan,
            metrics=metrics,
            on_health=on_health,
            on_deleted=self._note_deleted,
        )
        self._spooled = metrics.ledger_records.labels("spooled")
        metrics.ledger_spool_limit_bytes.set(options.spool_limit_bytes)
        self._shipper.start()

    async def append(self, payload: bytes, keys: Iterable[str]) -> None:
        """Append a record.

        Raises:
            Unavailable: It could not be appended, or not synced where the reply is to wait.
        """
        started_s = time.perf_counter()
        number = self._spool.append(payload, keys)
        if not self._options.sync_before_reply:
            self._syncer.appended()
        elif not await self._syncer.synced(number):
            raise Unavailable(
                "the decision cannot be recorded: the disk of the ledger's spool has failed",
                reason="LEDGER_UNWRITABLE",
                retry_delay_s=1.0,
            )
        self._metrics.ledger_append_seconds.observe(time.perf_counter() - started_s)
        self._spooled.inc()

    def check_room(self) -> None:
        """Refuse a request whose decision could not be recorded.

        Raises:
            Unavailable: The spool is full, or the disk was a moment ago.
        """
        self._spool.check_room()

    def try_room(self) -> None:
        """Refuse a request whose decision could not be recorded now, found out by writing.

        Raises:
            Unavailable: The spool or the disk is full.
        """
        self._spool.try_room()

    async def by_decision(self, tenant: str, decision_id: str) -> bytes | None:
        """Return the record of a decision of a tenant.

        Raises:
            Unavailable: It is not here, and the database cannot be asked.
        """
        return await self._find(
            decision_key(tenant, decision_id),
            lambda: self._database.by_decision(decision_id, tenant),
        )

    async def by_request(self, tenant: str, request_id: str) -> bytes | None:
        """Return the record of a request of a tenant.

        Raises:
            Unavailable: It is not here, and the database cannot be asked.
        """
        return await self._find(
            request_key(tenant, request_id), lambda: self._database.by_request(tenant, request_id)
        )

    def close(self, within_s: float) -> None:
        """Sync, ship what is in the spool, and let everything go.

        Args:
            within_s: Seconds there are for shipping. What is left then, or at once where the
                database is away, waits for the next process that opens the folder.
        """
        self._syncer.close()
        left = self._shipper.close(within_s)
        if left:
            _log.warning(
                "the spool was not shipped whole; the next router on this folder ships the rest",
                extra={"bytes": left, "file": str(self._options.folder)},
            )
        self._readers.shutdown(wait=True)
        self._spool.close()
        self._database.close()

    async def _find(self, key: str, question: Callable[[], bytes | None]) -> bytes | None:
        found = self._waiting(key)
        if found is not None:
            return found
        if time.monotonic() < self._ask_again_s:
            raise _not_asked()
        try:
            async with asyncio.timeout(_ASK_S):
                return await asyncio.get_running_loop().run_in_executor(
                    self._readers, self._answer, question
                )
        except (SQLAlchemyError, FailedPrecondition, TimeoutError):
            self._ask_again_s = time.monotonic() + _ASK_AGAIN_S
            raise _not_asked() from None

    def _answer(self, question: Callable[[], bytes | None]) -> bytes | None:
        self._database.prepare()
        return question()

    def _waiting(self, key: str) -> bytes | None:
        """Return a record that was not shipped, unless its subject's were deleted."""
        found = self._spool.find(key)
        if found is None or not self._deleted:
            return found
        row = row_of(found)
        deleted_us = self._deleted.get(row["subject_digest"], -1)
        return found if row["create_time_us"] > deleted_us else None

    def _note_deleted(self, times_us: Mapping[str, int]) -> None:
        self._deleted |= times_us
        self._on_deleted(tuple(times_us))

    def _claim(self) -> Spool:
        """Take the first spool that no other process has."""
        for folder in self._folders():
            try:
                return self._open(folder)
            except BlockingIOError:
                continue
        raise FailedPrecondition(
            f"{_SLOTS} processes use the ledger in {self._options.folder}; set SLMESH_STATE_DIR to"
            " a folder of this process alone",
            reason="LEDGER_FOLDER_IN_USE",
        )

    def _orphan(self) -> Spool | None:
        """Return a spool with records that no process has."""
        for folder in self._folders():
            if not any(folder.glob("*.spool")):
                continue
            try:
                return self._open(folder)
            except BlockingIOError:
                continue  # ours, or another living process's
        return None

    def _folders(self) -> Iterator[Path]:
        for slot in range(_SLOTS):
            yield self._options.folder / "spool" / str(slot)

    def _open(self, folder: Path) -> Spool:
        return Spool.open(folder, limit_bytes=self._options.spool_limit_bytes, keys_of=keys_of)

    def _count_sync(self, seconds: float, succeeded: bool) -> None:
        self._metrics.ledger_sync_seconds.observe(seconds)
        if not succeeded:
            self._metrics.ledger_sync_failures.inc()
        elif seconds > WINDOW_S and time.monotonic() > self._warn_again_s:
            self._warn_again_s = time.monotonic() + _WARN_EVERY_S
            _log.warning(
                "the disk syncs slower than the ledger's loss window",
                extra={"duration_ms": round(seconds * 1e3, 1)},
            )


def _not_asked() -> Unavailable:
    return Unavailable(
        "the ledger's database cannot be asked now",
        reason="LEDGER_DATABASE_UNAVAILABLE",
        retry_delay_s=_ASK_AGAIN_S,
    )
