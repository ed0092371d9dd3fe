"""Deterministic recognisers of values in text, shared by the entities service and the guard.

Rules only: no model, no network, no state. Every pattern takes time linear in the text.
"""

from slmesh.recognise.locales import writing
from slmesh.recognise.match import Context, Match, Money, Value
from slmesh.recognise.money import is_currency
from slmesh.recognise.search import KINDS, PERSONAL_KINDS, recognise, without_overlaps

__all__ = [
    "KINDS",
    "PERSONAL_KINDS",
    "Context",
    "Match",
    "Money",
    "Value",
    "is_currency",
    "recognise",
    "without_overlaps",
    "writing",
]
