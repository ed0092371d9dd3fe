"""Describes what kind of question a prompt is: its form, not its subject.

A prompt may end with options ("A. ...", one a line), as multiple-choice questions do. Plain text
functions; they know no model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

__all__ = ["LENGTHS", "options_of", "question_features"]

_OPTION = re.compile(r"\n[A-Z]\. ")
_END = "\nAnswer:"
_NUMBER = re.compile(r"[\s$]*-?[\d.,/%^×x\- ]+\S{0,12}")
_SYMBOLS = r"[=+*^<>∃∀⊃≡~·∨(){}\[\]|]"
_WORD = re.compile(r"[a-z']+")
_FIRST = (
    *("what", "which", "who", "when", "where", "why", "how", "if", "the", "a", "in", "for", "this"),
    *("according", "statement", "suppose", "find", "let", "consider", "as", "an"),
)


def options_of(prompt: str) -> tuple[str, list[str]]:
    """Return the question of a prompt and its options, without letters; none where it has none."""
    question, *options = _OPTION.split(prompt.removesuffix(_END))
    return question, options


def question_features(prompts: Sequence[str]) -> np.ndarray:
    """Return what kind of question each prompt is, float32 (B, F).

    The first :data:`LENGTHS` columns are lengths alone.
    """
    rows = [_features(*options_of(prompt), prompt) for prompt in prompts]
    return np.array(rows, np.float32)


LENGTHS = 1
"""Columns that hold nothing but the prompt's length."""


def _features(question: str, options: list[str], prompt: str) -> list[float]:
    return [
        float(np.log(len(prompt))),
        *_of_question(question),
        *_of_words(question, options),
        *_of_options(question, options),
    ]


def _of_question(question: str) -> list[float]:
    """Return its length and marks."""
    size = max(len(question), 1)
    ended = question.rstrip()
    last = re.split(r"(?<=[.?!])\s", question.strip())[-1]
    return [
        float(np.log(len(question) + 1)),
        _share(r"\d", question, size),
        _share(_SYMBOLS, question, size),
        _share(r"[^\x00-\x7f]", question, size),
        "Statement 1" in question,
        "___" in question,
        ended.endswith("?"),
        ended.endswith("."),
        *(question.count(mark) for mark in '.,\n"$?('),
        bool(re.search(r"\d{4}", question)),
        len(last.split()),
        len(last) / size,
    ]


def _of_words(question: str, options: list[str]) -> list[float]:
    """Return the share of some kinds of words, and whether some are there."""
    words, lowered = question.split(), question.lower()
    count = max(len(words), 1)
    first = lowered.split()[0].strip(".,:") if words else ""
    known = _WORD.findall(f"{lowered} {' '.join(options).lower()}")
    return [
        len(words),
        _FIRST.index(first) + 1 if first in _FIRST else 0,
        _mean([len(word) for word in words]),
        sum(word[:1].isupper() for word in words) / count,
        len(set(known)) / max(len(known), 1),
        _mean([len(word) for word in known]),
        _share(r"\b[a-z]{10,}\b", lowered, count),
        _share(r"\b(?:the|a|an|of|to|in|is|that|and|for)\b", lowered, count),
        _share(r"\b(?:I|my|he|she|his|her|him|you)\b", question, count),
        _share(r"\b(?:he|she|plaintiff|defendant|man|woman|patient|who)\b", lowered, count),
        _share(r"\d+", lowered, count),
        *(bool(re.search(pattern, lowered)) for pattern in _ASKED),
    ]


_ASKED = (
    r"\b(?:not|except|least|false|incorrect)\b",
    r"\b(?:wrong|morally|standards)\b",
    r"\b(?:most|best|primarily|likely|usually|always|never)\b",
    r"following",
    r"\b(?:calculate|compute|find|how many|how much|value of|probability|ratio|average)\b",
    r"\b(?:if|suppose|assume|when)\b",
)


def _of_options(question: str, options: list[str]) -> list[float]:
    """Return how long the options are, how alike, and how many are numbers, truth values or lists."""
    lowered = [option.lower() for option in options]
    together = " ".join(options)
    sizes = [len(option) for option in options] or [0]
    words = set(together.lower().split())
    pairs = [(a, b) for place, a in enumerate(lowered) for b in lowered[place + 1 :]]
    return [
        len(options),
        float(np.log(_mean(sizes) + 1)),
        float(np.log((max(sizes) + 1) / (min(sizes) + 1))),
        _mean([len(option.split()) for option in options]),
        sum(bool(_NUMBER.fullmatch(option)) for option in options),
        _in_order(options),
        _share(r"\d", together, max(len(together), 1)),
        _share(_SYMBOLS, together, max(len(together), 1)),
        len(re.findall(r"\b[IVX]+\b", together)),
        "above" in together.lower(),
        len(words) / max(len(together.split()), 1),
        len(words & set(question.lower().split())) / max(len(words), 1),
        max((_alike(a, b) for a, b in pairs), default=0.0),
        sum(option[:1].isupper() for option in options),
        sum(option.rstrip().endswith(".") for option in options),
        together.count(","),
        sum(option.count(" and ") for option in lowered),
        sum("true" in o or "false" in o or o in ("yes", "no") for o in lowered),
    ]


def _in_order(options: list[str]) -> bool:
    """Return whether all options are numbers that rise or fall."""
    try:
        values = [float(re.sub(r"[^\d.]", "", option)) for option in options]
    except ValueError:
        return False
    return len(values) > 1 and values in (sorted(values), sorted(values, reverse=True))


def _alike(one: str, other: str) -> float:
    """Return the share of two options' words that they have in common."""
    first, second = set(one.split()), set(other.split())
    return len(first & second) / max(len(first | second), 1)


def _share(pattern: str, text: str, size: int) -> float:
    return len(re.findall(pattern, text)) / size


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
