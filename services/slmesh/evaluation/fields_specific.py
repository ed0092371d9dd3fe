"""Tells which rows of Recognizers-Text are specific to the engine they were written for.

The rule reads a row and nothing else: no answer of a service goes into it. It is written down in
``label_maps.yaml``; this module only applies it. Such rows are counted and judged like the others, and
the figures are printed with them and without.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any

from slmesh.evaluation.values import exponent_of

__all__ = ["is_engine_specific"]


def is_engine_specific(rule: Mapping[str, Any], results: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether any of a row's judged results is specific to the engine.

    Args:
        rule: ``keys``, ``values`` and ``timex`` of an item of a resolution; ``units`` that are no
            currency of ISO 4217; ``valueless``, types that the engine also gives without a number;
            ``texts``, patterns for the whole text of a result by its type.
        results: The results whose type is judged.
    """
    return any(_is_specific(rule, result) for result in results)


def _is_specific(rule: Mapping[str, Any], result: Mapping[str, Any]) -> bool:
    kind = result.get("typeName", result.get("typename", ""))
    resolution = result.get("resolution") or {}
    return (
        any(_is_convention(rule, item) for item in resolution.get("values", ()))
        or resolution.get("unit") in rule["units"]
        or (kind in rule["valueless"] and _number(resolution) is None)
        or (kind == "currency" and _is_too_fine(resolution, rule["small_units"]))
        or any(
            _pattern(text).fullmatch(result["text"].strip()) for text in rule["texts"].get(kind, ())
        )
    )


def _is_convention(rule: Mapping[str, Sequence[str]], item: Mapping[str, Any]) -> bool:
    return (
        any(key in item for key in rule["keys"])
        or item.get("value") in rule["values"]
        or item.get("timex") in rule["timex"]
    )


def _is_too_fine(resolution: Mapping[str, Any], small_units: Sequence[str]) -> bool:
    """Tell an amount that is no whole number of the smallest unit, which is what money is held in."""
    number = _number(resolution)
    if number is None:
        return False
    currency = resolution.get("isoCurrency")
    if resolution.get("unit") in small_units:
        return number != int(number)
    return currency is not None and number * 10 ** exponent_of(currency) % 1 != 0


def _number(resolution: Mapping[str, Any]) -> Decimal | None:
    try:
        return Decimal(str(resolution.get("value")).rstrip("%"))
    except InvalidOperation:
        return None


@cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)
