"""What a file is told apart by from what it was before, without being read."""

from __future__ import annotations

from pathlib import Path

__all__ = ["Stamp", "stamp_of"]

Stamp = tuple[str, int, int]
"""Path, time of the last change in nanoseconds, and bytes."""


def stamp_of(file: Path) -> Stamp:
    """Return the stamp of a file; one that is not there has one too."""
    try:
        status = file.stat()
    except OSError:
        return (str(file), 0, 0)
    return (str(file), status.st_mtime_ns, status.st_size)
