"""Reads a YAML declaration into frozen dataclasses, and tells file and line of what is wrong.

The dataclasses are the schema: their fields are the keys there are, their annotations the types. It
does not know what the declaration is for, and it never runs anything a file says.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml

from slmesh.mesh.errors import FailedPrecondition
from slmesh.mesh.naming import suggestion

__all__ = ["SAFE_LOADER", "Declaration", "read_declaration"]

T = TypeVar("T")

SAFE_LOADER: type[yaml.SafeLoader | yaml.CSafeLoader] = getattr(
    yaml, "CSafeLoader", yaml.SafeLoader
)
"""libyaml's parser, ten times as fast as the one in Python, where PyYAML was built with it."""

_hints_of = functools.cache(typing.get_type_hints)

_NAMES: Mapping[type, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}


@dataclass(frozen=True)
class Declaration(Generic[T]):
    """What a file declares, and where.

    Attributes:
        value: The dataclass.
        file: The file it was read from.
        lines: The line, from 1, of every value by its path: ``steps[1].timeout_ms``.
        reason: ``ErrorInfo.reason`` of every error about it.
    """

    value: T
    file: Path
    lines: Mapping[str, int]
    reason: str

    def error(self, path: str, message: str) -> FailedPrecondition:
        """Return the error for a value that has the right type and is wrong all the same."""
        while path and path not in self.lines:
            # the value was left out: the line of what should hold it
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return FailedPrecondition(
            f"{self.file}:{self.lines.get(path, 1)}: {message}", reason=self.reason
        )


def read_declaration(file: Path, kind: type[T], *, reason: str) -> Declaration[T]:
    """Read one YAML document as a dataclass.

    Args:
        file: The file.
        kind: A dataclass of texts, numbers, tuples, mappings and dataclasses.
        reason: ``ErrorInfo.reason`` of every error about the file.

    Raises:
        FailedPrecondition: The file cannot be read, or a key is unknown (the nearest valid one is
            named), missing or of the wrong type; the message starts with file and line.
    """
    try:
        root = yaml.compose(file.read_text(encoding="utf-8"), Loader=SAFE_LOADER)
    except (OSError, UnicodeDecodeError) as error:
        raise FailedPrecondition(f"{file}: {error}", reason=reason) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise FailedPrecondition(f"{file}:{line}: {error.problem}", reason=reason) from None
    except yaml.YAMLError as error:
        raise FailedPrecondition(f"{file}: {error}", reason=reason) from None
    decoder = _Decoder(file, reason)
    if root is None:
        raise FailedPrecondition(f"{file}:1: the file declares nothing", reason=reason)
    value = decoder.decode(kind, root, "")
    return Declaration(value, file, decoder.lines, reason)


