"""Compiles and evaluates the conditions of a flow that are written in CEL.

An expression of the Common Expression Language reads the responses of steps, each under the name of
its step, and the facts of the request under ``request``. The types come from the descriptors of the
contracts, so that an unknown field or a comparison that makes no sense is found when the flow is
loaded. It knows messages only: no flow, no transport.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from cel_expr_python import cel
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from slmesh.api.route.v1 import route_pb2
from slmesh.mesh.contract import contract
from slmesh.mesh.naming import suggestion

__all__ = [
    "REQUEST",
    "Expression",
    "ExpressionError",
    "Outcome",
    "Types",
    "compiled",
    "names_in",
    "types_of",
]

REQUEST = "request"
"""The name under which an expression reads the facts of the request."""

Types = tuple[tuple[str, str], ...]
"""The names an expression may read, each with the full name of its message."""

_REMEMBERED = 512
"""Expressions that stay compiled: those of some hundred flows, in two versions each."""

_TOKEN = re.compile(
    r"""(?P<skipped>//[^\n]*|[rRbB]{0,2}(?:\"{3}.*?\"{3}|'{3}.*?'{3}|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'))"""
    r"""|(?P<path>(?<![\w.])[A-Za-z_]\w*(?:\s*\.\s*[A-Za-z_]\w*|\s*\[\s*\d+\s*\])*)(?P<call>\s*\()?"""
    r"""|\d[\w.]*""",
    re.DOTALL,
)
"""What is needed to find the paths ``step.field[0].field`` of an expression that is right."""

_FLAW = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")
_UNKNOWN_FIELD = re.compile(r"undefined field '(.+?)' not found in struct '(.+?)'")
_UNKNOWN_NAME = re.compile(r"undeclared reference to '(.+?)'")
_NO_OVERLOAD = re.compile(r"found no matching overload for '(.+?)' applied to '\((.*)\)'")
_SYNTAX = re.compile(r"Syntax error: (.*?)(?: expecting .*)?")

_FAILURES = {
    "Index error": "an index is out of range",
    "Key not found": "a key is not there",
    "divide by zero": "it divides by zero",
    "conversion": "a value cannot be converted",
    "cannot convert": "a value cannot be converted",
}
"""What may be told of an error at run time: CEL's own words can quote a value, and so the text."""


class ExpressionError(ValueError):
    """An expression is wrong: not CEL, an unknown name, types that do not fit, or no condition."""


@dataclass(frozen=True)
class Outcome:
    """What an expression has come to.

    Attributes:
        held: Whether it is true; False when it could not be evaluated.
        problem: Why it could not be evaluated; empty when it could.
        values: The single values it names, as far as they do not quote the text.
    """

    held: bool
    problem: str
    values: tuple[route_pb2.ConditionValue, ...]


@dataclass(frozen=True)
class Expression:
    """A condition in CEL, checked against the types of what it reads.

    Attributes:
        source: The expression.
        names: The steps whose responses it reads and ``request``, in order of appearance.
    """

    source: str
    names: tuple[str, ...]
    _environment: Any = field(repr=False)
    _program: Any = field(repr=False)
    _read: tuple[tuple[str, Any], ...] = field(repr=False)

    def evaluate(self, messages: Mapping[str, Message]) -> Outcome:
        """Evaluate it.

        Args:
            messages: What there is to read by name; what is missing makes it fail only where its
                value depends on it.
        """
        known = {name: messages[name] for name in self.names if name in messages}
        activation = self._environment.Activation(known)
        result = self._program.eval(activation)
        values = tuple(
            value
            for path, program in self._read
            if path.partition(".")[0] in known
            and (value := _value(path, program.eval(activation))) is not None
        )
        if result.type() != cel.Type.ERROR:
            return Outcome(bool(result.value()), "", values)
        missing = [name for name in self.names if name not in known]
        return Outcome(False, _failure(str(result.value()), missing), values)


def types_of(contracts: Mapping[str, str]) -> Types:
    """Return what expressions of a flow may read: its steps' responses, and the request.

    Args:
        contracts: The contract of every step, by the step's name.
    """
    responses = {
        step: contract(spoken).single.response_type.DESCRIPTOR.full_name
        for step, spoken in contracts.items()
    }
    return (*responses.items(), (REQUEST, route_pb2.RequestFacts.DESCRIPTOR.full_name))


def names_in(source: str, valid: Iterable[str]) -> tuple[str, ...]:
    """Return those of the valid names that an expression reads, in order of appearance."""
    known = set(valid)
    heads = (path.partition(".")[0].partition("[")[0] for path in _paths(source))
    return tuple(dict.fromkeys(head for head in heads if head in known))


