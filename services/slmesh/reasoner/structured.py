"""Reads the JSON Schema of a request and checks an answer against it.

A schema is data from the caller: it is checked against its own meta-schema, and nothing it refers
to is ever fetched.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import jsonschema
import referencing
from jsonschema.validators import validator_for

from slmesh.mesh.errors import Internal, InvalidArgument

__all__ = ["check_answer", "parse_schema", "schema_error"]

_DIALECT = jsonschema.Draft202012Validator


def parse_schema(text: str) -> Mapping[str, Any] | None:
    """Return the schema of a request, or None when it asks for free text.

    Raises:
        InvalidArgument: The text is not a JSON Schema; the field is ``output_schema``.
    """
    if not text:
        return None
    try:
        schema = json.loads(text)
    except ValueError as error:
        raise schema_error(f"it is not JSON: {error}") from None
    except RecursionError:
        raise schema_error("it is nested too deeply") from None
    if not isinstance(schema, dict):
        raise schema_error("it must be a JSON object")
    try:
        validator_for(schema, default=_DIALECT).check_schema(schema)
    except jsonschema.SchemaError as error:
        raise schema_error(f"at {error.json_path}: {error.message[:200]}") from None
    except RecursionError:
        raise schema_error("it is nested too deeply") from None
    return schema


def check_answer(schema: Mapping[str, Any], answer: str) -> None:
    """Check a whole answer against the schema it was asked for.

    Raises:
        Internal: The answer does not match; the place is named, the answer is not repeated.
    """
    try:
        value = json.loads(answer)
        validator = validator_for(schema, default=_DIALECT)(schema, registry=referencing.Registry())
        error = jsonschema.exceptions.best_match(validator.iter_errors(value))
    except (ValueError, RecursionError):
        raise _mismatch("it is not JSON") from None
    except referencing.exceptions.Unresolvable:
        raise schema_error("it refers to something outside itself") from None
    if error is not None:
        raise _mismatch(f"the rule '{error.validator}' is broken at {error.json_path}")


def schema_error(why: str) -> InvalidArgument:
    """Return the error for a schema that cannot be used."""
    return InvalidArgument(
        f"output_schema is not a schema the reasoner can follow: {why}",
        reason="INVALID_OUTPUT_SCHEMA",
        field="output_schema",
    )


def _mismatch(why: str) -> Internal:
    return Internal(
        f"the model's answer does not match output_schema: {why}", reason="OUTPUT_SCHEMA_MISMATCH"
    )
