"""The files of a spool: segments that are appended to and read by pieces, and the mark of what left.

Blocking calls on one file; who may do what when is the spool's to say.
"""

from __future__ import annotations

import errno
import mmap
import os
from dataclasses import dataclass, field
from pathlib import Path

from slmesh.ledger.frames import HEAD_BYTES, MAGIC, frame_bytes
from slmesh.mesh.errors import Unavailable

__all__ = [
    "CHUNK_BYTES",
    "RETRY_S",
    "GrowingFile",
    "Position",
    "Segment",
    "piece_of",
    "read_position",
    "sync_folder",
    "unwritable",
]

CHUNK_BYTES = 256 * 1024
"""As much is read at once, a single larger record whole; and as much room is set aside at once."""

RETRY_S = 1.0
"""Seconds after which a refused record may be tried again."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True, order=True)
class Position:
    """A place in the queue: a segment and an offset in bytes."""

    segment: int
    offset: int


@dataclass
class Segment:
    """One file.

    Attributes:
        number: Its place among the files.
        path: Where it is.
        size: Its bytes, all of them whole frames.
        opened_s: When it was begun, in monotonic seconds.
        places: Where the record of a key begins.
    """

    number: int
    path: Path
    size: int
    opened_s: float
    places: dict[str, int] = field(default_factory=dict)


class GrowingFile:
    """The file that records are written to, mapped into memory.

    A write is a copy within the process and no system call: it neither waits for the disk nor lets
    another thread take the interpreter in the middle of a request. What is copied is the kernel's,
    so it outlives the process. Room is set aside in the file system before it is written to.

    Args:
        path: Where to make it.

    Raises:
        OSError: There is no room.
    """

    def __init__(self, path: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self.descriptor = os.open(path, flags, 0o600)
        self._room = 0
        self._map: mmap.mmap | None = None
        try:
            self._grow(len(MAGIC))
        except OSError:
            os.close(self.descriptor)
            path.unlink()
            raise
        assert self._map is not None
        self._map[: len(MAGIC)] = MAGIC

    def write(self, offset: int, frame: bytes) -> None:
        """Write a frame.

        Raises:
            OSError: There is no room for it; nothing was written.
        """
        end = offset + len(frame)
        if end > self._room:
            self._grow(end)
        assert self._map is not None
        # the head last: before it is there, the frame is not
        self._map[offset + HEAD_BYTES : end] = frame[HEAD_BYTES:]
        self._map[offset : offset + HEAD_BYTES] = frame[:HEAD_BYTES]

    def end(self, size: int) -> int:
        """Give the room back that is left after so many bytes; returns the open descriptor."""
        if self._map is not None:
            self._map.close()
            self._map = None
        os.ftruncate(self.descriptor, size)
        return self.descriptor

    def _grow(self, end: int) -> None:
        try:
            room = -(-end // CHUNK_BYTES) * CHUNK_BYTES
            os.posix_fallocate(self.descriptor, 0, room)
        except OSError:
            room = end  # the last room there is
            os.posix_fallocate(self.descriptor, 0, room)
        if self._map is not None:
            self._map.close()
        self._map = mmap.mmap(self.descriptor, room)
        self._room = room


def piece_of(path: Path, start: int, end: int) -> bytes:
    """Return a piece of a segment: at least its first frame, where that is whole."""
    with path.open("rb") as file:
        file.seek(start)
        data = file.read(min(CHUNK_BYTES, end - start))
        missing = frame_bytes(data) - len(data)
        if missing > 0:
            data += file.read(missing)
    return data


def read_position(path: Path) -> Position:
    """Return the position a file names; the beginning when it cannot be read."""
    try:
        segment, offset = path.read_text().split()
        return Position(int(segment), int(offset))
    except (OSError, ValueError):
        return Position(0, 0)  # everything is shipped again, and stored once


def sync_folder(folder: Path) -> None:
    """Bring the names of a folder's files to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def unwritable(error: OSError) -> Unavailable:
    """Return what to tell a caller whose record could not be written."""
    if error.errno in _FULL:
        return Unavailable(
            "the decision cannot be recorded: the disk of the ledger's spool is full",
            reason="LEDGER_DISK_FULL",
            retry_delay_s=RETRY_S,
        )
    return Unavailable(
        f"the decision cannot be recorded: the ledger's spool cannot be written ({error.strerror})",
        reason="LEDGER_UNWRITABLE",
        retry_delay_s=RETRY_S,
    )
