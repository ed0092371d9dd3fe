"""Splits a text into tokens and says what each of them looks like, as hashed feature numbers.

The trainer and the service both call this code, so that what is learnt is what is seen. Knows no
label and no weight.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from zlib import crc32

_TOKEN = re.compile(
    r"[^\W_](?:[\w\u0300-\u036f\u200d]|['\u2019.&-](?=[^\W_]))*|[^\w\s]|_", re.UNICODE
)
_TITLES = frozenset({"mr", "mrs", "ms", "dr", "prof", "st"})
_STOP = frozenset(".!?\u2026\n")
_SHAPES = str.maketrans(
    {chr(code): "x" for code in range(ord("a"), ord("z") + 1)}
    | {chr(code): "X" for code in range(ord("A"), ord("Z") + 1)}
    | {chr(code): "9" for code in range(ord("0"), ord("9") + 1)}
)
FEATURES_PER_TOKEN = 30
LONGEST_SEQUENCE = 64
"""Tokens after which a sequence is cut even where no sentence ends."""


@dataclass(frozen=True, slots=True)
class Token:
    """A word or a mark, with code point offsets."""

    start: int
    end: int
    text: str


def tokens(text: str) -> list[Token]:
    """Return the words and marks of a text in order."""
    return [Token(*found.span(), found.group()) for found in _TOKEN.finditer(text)]


def sequences(text: str) -> list[list[Token]]:
    """Return the tokens of a text sentence by sentence, none longer than LONGEST_SEQUENCE."""
    found: list[list[Token]] = []
    current: list[Token] = []
    for token in tokens(text):
        # A line break separates as a full stop does; it is no token itself.
        if current and (
            len(current) == LONGEST_SEQUENCE or "\n" in text[current[-1].end : token.start]
        ):
            found.append(current)
            current = []
        current.append(token)
        if token.text in _STOP and not _is_abbreviated(current):
            found.append(current)
            current = []
    if current:
        found.append(current)
    return found


def _is_abbreviated(current: Sequence[Token]) -> bool:
    """Tell the full stop of "J. Smith" and "Dr. Smith" from the end of a sentence."""
    if len(current) < 2 or current[-1].text != "." or current[-2].end != current[-1].start:
        return False
    word = current[-2].text
    return (len(word) == 1 and word.isalpha()) or word.lower() in _TITLES


def shape(word: str) -> str:
    """Return the pattern of letters and digits, runs shortened: "McKay7" is "XxXx9"."""
    mapped = word.translate(_SHAPES)
    if not mapped.isascii():
        mapped = "".join(_shape_of(character) for character in mapped)
    short = mapped[:1]
    for character in mapped[1:]:
        if character != short[-1]:
            short += character
    return short


def _shape_of(character: str) -> str:
    if character.isascii():
        return character
    if character.isupper():
        return "X"
    return "x" if character.isalpha() else character


def word_code(word: str) -> int:
    """Return the number, in 32 bits, that stands for a lower-case word."""
    return crc32(word.encode("utf-8", "surrogatepass"))


def hashed_features(
    sequence: Sequence[Token], bits: int, common: Collection[int]
) -> list[list[int]]:
    """Return FEATURES_PER_TOKEN numbers in [0, 2**bits) for each token of a sentence.

    Args:
        sequence: the tokens of a sentence.
        bits: binary logarithm of the number of buckets.
        common: word codes of the everyday words of the domain; a word that is none of them is more
            likely a name, which is all there is to go by where nobody writes capitals.
    """
    words = [token.text for token in sequence]
    lowered = [word.lower() for word in words]
    shapes = [shape(word) for word in words]
    # In a text all in one case, case says nothing: then it may not speak for a name either.
    letters = [word for word in words if word[0].isalpha()]
    cased = any(word[0].isupper() for word in letters[1:]) and any(
        word[0].islower() for word in letters
    )
    mode = "c" if cased else ("l" if all(word.islower() for word in letters) else "m")
    mask = (1 << bits) - 1
    kinds = [
        "c" if word_code(word) in common else ("r" if word[0].isalpha() else "-")
        for word in lowered
    ]
    padded_kinds = ["", "<", *kinds, ">", ""]
    padded = ["<s2>", "<s>", *lowered, "</s>", "</s2>"]
    padded_shapes = ["", "<s>", *shapes, "</s>", ""]
    rows = []
    for index in range(len(sequence)):
        names = _names(padded, padded_shapes, padded_kinds, index + 2, mode)
        rows.append([word_code(name) & mask for name in names])
    return rows


def _names(
    words: Sequence[str], shapes: Sequence[str], kinds: Sequence[str], at: int, mode: str
) -> list[str]:
    kind, kind_before, kind_after = kinds[at], kinds[at - 1], kinds[at + 1]
    word, before, after = words[at], words[at - 1], words[at + 1]
    further_before, further_after = words[at - 2], words[at + 2]
    own, left, right = shapes[at], shapes[at - 1], shapes[at + 1]
    return [
        f"b{mode}",
        f"w={word}",
        f"s3={word[-3:]}",
        f"s2={word[-2:]}",
        f"p3={word[:3]}",
        f"p4={word[:4]}|{mode}",
        f"sh={own}|{mode}",
        f"sh={own}|{left}|{right}",
        f"-1={before}",
        f"+1={after}",
        f"-2={further_before}",
        f"+2={further_after}",
        f"-1w={before}|{word}",
        f"w+1={word}|{after}",
        f"-2-1={further_before}|{before}",
        f"+1+2={after}|{further_after}",
        f"-1sh={before}|{own}",
        f"+1sh={after}|{own}",
        f"-1+1={before}|{after}",
        f"-1s3={before[-3:]}",
        f"+1s3={after[-3:]}",
        f"-1ln={before}|{min(len(word), 8)}",
        f"-2-1sh={further_before}|{before}|{own}",
        f"-1shw={left}|{word}",
        f"k={kind}|{mode}|{own}",
        f"kk={kind_before}|{kind}|{kind_after}|{mode}",
        f"-1k={before}|{kind}|{mode}",
        f"-2-1k={further_before}|{before}|{kind}",
        f"+1k={kind}|{after}|{mode}",
        f"-1k+1={before}|{kind}|{after}",
    ]
