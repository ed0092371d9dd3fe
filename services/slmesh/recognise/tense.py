"""Tells by the words around a date whether they speak of the past.

"I was charged on 3 March" is the latest 3 March, "pay it on 3 March" the next. A rule of thumb for
English: the verbs of the date's own clause decide, else those of the clauses beside it. Words that
look ahead ("will", "want", "please", "for" before the date) win over words that look back, so that a
booking made in the past may be for a day to come. Where nothing tells, it is not the past.
"""

from __future__ import annotations

import re
from bisect import bisect_right

from slmesh.recognise.reading import Reading

_END = re.compile(
    r"[.!?](?=\s|$)|\n|(?P<clause>[,;:()]"
    r"|\s(?:and|but|so|because|which|when|while|then|or|however|yet)(?=\s))",
    re.IGNORECASE,
)
_AHEAD = re.compile(
    r"\b(?:will|won['\u2019]?t|shall|wanna|want(?:s|ed)?|wish|would|please|pls|plan(?:s|ning)?|need(?:s)?"
    r"|going[ ]to|gonna|can|could|may[ ](?:i|we)|let['\u2019]?s|remind|schedule|book|arrange|due"
    r"|expect(?:s|ed)?|tomorrow|supposed|scheduled|planned|booked|next|intend|hope|until[ ]then"
    r"|like[ ]to|(?:get|have)[ ](?:it|them|him|her|me|us))\b|['\u2019](?:ll|d[ ]like)\b",
    re.IGNORECASE,
)
_BACK = re.compile(
    r"\b(?:was|were|wasn['\u2019]?t|weren['\u2019]?t|did|didn['\u2019]?t|had|hadn['\u2019]?t"
    r"|ha(?:s|ve)(?:n['\u2019]?t)?[ ](?:not[ ]|never[ ]|already[ ]|just[ ]|still[ ]not[ ])?"
    r"(?:been|\w{2,}ed|paid|sent|got|gone|made|had|lost|bought)"
    r"|got|went|came|made|sent|paid|bought|took|withdrew|spent|saw|left|lost|told|said|gave|found"
    r"|drank|ate|met|began|broke|stole|wrote|spoke|heard|felt|ran|fell|drove|flew|sold|kept|thought"
    r"|forgot|chose)\b",
    re.IGNORECASE,
)
_REGULAR = re.compile(
    r"(?:^|(?P<before>\b[\w'\u2019]+)[ ])(?P<verb>[a-z]{2,}(?:[^e\W\d_])ed)\b", re.IGNORECASE
)
_NO_SUBJECT = frozenset({
    "be", "is", "are", "am", "being", "get", "gets", "to", "the", "a", "an", "my", "your", "our", "his",
    "her", "their", "this", "that", "these", "those", "not", "of", "for", "with", "by",
    "i'm", "he's", "she's", "it's", "that's", "you're", "we're", "they're", "last", "so", "very", "too",
    "really", "more", "most",
})  # fmt: skip
"""Before a word in -ed they make it an adjective or a passive of the present."""
_NO_VERB = frozenset({"need", "speed", "feed", "indeed", "embed", "hundred", "sacred", "naked"}) | {
    "called",
    "named",
    "titled",
    "based",
    "related",
    "fashioned",
    "interested",
    "limited",
    "united",
}
_PRESENT = re.compile(r"\b(?:is|are|am|be)\b", re.IGNORECASE)
"""With them a word in -ed is no past: "is the party on friday cancelled"."""
_AIMED = re.compile(
    r"\b(?:for|by|until|till|to|in[ ]time[ ]for|before)[ ](?:the[ ])?$", re.IGNORECASE
)
_SINCE = re.compile(r"\bsince[ ](?:the[ ])?$", re.IGNORECASE)


class Clauses:
    """The clauses of a text with what their verbs say, each looked at once."""

    def __init__(self, text: str) -> None:
        self._starts: list[int] = []
        self._texts: list[str] = []
        self._sentences: list[int] = []
        self._said: dict[int, int] = {}
        start, sentence = 0, 0
        for found in _END.finditer(text):
            self._add(text, start, found.end(), sentence)
            sentence += found.group("clause") is None
            start = found.end()
        self._add(text, start, len(text), sentence)

    def _add(self, text: str, start: int, end: int, sentence: int) -> None:
        for first in range(start, max(end, start + 1), _LONGEST_CLAUSE):
            self._starts.append(first)
            self._texts.append(text[first : min(end, first + _LONGEST_CLAUSE)])
            self._sentences.append(sentence)

    def look_back(self, start: int, end: int) -> bool:
        """Return whether the clauses of [start, end), or else those beside them, are of the past."""
        first = bisect_right(self._starts, start) - 1
        last = bisect_right(self._starts, max(start, end - 1)) - 1
        for index in (*range(first, last + 1), first - 1, last + 1):
            if not 0 <= index < len(self._texts):
                continue
            if self._sentences[index] != self._sentences[first]:
                continue
            said = self._say(index)
            if said:
                return said > 0
        return False

    def _say(self, index: int) -> int:
        if index not in self._said:
            clause = self._texts[index]
            ahead = _AHEAD.search(clause) is not None
            self._said[index] = -1 if ahead else int(_looks_back(clause))
        return self._said[index]


_LONGEST_CLAUSE = 200
"""In code points; what is longer is cut."""


def clauses_of(reading: Reading) -> Clauses:
    """Return the clauses of a reading's text."""
    return Clauses(reading.text)


def speaks_of_past(reading: Reading, start: int, end: int) -> bool:
    """Return whether what stands at [start, end) is told as something that has happened.

    Args:
        reading: the text; no more than a sentence around the place counts.
        start: where the date starts, in code points.
        end: where it ends.
    """
    before = reading.text[max(0, start - 16) : start]
    if _SINCE.search(before):
        return True
    if _AIMED.search(before):
        return False
    return reading.once(clauses_of).look_back(start, end)


def _looks_back(clause: str) -> bool:
    if _BACK.search(clause):
        return True
    if _PRESENT.search(clause):
        return False
    for found in _REGULAR.finditer(clause):
        before = (found.group("before") or "").lower()
        if found.group("verb").lower() not in _NO_VERB and before not in _NO_SUBJECT:
            return True
    return False
