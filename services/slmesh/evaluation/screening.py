"""Reads rows as cases of the guard contract: personal data, injected instructions, and neither.

What a user writes and what a document holds are told apart, because the same words are an injection
only in one of them.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from slmesh.api.guard.v1.guard_pb2 import (
    CHECK_TYPE_INJECTION,
    CHECK_TYPE_PERSONAL_DATA,
    ORIGIN_DOCUMENT,
    ORIGIN_TOOL,
    ORIGIN_USER,
    Origin,
    Redaction,
    ScreenRequest,
    Segment,
)
from slmesh.evaluation.cases import Cases, ExpectedFindings, RequestCase
from slmesh.evaluation.formats import DataFile
from slmesh.evaluation.label_maps import label_map
from slmesh.evaluation.rows import Row
from slmesh.evaluation.subject import Subject
from slmesh.mesh.errors import InvalidArgument

__all__ = ["finding_cases"]

_INJECTED = frozenset({"purplellama_injection", "jailbreak_prompts"})
_ORIGINS: Mapping[str, Origin] = {
    "user": ORIGIN_USER,
    "document": ORIGIN_DOCUMENT,
    "tool": ORIGIN_TOOL,
}
_PLACES = ("start", "middle", "end")
"""Where an attack is put into a document. Source: BIPIA, arXiv 2312.14197, section 3."""


def finding_cases(files: Sequence[DataFile], _: Subject) -> Cases:
    """Return the cases of a guard.

    Raises:
        InvalidArgument: A row is wrong, or there are attacks of BIPIA and no contexts to put them
            into.
    """
    cases: list[RequestCase] = []
    left_out: Counter[str] = Counter()
    attacks: list[Row] = []
    contexts: list[Row] = []
    for file in files:
        name = file.format.name
        if name == "bipia_attacks":
            attacks += file.rows
            continue
        if name == "bipia_contexts":
            contexts += file.rows
        for row in file.rows:
            if name == "xstest" and row.text("label") != "safe":
                left_out["xstest: unsafe prompts, which are requests and no injections"] += 1
            else:
                cases.append(_case(name, row, file.format.text))
    cases += _attacked(attacks, contexts)
    return Cases(tuple(cases), left_out)


def _case(name: str, row: Row, column: str) -> RequestCase:
    if name == "presidio_pii":
        return _personal_case(name, row)
    if name == "golden_findings":
        return _golden_case(name, row)
    origin = ORIGIN_DOCUMENT if name == "bipia_contexts" else ORIGIN_USER
    return _injection_case(name, row.place, row.text(column), origin, name in _INJECTED)


def _injection_case(
    name: str, place: str, text: str, origin: Origin, injection: bool
) -> RequestCase:
    request = ScreenRequest(
        segments=[Segment(text=text, origin=origin)], checks=[CHECK_TYPE_INJECTION]
    )
    return RequestCase(name, place, ExpectedFindings(injection=injection), (request,))


def _personal_case(name: str, row: Row) -> RequestCase:
    kinds: Mapping[str, str] = label_map("guard", name)
    text = row.text("text")
    found = set()
    for span in row.items("spans"):
        try:
            label, start, end = str(span["label"]), int(span["start"]), int(span["end"])
        except (KeyError, TypeError, ValueError) as error:
            raise row.wrong(f"a span cannot be read: {error!r}") from None
        if not 0 <= start < end <= len(text):
            raise row.wrong(f"the span [{start}, {end}) is not in the text")
        if label in kinds:
            found.add((kinds[label], start, end))
    expected = ExpectedFindings(frozenset(found), frozenset(kinds.values()))
    request = ScreenRequest(
        segments=[Segment(text=text, origin=ORIGIN_USER)],
        checks=[CHECK_TYPE_PERSONAL_DATA],
        redaction=Redaction(),
    )
    return RequestCase(name, row.place, expected, (request,))


def _golden_case(name: str, row: Row) -> RequestCase:
    text, origin = row.text("text"), row.text("origin")
    if origin not in _ORIGINS:
        raise row.wrong(f"the origin '{origin}' is none of {', '.join(_ORIGINS)}")
    found = set()
    position = 0
    for item in row.items("personal_data"):
        try:
            kind, value = str(item["kind"]), str(item["value"])
        except (KeyError, TypeError):
            raise row.wrong("personal data need a kind and a value") from None
        start = text.find(value, position)
        if start < 0:
            raise row.wrong(f"the {kind} is not in the text, or not in the order of the text")
        position = start + len(value)
        found.add((kind, start, position))
    expected = ExpectedFindings(frozenset(found), None, row.truth("injection"))
    request = ScreenRequest(segments=[Segment(text=text, origin=_ORIGINS[origin])])
    return RequestCase(name, row.place, expected, (request,))


def _attacked(attacks: Sequence[Row], contexts: Sequence[Row]) -> Iterator[RequestCase]:
    """Put each attack at the start, in the middle and at the end of a document."""
    if attacks and not contexts:
        raise InvalidArgument(
            f"{attacks[0].place}: an attack of BIPIA is one only inside a document: give a file of"
            " contexts (columns context, question, ideal) with --data too",
            reason="NO_CONTEXTS",
        )
    for row in attacks:
        attack = row.text("attack")
        for place in _PLACES:
            # drawn by content, so that more files or other orders do not change the pairs
            digest = hashlib.sha256(f"{place} {attack}".encode()).digest()
            context = contexts[int.from_bytes(digest[:8], "big") % len(contexts)].text("context")
            text = _inserted(context, attack, place)
            yield _injection_case("bipia_attacks", row.place, text, ORIGIN_DOCUMENT, True)


def _inserted(context: str, attack: str, place: str) -> str:
    lines = context.split("\n")
    at = {"start": 0, "middle": len(lines) // 2, "end": len(lines)}[place]
    return "\n".join([*lines[:at], attack, *lines[at:]])
