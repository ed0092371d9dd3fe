"""Syncs a spool to the disk a few times within its loss window, in a thread of its own.

It knows when something was appended; what, it does not know.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from slmesh.ledger.spool import Spool

__all__ = ["WINDOW_S", "Syncer"]

_log = logging.getLogger(__name__)

WINDOW_S = 0.05
"""What a power failure may take: the records of the last so many seconds."""

_PAUSE_S = 0.02
"""A sync starts at most so long after the first record it takes along; the rest of the window is
its own."""

_PARK_AFTER = 50
"""After so many pauses without a record the thread waits to be woken, which costs a request time."""

OnSync = Callable[[float, bool], None]
"""Is told of every sync: the seconds it took, and whether it succeeded."""


class Syncer:
    """Syncs a spool.

    Args:
        spool: The spool.
        at_once: Whether somebody waits for every record: then there is no pause before a sync.
        on_sync: Is told of every sync, in the thread.
    """

    def __init__(self, spool: Spool, *, at_once: bool, on_sync: OnSync) -> None:
        self._spool = spool
        self._pause_s = 0.0 if at_once else _PAUSE_S
        self._on_sync = on_sync
        self._due = threading.Event()
        self._dirty = False
        self._parked = False
        self._stopping = False
        self._synced = 0
        self._waiting: deque[tuple[int, asyncio.AbstractEventLoop, asyncio.Future[bool]]] = deque()
        self._thread = threading.Thread(target=self._run, name="ledger-sync", daemon=True)
        self._thread.start()

    def appended(self) -> None:
        """Note that something was appended."""
        self._dirty = True
        if self._parked:
            self._due.set()

    async def synced(self, number: int) -> bool:
        """Wait until a record is on the disk; returns whether it is."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = loop.create_future()
        self._waiting.append((number, loop, future))
        self._dirty = True
        self._due.set()
        return await future

    def close(self) -> None:
        """Sync for the last time and stop."""
        self._stopping = True
        self._due.set()
        self._thread.join()

    def _run(self) -> None:
        idle = 0
        while not self._stopping:
            self._pause(idle)
            if not self._dirty:
                idle += 1
                continue
            idle = 0
            self._dirty = False
            started_s = time.monotonic()
            try:
                self._synced = self._spool.sync()
                succeeded = True
            except OSError as error:
                _log.error("the spool could not be synced", extra={"error": error.strerror})
                succeeded = False
            self._on_sync(time.monotonic() - started_s, succeeded)
            self._tell(succeeded)

    def _pause(self, idle: int) -> None:
        if self._pause_s and idle < _PARK_AFTER:
            time.sleep(self._pause_s)
            return
        self._parked = True
        if not self._dirty:  # looked at after the flag is up, so that no record is missed
            self._due.wait()
        self._parked = False
        self._due.clear()

    def _tell(self, succeeded: bool) -> None:
        for _ in range(len(self._waiting)):
            number, loop, future = self._waiting.popleft()
            if succeeded and number > self._synced:
                self._waiting.append((number, loop, future))
            else:
                loop.call_soon_threadsafe(_settle, future, succeeded)


def _settle(future: asyncio.Future[bool], succeeded: bool) -> None:
    if not future.done():
        future.set_result(succeeded)
