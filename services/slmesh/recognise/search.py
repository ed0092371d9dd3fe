"""Runs recognisers over one text and settles which of their overlapping matches stand.

Knows the table of kinds and their strength; knows nothing of how a kind is recognised.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from slmesh.recognise import account, contact, moments, money, numbers, reference
from slmesh.recognise.match import Context, Match
from slmesh.recognise.reading import Reading, Recogniser

_TABLE: tuple[tuple[Recogniser, dict[str, int]], ...] = (
    (contact.emails, {"email": 0}),
    (contact.urls, {"url": 0}),
    (contact.ip_addresses, {"ip_address": 0}),
    (account.ibans, {"iban": 0}),
    (account.cards, {"card": 0}),
    (account.ssns, {"ssn": 0}),
    (account.sort_codes, {"sort_code": 1}),
    (account.account_numbers, {"account_number": 1}),
    (reference.order_numbers, {"order_number": 1}),
    (contact.phones, {"phone": 1}),
    (money.amounts, {"money": 2}),
    (moments.moments, {"date": 2, "time": 2, "date_time": 2, "date_range": 2, "duration": 2}),
    (numbers.percentages, {"percentage": 2}),
    (numbers.people, {"people": 3}),
    (numbers.ordinals, {"ordinal": 4}),
    (numbers.numbers, {"number": 5}),
)
"""Each recogniser with the strength of its kinds: of two overlapping matches the one with the lower
number stands (0: proven by check digits or syntax), then the longer, then the earlier."""

_STRENGTH = {kind: strength for _, kinds in _TABLE for kind, strength in kinds.items()}

KINDS = frozenset(_STRENGTH)
"""Every kind that can be asked for."""

PERSONAL_KINDS = frozenset(
    {"email", "phone", "url", "ip_address", "iban", "card", "ssn", "sort_code", "account_number"}
)
"""The kinds that can tell who somebody is."""


def recognise(text: str, kinds: Collection[str], context: Context) -> list[Match]:
    """Return what stands in the text, without overlaps, in order of start.

    Kinds compete only with the kinds asked for: "4111 1111 1111 1111" asked for `phone` alone is
    not settled against `card`.

    Args:
        text: any length; the time taken is linear in it.
        kinds: what to look for, out of `KINDS`.
        context: what is known about the writer.

    Raises:
        ValueError: a kind or the locale is unknown, or a kind counts from the reference time and
            the context has none.
    """
    wanted = frozenset(kinds)
    unknown = wanted - KINDS
    if unknown:
        raise ValueError(f"unknown kinds {sorted(unknown)}; the kinds are {sorted(KINDS)}")
    reading = Reading(text, context)
    found: list[Match] = []
    for recogniser, offered in _TABLE:
        if not wanted.isdisjoint(offered):
            found.extend(match for match in recogniser(reading) if match.kind in wanted)
    return without_overlaps(found)


def without_overlaps(matches: Iterable[Match]) -> list[Match]:
    """Return the matches that stand, in order of start: stronger, then longer, then earlier."""
    ranked = sorted(
        matches,
        key=lambda match: (_STRENGTH[match.kind], match.start - match.end, match.start, match.kind),
    )
    # A match is kept when none of its code points is taken: linear in the text, where a comparison
    # of all pairs is not.
    taken = bytearray(max((match.end for match in ranked), default=0))
    kept = []
    for match in ranked:
        if taken.find(1, match.start, match.end) < 0:
            taken[match.start : match.end] = b"\x01" * (match.end - match.start)
            kept.append(match)
    return sorted(kept, key=lambda match: match.start)
