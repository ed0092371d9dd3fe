"""Answers with fields: ``"{entities.amount} is on its way"`` filled from the signals of a request.

A template is data of a flow: it names fields and nothing else, so no attribute, index, conversion or
format can be reached through it. A text whose field is missing is not used at all.
"""

from __future__ import annotations

import datetime
import re
import string
from collections.abc import Mapping
from decimal import Decimal

from slmesh.api.extract.v1 import extract_pb2
from slmesh.api.signal.v1 import signal_pb2
from slmesh.router.signals import first_label

__all__ = ["fields_of", "filled", "written"]

_FIELD = re.compile(r"([a-z][a-z0-9_]*)\.([a-z][a-z0-9_]*)")
_FORMATTER = string.Formatter()
_MINOR_DIGITS: Mapping[str, int] = {
    "BHD": 3, "CLP": 0, "ISK": 0, "JOD": 3, "JPY": 0, "KRW": 0, "KWD": 3, "OMR": 3, "TND": 3,
    "UGX": 0, "VND": 0, "XAF": 0, "XOF": 0,
}  # fmt: skip
"""Digits after the point of the currencies that have not two. Source: ISO 4217."""


def fields_of(text: str) -> tuple[tuple[str, str], ...]:
    """Return the fields of a template as (step, field).

    Raises:
        ValueError: It holds something that is not ``{step.field}``.
    """
    found = []
    for _, name, spec, conversion in _FORMATTER.parse(text):
        if name is None:
            continue
        match = _FIELD.fullmatch(name)
        if match is None or spec or conversion:
            raise ValueError(f"'{{{name}}}' is not a field: write {{step.field}}")
        found.append((match[1], match[2]))
    return tuple(found)


def filled(text: str, signals: Mapping[str, signal_pb2.Signal]) -> str | None:
    """Return a template with its fields filled, or None when one of them is missing."""
    parts = []
    for literal, name, _, _ in _FORMATTER.parse(text):
        parts.append(literal)
        if name is None:
            continue
        step, _, field = name.partition(".")
        value = _value(signals.get(step), field)
        if not value:
            return None
        parts.append(value)
    return "".join(parts)


def _value(signal: signal_pb2.Signal | None, name: str) -> str:
    """Return one field of one signal as text; empty when it is not there."""
    kind = signal.WhichOneof("answer") if signal is not None else None
    if signal is None or kind is None:
        return ""
    if kind == "classification" and name == "label":
        return first_label(signal).replace("_", " ")
    if kind == "ranking" and name == "text":
        passages = signal.ranking.ranking.passages
        return passages[0].text if passages else ""
    if kind == "scoring":
        for score in signal.scoring.scores.scores:
            if score.scale == name and score.levels:
                return max(score.levels, key=lambda level: level.probability).name
    if kind == "extraction":
        for field in signal.extraction.fields:
            if field.name == name:
                return written(field)
    return ""


def written(field: extract_pb2.Field) -> str:
    """Return a found field for people to read: amounts and days in one form, the rest as written."""
    kind = field.value.WhichOneof("kind")
    if kind == "money":
        money = field.value.money
        digits = _MINOR_DIGITS.get(money.currency_code, 2)
        amount = Decimal(money.minor_units).scaleb(-digits)
        return f"{amount:,.{digits}f} {money.currency_code}"
    if kind == "date":
        try:
            day = datetime.date.fromisoformat(field.value.date)
        except ValueError:
            return field.text  # not of the contract's form: the user's own words are
        return f"{day.day} {day:%B %Y}"
    return field.text