@lru_cache(maxsize=_REMEMBERED)
def compiled(source: str, types: Types) -> Expression:
    """Return an expression, checked.

    Args:
        source: The expression.
        types: What it may read.

    Raises:
        ExpressionError: It is wrong; the message says where, and names the nearest valid name.
    """
    messages = dict(types)
    names = names_in(source, messages)
    environment = cel.NewEnv(
        descriptor_pool.Default(), variables={name: cel.Type(messages[name]) for name in names}
    )
    try:
        program = environment.compile(source)
    except RuntimeError as error:
        raise ExpressionError(_explained(str(error), source, messages)) from None
    if program.return_type() != cel.Type.BOOL:
        kind = program.return_type().name().lower()
        raise ExpressionError(f"a condition is true or false, this is {kind}")
    return Expression(source, names, environment, program, _readings(source, messages, environment))


def _paths(source: str) -> Iterable[str]:
    """Yield the paths of an expression without white space; the name of a method is no part of one."""
    for token in _TOKEN.finditer(source):
        path = re.sub(r"\s+", "", token["path"] or "")
        if path and token["call"]:
            path = path.rpartition(".")[0]
        if path:
            yield path


def _readings(
    source: str, messages: Mapping[str, str], environment: Any
) -> tuple[tuple[str, Any], ...]:
    """Return the paths of an expression that end at a single value which may be told."""
    found: dict[str, Any] = {}
    for path in _paths(source):
        name = path.partition(".")[0]
        if name in messages and path not in found and _may_be_told(path, messages[name]):
            found[path] = environment.compile(path)
    return tuple(found.items())


def _may_be_told(path: str, message: str) -> bool:
    """Return whether a path ends at a number, a name or a flag that is not of the text's words."""
    at: Descriptor | None = descriptor_pool.Default().FindMessageTypeByName(message)
    last: FieldDescriptor | None = None
    for part in path.split(".")[1:]:
        plain = part.partition("[")[0]
        if at is None or at.full_name == "slmesh.api.extract.v1.Value":
            return False
        last = at.fields_by_name.get(plain)
        if last is None or last.name == "text" or (last.is_repeated and "[" not in part):
            return False
        at = last.message_type
    return last is not None and at is None


def _value(path: str, result: Any) -> route_pb2.ConditionValue | None:
    value = result.value()
    if result.type() == cel.Type.ERROR:
        return None
    if isinstance(value, bool):
        return route_pb2.ConditionValue(field=path, flag=value)
    if isinstance(value, (int, float)):
        return route_pb2.ConditionValue(field=path, number=value)
    return route_pb2.ConditionValue(field=path, text=str(value))


def _failure(said: str, missing: Iterable[str]) -> str:
    if "No value with name" in said:
        return f"{' and '.join(missing)} gave no signal"
    told = (sentence for words, sentence in _FAILURES.items() if words in said)
    return next(told, "a value is not what it needs")


def _explained(said: str, source: str, messages: Mapping[str, str]) -> str:
    """Return CEL's complaint in the words of a flow's author, with the place."""
    found = _FLAW.search(said)
    if found is None:
        clash = next((name for name in messages if f"'{name}'" in said), None)
        if clash is not None:
            return f"'{clash}' is a word of CEL; give the step another name"
        return said.partition("\n")[0].removeprefix("INVALID_ARGUMENT: ")
    line, column, flaw = int(found[1]), int(found[2]), found[3].removesuffix(" [INVALID_ARGUMENT]")
    place = f"column {column}"
    if "\n" in source.strip():
        place = f"line {line} of it, {place}"
    return f"{_reworded(flaw, source, messages)} ({place})"


def _reworded(flaw: str, source: str, messages: Mapping[str, str]) -> str:
    if found := _UNKNOWN_FIELD.match(flaw):
        struct = descriptor_pool.Default().FindMessageTypeByName(found[2])
        valid = [one.name for one in struct.fields]
        return f"{struct.name} has no field '{found[1]}'{suggestion(found[1], valid)}"
    if found := _UNKNOWN_NAME.match(flaw):
        name = found[1].partition(".")[0]
        if re.search(rf"\b{re.escape(name)}\s*\(", source):
            return f"there is no function '{name}'"
        return f"there is no '{name}' to read{suggestion(name, messages)}"
    if found := _NO_OVERLOAD.match(flaw):
        kinds = found[2].split(", ")
        hint = "; write a whole number as 1.0" if set(kinds) == {"double", "int"} else ""
        return f"'{found[1].strip('_')}' does not go with {' and '.join(kinds)}{hint}"
    if found := _SYNTAX.fullmatch(flaw):
        return f"not an expression: {found[1]}"
    return flaw
