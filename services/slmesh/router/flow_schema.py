"""The JSON Schema of a flow file, for editors that complete and check while one writes.

It is made of the dataclasses of ``flow``: their fields are the keys, their annotations the types, and
their docstrings the descriptions. What only a whole flow tells (unknown steps, cycles) is for
``slmesh flows validate``.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Mapping
from typing import Any

from slmesh.router.flow import Flow

__all__ = ["flow_schema"]

_TYPES: Mapping[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}
_ATTRIBUTE = re.compile(r"^(\w+): (.*?)(?=^\w+: |\Z)", re.MULTILINE | re.DOTALL)


def flow_schema() -> dict[str, Any]:
    """Return the schema, JSON Schema draft 2020-12."""
    definitions: dict[str, Any] = {}
    root = _of(Flow, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "slmesh flow",
        **root,
        "$defs": definitions,
    }


def _of(wanted: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if dataclasses.is_dataclass(wanted):
        return _reference(wanted, definitions)
    origin, inner = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (typing.Union, types.UnionType):
        (wanted,) = (one for one in inner if one is not types.NoneType)
        return _of(wanted, definitions)
    if origin is tuple:
        items = _of(inner[0], definitions)
        many = {"type": "array", "items": items}
        # a list of one text may be written as the text
        return {"anyOf": [items, many]} if inner[0] is str else many
    if origin is Mapping:
        return {"type": "object", "additionalProperties": _of(inner[1], definitions)}
    if origin is typing.Literal:
        return {"enum": list(inner)}
    return {"type": _TYPES[wanted]} if wanted in _TYPES else {}


def _reference(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    name = kind.__name__
    if name not in definitions:
        definitions[name] = {}  # taken, should it refer to itself
        definitions[name] = _object(kind, definitions)
    return {"$ref": f"#/$defs/{name}"}


def _object(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    described = _descriptions(kind)
    properties: dict[str, Any] = {}
    required = []
    for spec in dataclasses.fields(kind):
        properties[spec.name] = _of(hints[spec.name], definitions)
        if spec.name in described:
            properties[spec.name] = {"description": described[spec.name], **properties[spec.name]}
        if spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING:
            required.append(spec.name)
        elif isinstance(spec.default, (str, int, float, bool)) and spec.default != "":
            properties[spec.name] = {**properties[spec.name], "default": spec.default}
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "required": required,
    }


def _descriptions(kind: Any) -> dict[str, str]:
    """Return the descriptions of the attributes in a class's docstring."""
    text = inspect.getdoc(kind) or ""
    _, _, attributes = text.partition("Attributes:\n")
    lines = inspect.cleandoc(attributes)
    return {
        found[1]: " ".join(found[2].split()).replace("``", "'")
        for found in _ATTRIBUTE.finditer(lines)
    }
