"""Checks JSON Schemas and JSON values against them, and says in words what is wrong.

A schema is data: it is checked against its own meta-schema, and nothing it refers to is ever fetched.
This module needs the package jsonschema, which a mesh without structured answers does not have.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

import jsonschema
import referencing
from jsonschema.validators import validator_for

__all__ = ["read_json", "schema_problem", "value_problem"]

_DIALECT = jsonschema.Draft202012Validator
_SHOWN = 200
"""Code points of a schema's own words that a message repeats."""

_DEEPEST = 24
"""Levels of a value: protobuf reads 100 levels of messages, and a level of a value takes three."""


def schema_problem(schema: Any) -> str:
    """Return what is wrong with a schema, or "" when it can be used."""
    if not isinstance(schema, dict):
        return "it must be a JSON object"
    try:
        validator_for(schema, default=_DIALECT).check_schema(schema)
    except jsonschema.SchemaError as error:
        return f"at {error.json_path}: {error.message[:_SHOWN]}"
    except RecursionError:
        return "it is nested too deeply"
    return ""


def read_json(text: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: It is not JSON, or holds what JSON does not: NaN, infinity, a number beyond a
            double, more than 24 levels.
    """
    try:
        value = json.loads(text, parse_constant=_refuse, parse_float=_finite, parse_int=_whole)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if _depth(value) > _DEEPEST:
        raise ValueError(f"it has more than {_DEEPEST} levels")
    return value


def value_problem(schema: Mapping[str, Any], text: str) -> str:
    """Return why a text is not a JSON value of a schema, or ""; the text is not repeated.

    Raises:
        LookupError: The schema refers to something outside of itself.
    """
    try:
        value = read_json(text)
        validator = validator_for(schema, default=_DIALECT)(schema, registry=referencing.Registry())
        error = jsonschema.exceptions.best_match(validator.iter_errors(value))
    except (ValueError, RecursionError):
        return "it is not JSON"
    except referencing.exceptions.Unresolvable:
        raise LookupError("it refers to something outside itself") from None
    if error is None:
        return ""
    return f"the rule '{error.validator}' is broken at {error.json_path[:_SHOWN]}"


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


def _whole(digits: str) -> int:
    _finite(digits)
    return int(digits)


def _depth(value: Any) -> int:
    """Return how many levels a value has; a plain one has none."""
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    return 0
