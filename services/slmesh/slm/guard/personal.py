"""The check for personal data: recognisers, cues and a tagger, merged into one list of findings.

Without a tagger it is rules alone and needs no weights. It knows nothing of requests or of redaction.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence

from slmesh.recognise import PERSONAL_KINDS, Context, Match, recognise
from slmesh.slm.guard import cues, numbers

__all__ = ["KINDS", "find_personal_data"]

Tagger = Callable[[str], Iterable[Match]]
"""Finds persons and addresses in a text by a model; matches may overlap those of the rules."""

_RENAMED = {"ssn": "national_id"}
_ANNOUNCED: tuple[tuple[Callable[[str], Iterator[Match]], str], ...] = (
    (numbers.cards, "card"),
    (cues.dates_of_birth, "date_of_birth"),
    (cues.driving_licences, "driving_licence"),
    (numbers.phones, "phone"),
)
_NAMED: tuple[tuple[Callable[[str], Iterator[Match]], str], ...] = (
    (cues.persons, "person"),
    (cues.addresses, "address"),
)

KINDS = tuple(
    sorted(
        {_RENAMED.get(kind, kind) for kind in PERSONAL_KINDS}
        | {kind for _, kind in (*_ANNOUNCED, *_NAMED)}
    )
)
"""Every kind of personal data the check can find."""


def find_personal_data(text: str, tagger: Tagger | None = None) -> list[Match]:
    """Return the personal data of a text, without overlaps, in order of start.

    Where two claim the same characters, the one with a format of its own stands (a card over an
    address), then what is announced (a date of birth, a telephone number), then what the tagger
    takes for a name or an address, then what only a cue announces.

    Args:
        text: Any length; the time taken is linear in it.
        tagger: A model for names and addresses; without one the cues alone find them.
    """
    taken = bytearray(len(text))
    kept: list[Match] = []
    formatted = [
        Match(_RENAMED.get(match.kind, match.kind), match.start, match.end, match.text, match.value)
        for match in recognise(text, PERSONAL_KINDS, Context())
    ]
    phones = [match for match in formatted if match.kind == "phone"]
    _keep((match for match in formatted if match.kind != "phone"), taken, kept)
    tagged = list(tagger(text)) if tagger is not None else []
    streets = [match for match in tagged if match.kind == "address"]
    for find, kind in _ANNOUNCED:
        found = list(find(text))
        if kind == "phone":  # a strict rule may have read a part of what is announced
            found += phones
            # The numbers of a house and of its flat are grouped like a telephone's.
            found = [match for match in found if not _inside(match, streets)]
        _keep(_longest_first(found), taken, kept)
    _keep(tagged, taken, kept)
    for find, _ in _NAMED:
        _keep(_longest_first(find(text)), taken, kept)
    return sorted(kept, key=lambda match: match.start)


def _longest_first(matches: Iterable[Match]) -> list[Match]:
    return sorted(matches, key=lambda match: (match.start - match.end, match.start))


def _inside(match: Match, others: Sequence[Match]) -> bool:
    """Return whether a match is a part of a longer one of several, which are in order of start.

    What begins with a plus sign is a telephone number wherever it stands.
    """
    at = bisect_right(others, match.start, key=lambda other: other.start) - 1
    inside = at >= 0 and match.end < others[at].end
    return inside and not match.text.startswith("+")


def _keep(matches: Iterable[Match], taken: bytearray, kept: list[Match]) -> None:
    for match in matches:
        if match.end > match.start and not any(taken[match.start : match.end]):
            taken[match.start : match.end] = b"\x01" * (match.end - match.start)
            kept.append(match)
