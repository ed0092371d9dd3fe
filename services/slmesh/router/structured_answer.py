"""An answer that is a value of the flow's output schema: its check, its message, its texts.

The reasoner sees placeholders in the place of personal values, so what it wrote is what is checked, and
values are put back afterwards, into the texts of the value and never into its JSON. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from google.protobuf import json_format

from slmesh.api.route.v1 import route_pb2
from slmesh.mesh.errors import Internal, InvalidArgument, MeshError
from slmesh.router.reasoning import ReasonedAnswer

__all__ = ["MISMATCH", "checked", "put_text"]

MISMATCH = "OUTPUT_SCHEMA_MISMATCH"
"""Reason and degradation of an answer that is no value of the schema."""


def checked(answer: ReasonedAnswer, schema: str) -> ReasonedAnswer | MeshError:
    """Return an answer that is a value of a schema, or what it is instead as an error.

    Args:
        answer: The answer.
        schema: The schema, as JSON.
    """
    # jsonschema is not there in an installation for the library alone; a flow with a schema is
    # refused there when it is loaded
    from slmesh.mesh.json_schema import value_problem

    if answer.declined:
        return Internal("the reasoner declined to answer", reason="REASONER_DECLINED")
    try:
        problem = value_problem(json.loads(schema), answer.text)
    except LookupError as error:
        return InvalidArgument(f"output_schema: {error}", reason="INVALID_OUTPUT_SCHEMA")
    if not problem:
        # one that ends at the limit of tokens and is whole is whole
        return replace(answer, shortfall=None, structured=True)
    if answer.shortfall is not None:
        problem = f"it was cut after {answer.usage.output_tokens} tokens"
    return Internal(
        f"the reasoner's answer does not match the schema: {problem}",
        reason=MISMATCH,
        metadata={"problem": problem},
    )


def put_text(answer: route_pb2.Answer, text: str, change: Callable[[str], str]) -> None:
    """Put a changed text into an answer; of a structured one, every text in it is changed.

    Args:
        answer: Where it goes; one that is structured stays so.
        text: The text, JSON where the answer is structured.
        change: Is given each text.
    """
    if not answer.HasField("structured"):
        answer.text = change(text)
        return
    value = _changed(json.loads(text), change)
    answer.text = json.dumps(value, ensure_ascii=False)
    answer.ClearField("structured")
    json_format.ParseDict(value, answer.structured)


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    """Return a JSON value with every text in it changed, keys excepted: the schema declares them."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_changed(item, change) for item in value]
    if isinstance(value, dict):
        return {key: _changed(item, change) for key, item in value.items()}
    return value
