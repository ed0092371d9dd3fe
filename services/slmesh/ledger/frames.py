"""Frames records in a file: length, check sum, bytes; and tells where the good part of a file ends.

A frame that a power failure or a full disk has cut is found by its length or its check sum. It knows
bytes only, neither files of a spool nor what a record means.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["MAGIC", "Frame", "Scan", "frame_bytes", "framed", "frames_in", "scan"]

MAGIC = b"slmesh1\n"
"""The first eight bytes of a segment; the digit is the version of the form."""

_HEAD = struct.Struct("<II")


@dataclass(frozen=True)
class Frame:
    """One record in a file.

    Attributes:
        offset: Where its frame begins, in bytes.
        end: Where the next one begins.
        payload: The record.
    """

    offset: int
    end: int
    payload: bytes


@dataclass(frozen=True)
class Scan:
    """What a look over a segment has found.

    Attributes:
        frames: The good frames from the beginning.
        end: Where the good part ends.
        torn: Whether the bytes after it are the beginning of a frame that was never finished.
    """

    frames: tuple[Frame, ...]
    end: int
    torn: bool


def framed(payload: bytes) -> bytes:
    """Return a record in its frame."""
    return _HEAD.pack(len(payload), zlib.crc32(payload)) + payload


def frames_in(data: bytes, start: int) -> Iterator[Frame]:
    """Yield the good frames of a piece of a segment.

    Args:
        data: The piece; it begins with a frame and may end within one.
        start: Where the piece begins in the segment, in bytes.
    """
    place = 0
    while place + _HEAD.size <= len(data):
        length, check = _HEAD.unpack_from(data, place)
        end = place + _HEAD.size + length
        if end > len(data):
            return
        payload = data[place + _HEAD.size : end]
        if zlib.crc32(payload) != check:
            return
        yield Frame(start + place, start + end, payload)
        place = end


def frame_bytes(head: bytes) -> int:
    """Return the bytes a frame has, its head included; 0 when the head is cut."""
    if len(head) < _HEAD.size:
        return 0
    length: int = _HEAD.unpack_from(head)[0]
    return _HEAD.size + length


def scan(data: bytes) -> Scan:
    """Look over a whole segment."""
    if not data.startswith(MAGIC):
        return Scan((), 0, torn=len(data) < len(MAGIC) and MAGIC.startswith(data))
    found = tuple(frames_in(data[len(MAGIC) :], len(MAGIC)))
    end = found[-1].end if found else len(MAGIC)
    rest = data[end : end + _HEAD.size]
    torn = end == len(data) or len(rest) < _HEAD.size or end + frame_bytes(rest) > len(data)
    return Scan(found, end, torn)
