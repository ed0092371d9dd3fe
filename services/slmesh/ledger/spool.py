"""A local queue on disk: records are appended here before the reply, and leave when they are shipped.

One folder, one writer (a lock on the folder says so), any number of segment files. A write that
returned is in the kernel, so a killed process loses nothing; what a power failure may take is what
:meth:`Spool.sync` has not synced. A torn end is cut off when the folder is opened.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from slmesh.ledger.frames import MAGIC, framed, frames_in, scan
from slmesh.ledger.segments import (
    CHUNK_BYTES,
    RETRY_S,
    Position,
    Segment,
    piece_of,
    read_position,
    sync_folder,
    unwritable,
    write_all,
)
from slmesh.mesh.errors import FailedPrecondition, Unavailable

__all__ = ["KeysOf", "Position", "Spool"]

_log = logging.getLogger(__name__)

KeysOf = Callable[[bytes], Iterable[str]]
"""Returns the keys a record is found by."""

_SUFFIX = ".spool"
_SEGMENT_BYTES = 8 * 1024 * 1024
_TRIAL = b"\xff" * (64 * 1024)
"""Ten usual records; where the process dies before it is taken back, it reads as a torn frame."""


class Spool:
    """A queue of records in a folder.

    Safe to use from several threads. Use :meth:`open`.

    Attributes:
        damaged_bytes: Bytes that were not readable when the folder was opened.
    """

    def __init__(
        self,
        folder: Path,
        lock: int,
        *,
        limit_bytes: int,
        segment_bytes: int,
        clock: Callable[[], float],
    ) -> None:
        self.damaged_bytes = 0
        self._folder = folder
        self._folder_lock = lock
        self._limit_bytes = limit_bytes
        self._segment_bytes = segment_bytes
        self._clock = clock
        self._guard = threading.Lock()
        self._segments: list[Segment] = []
        self._active: int | None = None  # the descriptor of the last segment, while it grows
        self._retired: list[int] = []  # descriptors to sync and close
        self._names_changed = False
        self._next_number = 1
        self._shipped = Position(0, 0)
        self._appended = 0
        self._refusal: tuple[float, Unavailable] | None = None

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        limit_bytes: int,
        keys_of: KeysOf = lambda payload: (),
        segment_bytes: int = _SEGMENT_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> Spool:
        """Open a folder, cut a torn end off, and find what was not shipped.

        Args:
            folder: The folder; made when it is not there.
            limit_bytes: The most bytes the queue may hold.
            keys_of: The keys of a record, for :meth:`find`.
            segment_bytes: How large a file gets before the next one is begun.
            clock: Monotonic seconds.

        Raises:
            BlockingIOError: Another process has the folder.
            FailedPrecondition: The folder cannot be used.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise FailedPrecondition(
                f"the ledger cannot write to {folder}: {error.strerror}; set SLMESH_STATE_DIR to"
                " a folder on a disk with room, or SLMESH_LEDGER_URL to none",
                reason="LEDGER_FOLDER_UNUSABLE",
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise
        spool = cls(folder, lock, limit_bytes=limit_bytes, segment_bytes=segment_bytes, clock=clock)
        spool._recover(keys_of)
        return spool

    @property
    def size_bytes(self) -> int:
        """The bytes on disk."""
        return sum(segment.size for segment in self._segments)

    @property
    def waiting_bytes(self) -> int:
        """The bytes that were not shipped."""
        with self._guard:
            return sum(
                segment.size - max(len(MAGIC), self._offset_in(segment))
                for segment in self._segments
            )

    @property
    def start(self) -> Position:
        """Where the first record that was not shipped begins."""
        return self._shipped

    def append(self, payload: bytes, keys: Iterable[str] = ()) -> int:
        """Append a record and return its number, from 1.

        Raises:
            Unavailable: The disk or the queue is full. Nothing was appended.
        """
        data = framed(payload)
        with self._guard:
            self._refuse_above(self._limit_bytes - len(data))
            segment = self._write(data)
            segment.places.update(dict.fromkeys(keys, segment.size))
            segment.size += len(data)
            self._appended += 1
            return self._appended

    def check_room(self) -> None:
        """Refuse at once what could not be appended anyway.

        Raises:
            Unavailable: The queue is full, or the disk was when something was last written.
        """
        self._refuse_above(self._limit_bytes - CHUNK_BYTES)
        if self._refusal is None:
            return
        if self._clock() < self._refusal[0]:
            raise self._refusal[1]
        self.try_room()

    def try_room(self) -> None:
        """Refuse what could not be appended now, found out by writing as much as a record takes.

        What was written is taken back, so the room is not kept: another may fill the disk meanwhile.

        Raises:
            Unavailable: The queue or the disk is full.
        """
        with self._guard:
            self._refuse_above(self._limit_bytes - CHUNK_BYTES)
            segment = self._write(_TRIAL)
            assert self._active is not None
            os.ftruncate(self._active, segment.size)

    def sync(self) -> int:
        """Bring what was appended to the disk; return the number of the last record of it.

        Raises:
            OSError: The disk has failed.
        """
        with self._guard:
            number = self._appended
            active = None if self._active is None else os.dup(self._active)
            retired, self._retired = self._retired, []
            names_changed, self._names_changed = self._names_changed, False
        every = [*retired, *([] if active is None else [active])]
        try:
            for descriptor in every:
                os.fdatasync(descriptor)
            if names_changed:
                sync_folder(self._folder)
        finally:
            for descriptor in every:
                os.close(descriptor)
        return number

    def read(self, start: Position, *, records: int) -> tuple[list[bytes], Position]:
        """Return the next records, and where those after them begin.

        Args:
            start: Where to begin.
            records: How many to return at most; fewer may come before the end of the queue.
        """
        with self._guard:
            ahead = [(one.number, one.path, one.size) for one in self._segments]
        for number, path, size in ahead:
            offset = max(len(MAGIC), start.offset if number == start.segment else 0)
            if number < start.segment or offset >= size:
                continue
            payloads: list[bytes] = []
            for frame in frames_in(piece_of(path, offset, size), offset):
                if len(payloads) == records:
                    break
                payloads.append(frame.payload)
                offset = frame.end
            if not payloads:
                # written whole and unreadable now: it must not stop the queue for ever
                _log.error("a part of the spool is unreadable", extra={"file": str(path)})
                self.damaged_bytes += size - offset
                return self.read(Position(number, size), records=records)
            return payloads, Position(number, offset)
        return [], start

    def release(self, shipped: Position) -> None:
        """Let everything before a position go: it is safe elsewhere."""
        with self._guard:
            self._shipped = max(self._shipped, shipped)
            gone = [one for one in self._segments if self._is_done(one)]
            for segment in gone:
                self._segments.remove(segment)
        temporary = self._folder / "shipped.new"
        with contextlib.suppress(OSError):  # a full disk: what is shipped twice is stored once
            temporary.write_text(f"{self._shipped.segment} {self._shipped.offset}\n")
            temporary.replace(self._folder / "shipped")
        for segment in gone:
            segment.path.unlink(missing_ok=True)

    def retire(self, age_s: float) -> None:
        """End the growing segment when all of it is shipped and it is older than this."""
        with self._guard:
            if self._active is None:
                return
            last = self._segments[-1]
            done = Position(last.number, last.size) <= self._shipped
            if not done or self._clock() - last.opened_s < age_s:
                return
            self._end_segment()
        self.release(self._shipped)

    def find(self, key: str) -> bytes | None:
        """Return the record of a key; None when there is none, or it was shipped."""
        with self._guard:
            for segment in reversed(self._segments):
                place = segment.places.get(key)
                if place is not None and place >= self._offset_in(segment):
                    path, size = segment.path, segment.size
                    break
            else:
                return None
        try:
            return next(frames_in(piece_of(path, place, size), place)).payload
        except (StopIteration, FileNotFoundError):
            return None  # shipped meanwhile

    def close(self) -> None:
        """Sync, and let the folder go."""
        with contextlib.suppress(OSError):
            self.sync()
        with self._guard:
            if self._active is not None:
                os.close(self._active)
                self._active = None
            if self._folder_lock >= 0:
                os.close(self._folder_lock)
                self._folder_lock = -1

    def _recover(self, keys_of: KeysOf) -> None:
        self._shipped = read_position(self._folder / "shipped")
        files = {int(path.stem): path for path in self._folder.glob(f"*{_SUFFIX}")}
        for number, path in sorted(files.items()):
            self._next_number = number + 1
            data = path.read_bytes()
            found = scan(data)
            if found.end < len(data):
                self._cut(path, found.end, data[found.end :], torn=found.torn)
            segment = Segment(number, path, found.end, self._clock())
            for frame in found.frames:
                segment.places.update(dict.fromkeys(keys_of(frame.payload), frame.offset))
            if found.frames and not self._is_done(segment):
                self._segments.append(segment)
                # a killed process may have left records that were never synced
                self._retired.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
            else:
                path.unlink()
        self.sync()
        self._next_number = max(self._next_number, self._shipped.segment + 1)

    def _cut(self, path: Path, end: int, rest: bytes, *, torn: bool) -> None:
        if torn:
            _log.warning("a torn record was cut off", extra={"file": str(path), "count": len(rest)})
        else:
            self.damaged_bytes += len(rest)
            aside = path.with_suffix(".damaged")
            _log.error("unreadable records were set aside", extra={"file": str(aside)})
            aside.write_bytes(rest)
        os.truncate(path, end)

    def _offset_in(self, segment: Segment) -> int:
        if segment.number < self._shipped.segment:
            return segment.size
        return self._shipped.offset if segment.number == self._shipped.segment else 0

    def _is_done(self, segment: Segment) -> bool:
        growing = self._active is not None and segment is self._segments[-1]
        return not growing and Position(segment.number, segment.size) <= self._shipped

    def _refuse_above(self, limit_bytes: int) -> None:
        if self.size_bytes > limit_bytes:
            raise Unavailable(
                "the decision cannot be recorded: the ledger's spool is full"
                f" ({self._limit_bytes >> 20} MiB, SLMESH_LEDGER_SPOOL_MIB), because its database"
                " has not taken records for a while",
                reason="LEDGER_SPOOL_FULL",
                retry_delay_s=RETRY_S,
            )

    def _write(self, data: bytes) -> Segment:
        """Write after the last record; returns the segment, whose size is still that of before."""
        try:
            segment = self._writable(len(data))
            write_all(self._active, data, segment.size)
        except OSError as error:
            refusal = unwritable(error)
            self._refusal = (self._clock() + RETRY_S, refusal)
            raise refusal from None
        self._refusal = None
        return segment

    def _writable(self, more_bytes: int) -> Segment:
        if self._active is not None:
            last = self._segments[-1]
            if last.size + more_bytes <= self._segment_bytes or last.size == len(MAGIC):
                return last
            self._end_segment()
        path = self._folder / f"{self._next_number:012d}{_SUFFIX}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            write_all(descriptor, MAGIC, 0)
        except OSError:
            os.close(descriptor)
            path.unlink()
            raise
        segment = Segment(self._next_number, path, len(MAGIC), self._clock())
        self._next_number += 1
        self._active = descriptor
        self._names_changed = True
        self._segments.append(segment)
        return segment

    def _end_segment(self) -> None:
        assert self._active is not None
        self._retired.append(self._active)
        self._active = None
