"""The files of a spool: segments that are appended to and read by pieces, and the mark of what left.

Blocking calls on one file; who may do what when is the spool's to say.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from pathlib import Path

from slmesh.ledger.frames import frame_bytes
from slmesh.mesh.errors import Unavailable

__all__ = [
    "CHUNK_BYTES",
    "RETRY_S",
    "Position",
    "Segment",
    "piece_of",
    "read_position",
    "sync_folder",
    "unwritable",
    "write_all",
]

CHUNK_BYTES = 256 * 1024
"""As much is read at once; a single larger record is read whole."""

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


def write_all(descriptor: int | None, data: bytes, size: int) -> None:
    """Write all or nothing at the end of a file of a size."""
    assert descriptor is not None
    left = memoryview(data)
    try:
        while left:
            left = left[os.write(descriptor, left) :]
    except OSError:
        os.ftruncate(descriptor, size)
        raise


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
