"""Reads the JSON Schema of a request and checks an answer against it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from slmesh.api.reason.v1.reason_pb2 import Usage
from slmesh.mesh.errors import Internal, InvalidArgument
from slmesh.mesh.json_schema import schema_problem, value_problem

__all__ = ["check_answer", "parse_schema", "schema_error"]


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
    if problem := schema_problem(schema):
        raise schema_error(problem)
    return schema  # type: ignore[no-any-return]


def check_answer(schema: Mapping[str, Any], answer: str, usage: Usage | None = None) -> None:
    """Check a whole answer against the schema it was asked for.

    Args:
        schema: The schema.
        answer: The answer.
        usage: What it took, where the engine tells: the caller has to pay for it all the same.

    Raises:
        Internal: The answer does not match. The place is named, in the message and as ``problem``
            in the metadata; the answer is not repeated.
    """
    try:
        problem = value_problem(schema, answer)
    except LookupError as error:
        raise schema_error(str(error)) from None
    if not problem:
        return
    metadata = {"problem": problem}
    if usage is not None:
        metadata["promptTokens"] = str(usage.prompt_tokens)
        metadata["outputTokens"] = str(usage.output_tokens)
    raise Internal(
        f"the model's answer does not match output_schema: {problem}",
        reason="OUTPUT_SCHEMA_MISMATCH",
        metadata=metadata,
    )


def schema_error(why: str) -> InvalidArgument:
    """Return the error for a schema that cannot be used."""
    return InvalidArgument(
        f"output_schema is not a schema the reasoner can follow: {why}",
        reason="INVALID_OUTPUT_SCHEMA",
        field="output_schema",
    )
