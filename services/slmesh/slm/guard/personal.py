"""The check for personal data: recognisers, cues and a tagger, merged into one list of findings.

Without a tagger it is rules alone and needs no weights. It knows nothing of requests or of redaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from slmesh.recognise import PERSONAL_KINDS, Context, Match, recognise
from slmesh.slm.guard import cues, numbers

__all__ = ["KINDS", "find_personal_data"]

Tagger = Callable[[str], Iterable[Match]]
"""Finds persons and addresses in a text by a model; matches may overlap those of the rules."""

_RENAMED = {"ssn": "national_id"}
_CUED: tuple[tuple[Callable[[str], Iterator[Match]], str], ...] = (
    (numbers.cards, "card"),
    (cues.dates_of_birth, "date_of_birth"),
    (cues.driving_licences, "driving_licence"),
    (numbers.phones, "phone"),
    (cues.persons, "person"),
    (cues.addresses, "address"),
)

KINDS = tuple(
    sorted({_RENAMED.get(kind, kind) for kind in PERSONAL_KINDS} | {kind for _, kind in _CUED})
)
"""Every kind of personal data the check can find."""


def find_personal_data(text: str, tagger: Tagger | None = None) -> list[Match]:
    """Return the personal data of a text, without overlaps, in order of start.

    Where two kinds claim the same characters, the one with a format of its own stands (a card over
    an address), then what is announced (a date of birth, a telephone number), then names, then
    addresses.

    Args:
        text: Any length; the time taken is linear in it.
        tagger: A model for names and addresses whose matches rank with those of the cues.
    """
    taken = bytearray(len(text))
    kept: list[Match] = []
    formatted = (
        Match(_RENAMED.get(match.kind, match.kind), match.start, match.end, match.text, match.value)
        for match in recognise(text, PERSONAL_KINDS, Context())
    )
    _keep(formatted, taken, kept)
    tagged = list(tagger(text)) if tagger is not None else []
    for find, kind in _CUED:
        found = [*find(text), *(match for match in tagged if match.kind == kind)]
        longest_first = sorted(found, key=lambda match: (match.start - match.end, match.start))
        _keep(longest_first, taken, kept)
    return sorted(kept, key=lambda match: match.start)


def _keep(matches: Iterable[Match], taken: bytearray, kept: list[Match]) -> None:
    for match in matches:
        if match.end > match.start and not any(taken[match.start : match.end]):
            taken[match.start : match.end] = b"\x01" * (match.end - match.start)
            kept.append(match)
