"""Finds text hidden in another writing: Base64, binary, hexadecimal, Morse, ROT13, s p a c e d.

An instruction in such a writing says nothing to n-grams and embeddings, but a large model reads it. So
what can be decoded is judged as if it stood there in plain letters. It knows no model.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["Smuggled", "smuggled"]

MOST = 16
"""Pieces decoded of one text: a file in Base64 has one line after the other."""

_SHORTEST = 8
"""Letters a decoded piece needs at least: shorter ones are chance, and instruct nobody."""

_BASE64 = re.compile(
    r"(?<![\w+/=])(?:[A-Za-z0-9+/]{4}){4,}(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?(?![\w+/=])"
)
_BINARY = re.compile(r"(?<![01])(?:[01]{8}[ ,]?){8,}")
_HEX = re.compile(r"(?<![0-9A-Fa-f])(?:[0-9A-Fa-f]{2}[ ]?){12,}(?![0-9A-Za-z])")
_MORSE = re.compile(r"(?<![\w.-])[.-]{1,5}(?:[ /|]+[.-]{1,5}){7,}")
_SPACED = re.compile(r"(?<!\w)\w(?:(?P<gap>[ .*_-])\w)(?:(?P=gap){1,3}\w){8,}(?!\w)")
_ROT13_NAMED = re.compile(r"\brot-?13\b|\bcaesar\b", re.IGNORECASE)
_QUOTED = re.compile(r"[\"'\u2018\u201c]([^\"'\u2018\u2019\u201c\u201d]{8,400})[\"'\u2019\u201d]")
_LETTERS = [
    ".-",
    "-...",
    "-.-.",
    "-..",
    ".",
    "..-.",
    "--.",
    "....",
    "..",
    ".---",
    "-.-",
    ".-..",
    "--",
    "-.",
    "---",
    ".--.",
    "--.-",
    ".-.",
    "...",
    "-",
    "..-",
    "...-",
    ".--",
    "-..-",
    "-.--",
    "--..",
]
_MORSE_CODE = dict(zip(_LETTERS, "abcdefghijklmnopqrstuvwxyz", strict=True))


@dataclass(frozen=True)
class Smuggled:
    """A piece of a text and what it says.

    Attributes:
        start: Of the half-open range, in code points.
        end: Of the half-open range, in code points.
        text: In plain letters.
    """

    start: int
    end: int
    text: str


def smuggled(text: str) -> list[Smuggled]:
    """Return what a text hides in another writing, in order of start, at most ``MOST`` pieces.

    Args:
        text: Any length; the time taken is linear in it.
    """
    found: list[Smuggled] = []
    for pattern, decode in _WRITINGS:
        for piece in _pieces(text, pattern, decode):
            if len(found) == MOST:
                break
            found.append(piece)
    if _ROT13_NAMED.search(text):
        for quoted in _QUOTED.finditer(text):
            plain = codecs.encode(quoted.group(1), "rot13")
            found.append(Smuggled(*quoted.span(1), plain))
    return sorted(found[:MOST], key=lambda piece: piece.start)


def _pieces(
    text: str, pattern: re.Pattern[str], decode: Callable[[str], str]
) -> Iterator[Smuggled]:
    for match in pattern.finditer(text):
        plain = decode(match.group())
        letters = sum(character.isalpha() for character in plain)
        if letters >= _SHORTEST and letters >= 0.6 * len(plain) and plain.isprintable():
            yield Smuggled(*match.span(), plain)


def _base64(piece: str) -> str:
    try:
        return base64.b64decode(piece, validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _bytes_of(digits: str, base: int, width: int) -> str:
    values = [int(digits[at : at + width], base) for at in range(0, len(digits), width)]
    return bytes(values).decode("utf-8", "ignore")


def _binary(piece: str) -> str:
    return _bytes_of(re.sub("[ ,]", "", piece), 2, 8)


def _hex(piece: str) -> str:
    return _bytes_of(piece.replace(" ", ""), 16, 2)


def _morse(piece: str) -> str:
    words = re.split(r"[ ]*[/|][ ]*", piece)
    return " ".join("".join(_MORSE_CODE.get(sign, "?") for sign in word.split()) for word in words)


def _spaced(piece: str) -> str:
    """Return spaced letters as words; a wider gap parts two words."""
    gap = piece[1]
    return " ".join(word.replace(gap, "") for word in piece.split(gap * 2))


_WRITINGS: tuple[tuple[re.Pattern[str], Callable[[str], str]], ...] = (
    (_BASE64, _base64),
    (_BINARY, _binary),
    (_HEX, _hex),
    (_MORSE, _morse),
    (_SPACED, _spaced),
)
