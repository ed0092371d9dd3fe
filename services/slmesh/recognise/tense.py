"""Tells by the words around a date whether they speak of the past.

"I was charged on 3 March" is the latest 3 March, "pay it on 3 March" the next. A rule of thumb for
English: the verbs of the date's own clause decide, else those of the clauses beside it. Words that
look ahead ("will", "want", "please", "for" before the date) win over words that look back, so that a
booking made in the past may be for a day to come. Where nothing tells, it is not the past.
"""

from __future__ import annotations

import re

_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|\n")
_CLAUSE_END = re.compile(
    r"[,;:()]|\s(?:and|but|so|because|which|when|while|then|or|however|yet)(?=\s)", re.IGNORECASE
)
_AHEAD = re.compile(
    r"\b(?:will|won['\u2019]?t|shall|wanna|want(?:s|ed)?|wish|would|please|pls|plan(?:s|ning)?|need(?:s)?"
    r"|going[ ]to|gonna|can|could|may[ ](?:i|we)|let['\u2019]?s|remind|schedule|book|arrange|due"
    r"|expect(?:s|ed)?|tomorrow|supposed|scheduled|planned|booked|next|intend|hope|until[ ]then"
    r"|(?:get|have)[ ](?:it|them|him|her|me|us))\b|['\u2019]ll\b",
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
})  # fmt: skip
"""Before a word in -ed they make it an adjective or a passive of the present."""
_NO_VERB = frozenset({"need", "speed", "feed", "indeed", "embed", "hundred", "sacred", "naked"})
_AIMED = re.compile(
    r"\b(?:for|by|until|till|to|in[ ]time[ ]for|before)[ ](?:the[ ])?$", re.IGNORECASE
)
_SINCE = re.compile(r"\bsince[ ](?:the[ ])?$", re.IGNORECASE)


def speaks_of_past(text: str, start: int, end: int) -> bool:
    """Return whether what stands at [start, end) is told as something that has happened.

    Args:
        text: any text; no more than a sentence around the place is read.
        start: where the date starts, in code points.
        end: where it ends.
    """
    before = text[max(0, start - 16) : start]
    if _SINCE.search(before):
        return True
    if _AIMED.search(before):
        return False
    sentence_start, sentence_end = _sentence(text, start, end)
    left = _clauses(text[sentence_start:start])
    right = _clauses(text[end:sentence_end])
    own = f"{left[-1]} . {right[0]}"
    beside = [clause for clause in (left[-2:-1] + right[1:2]) if clause]
    for clause in (own, *beside):
        if _AHEAD.search(clause):
            return False
        if _looks_back(clause):
            return True
    return False


_REACH = 200
"""How many code points before and after a date are read."""


def _sentence(text: str, start: int, end: int) -> tuple[int, int]:
    first = max(0, start - _REACH)
    for found in _SENTENCE_END.finditer(text, first, start):
        first = found.end()
    last = _SENTENCE_END.search(text, end, min(len(text), end + _REACH))
    return first, last.start() if last else min(len(text), end + _REACH)


def _clauses(part: str) -> list[str]:
    return _CLAUSE_END.split(part)


def _looks_back(clause: str) -> bool:
    if _BACK.search(clause):
        return True
    for found in _REGULAR.finditer(clause):
        before = (found.group("before") or "").lower()
        if found.group("verb").lower() not in _NO_VERB and before not in _NO_SUBJECT:
            return True
    return False