class _Decoder:
    def __init__(self, file: Path, reason: str) -> None:
        self.lines: dict[str, int] = {}
        self._file = file
        self._reason = reason
        self._seen: set[int] = set()
        self._scalars = yaml.SafeLoader("")

    def decode(self, wanted: Any, node: yaml.Node, path: str) -> Any:
        self.lines[path] = node.start_mark.line + 1
        if id(node) in self._seen:
            raise self._wrong(node, "anchors and aliases are not allowed here")
        self._seen.add(id(node))
        if dataclasses.is_dataclass(wanted):
            return self._dataclass(wanted, node, path)
        origin, inner = typing.get_origin(wanted), typing.get_args(wanted)
        if origin in (typing.Union, types.UnionType):
            (wanted,) = (one for one in inner if one is not types.NoneType)
            self._seen.discard(id(node))
            return self.decode(wanted, node, path)
        if origin is tuple:
            return self._tuple(inner[0], node, path)
        if origin is Mapping:
            return types.MappingProxyType(self._mapping(inner[1], node, path))
        if origin is typing.Literal:
            return self._literal(inner, node, path)
        if wanted is Any:
            return self._free(node, path)
        return self._scalar(wanted, node, path)

    def _dataclass(self, wanted: Any, node: yaml.Node, path: str) -> Any:
        specs = {field.name: field for field in dataclasses.fields(wanted) if field.init}
        hints = _hints_of(wanted)
        values: dict[str, Any] = {}
        for key, key_node, value_node in self._pairs(node, path):
            if key not in specs:
                raise self._wrong(
                    key_node, f"unknown key {_named(key, path)}{suggestion(key, specs)}"
                )
            values[key] = self.decode(hints[key], value_node, _join(path, key))
            # a list in block style begins one line below its key
            self.lines[_join(path, key)] = key_node.start_mark.line + 1
        for name, spec in specs.items():
            optional = (
                spec.default is not dataclasses.MISSING
                or spec.default_factory is not dataclasses.MISSING
            )
            if name not in values and not optional:
                raise self._wrong(node, f"the key {_named(name, path)} is missing")
        return wanted(**values)

    def _mapping(self, wanted: Any, node: yaml.Node, path: str) -> dict[str, Any]:
        return {
            key: self.decode(wanted, value_node, _join(path, key))
            for key, _, value_node in self._pairs(node, path)
        }

    def _pairs(self, node: yaml.Node, path: str) -> list[tuple[str, yaml.Node, yaml.Node]]:
        if not isinstance(node, yaml.MappingNode):
            raise self._wrong(node, f"{_place(path)} must be a mapping")
        pairs: list[tuple[str, yaml.Node, yaml.Node]] = []
        keys: set[str] = set()
        for key_node, value_node in node.value:
            key = self._scalar(str, key_node, f"a key of {path}" if path else "a key")
            if key in keys:
                raise self._wrong(key_node, f"the key {_named(key, path)} is there twice")
            keys.add(key)
            pairs.append((key, key_node, value_node))
        return pairs

    def _tuple(self, wanted: Any, node: yaml.Node, path: str) -> tuple[Any, ...]:
        if isinstance(node, yaml.ScalarNode) and wanted is str:
            return (self._scalar(str, node, path),)  # a list of one text may be written as the text
        if not isinstance(node, yaml.SequenceNode):
            raise self._wrong(node, f"{_place(path)} must be a list")
        return tuple(
            self.decode(wanted, item, f"{path}[{index}]") for index, item in enumerate(node.value)
        )

    def _literal(self, valid: tuple[Any, ...], node: yaml.Node, path: str) -> Any:
        value = self._scalar(str, node, path)
        if value not in valid:
            raise self._wrong(node, f"{_place(path)} cannot be '{value}'{suggestion(value, valid)}")
        return value

    def _free(self, node: yaml.Node, path: str) -> Any:
        if isinstance(node, yaml.MappingNode):
            return self._mapping(Any, node, path)
        if isinstance(node, yaml.SequenceNode):
            return list(self._tuple(Any, node, path))
        return self._constructed(node)

    def _constructed(self, node: yaml.Node) -> Any:
        try:
            return self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError, OverflowError):
            raise self._wrong(node, "the value cannot be read; put quotes around a text") from None

    def _scalar(self, wanted: type, node: yaml.Node, path: str) -> Any:
        value: Any = None
        if isinstance(node, yaml.ScalarNode):
            value = self._constructed(node)
        if wanted is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not wanted:
            quotes = ""
            if wanted is str and isinstance(node, yaml.ScalarNode) and node.value:
                quotes = f"; put quotes around {node.value}"
            raise self._wrong(node, f"{_place(path)} must be {_NAMES[wanted]}{quotes}")
        if isinstance(value, float) and not math.isfinite(value):
            raise self._wrong(node, f"{_place(path)} must be a finite number")
        return value

    def _wrong(self, node: yaml.Node, message: str) -> FailedPrecondition:
        return FailedPrecondition(
            f"{self._file}:{node.start_mark.line + 1}: {message}", reason=self._reason
        )


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _place(path: str) -> str:
    return f"'{path}'" if path else "the file"


def _named(key: str, path: str) -> str:
    return f"'{key}' in '{path}'" if path else f"'{key}'"
