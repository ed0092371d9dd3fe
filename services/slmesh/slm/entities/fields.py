"""Declares field sets, and turns what was recognised into fields of the extract contract.

Knows which kinds exist and how their values are written on the wire; finds nothing itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.duration_pb2 import Duration

from slmesh.api.extract.v1.extract_pb2 import (
    FIELD_SOURCE_MODEL,
    FIELD_SOURCE_RULE,
    ExtractRequest,
    Field,
    Money,
    Value,
)
from slmesh.api.types.v1.span_pb2 import Span
from slmesh.mesh.errors import FailedPrecondition, InvalidArgument
from slmesh.mesh.naming import suggestion
from slmesh.recognise import KINDS, Match
from slmesh.recognise import Money as Amount
from slmesh.slm.entities.tagger import TaggedSpan

NAME_KINDS = frozenset({"person", "place", "organisation"})
"""The kinds that the tagger finds; all others are found by rule."""

_JOINED_KINDS = frozenset({"date_time", "date_range"})
_WEAK_KINDS = frozenset({"number", "ordinal", "people"})
"""Kinds that a name takes precedence over: the "4" of "Channel 4"."""


@dataclass(frozen=True)
class FieldSet:
    """One declared set: field names with their kinds, in the order of the manifest."""

    name: str
    kinds: Mapping[str, str]


@dataclass(frozen=True)
class Wanted:
    """What one request asks for.

    `fields` maps each kind to the field names that it fills; `rules` are the kinds to recognise,
    which compete for the text; `names` tells whether the tagger is needed.
    """

    fields: Mapping[str, tuple[str, ...]]
    rules: frozenset[str]
    names: bool


class FieldSets:
    """The field sets of a service.

    Args:
        options: `field_sets`, a mapping of set names to mappings of field names to kinds, and
            `default_field_set`, the set of a request that names none.

    Raises:
        FailedPrecondition: the options declare no set, an unknown kind or an unknown default.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        declared = options.get("field_sets")
        if not isinstance(declared, Mapping) or not declared:
            raise _wrong_options("options.field_sets must declare at least one field set")
        self._sets = {
            str(name): FieldSet(str(name), _checked(str(name), kinds))
            for name, kinds in declared.items()
        }
        self._default = str(options.get("default_field_set") or next(iter(self._sets)))
        if self._default not in self._sets:
            raise _wrong_options(
                f"options.default_field_set is '{self._default}', which is not declared"
                f"{suggestion(self._default, self._sets)}"
            )
        self._wanted: dict[tuple[str, ...], Wanted] = {}

    def wanted(self, request: ExtractRequest) -> Wanted:
        """Return what the request asks for.

        Raises:
            InvalidArgument: the field set or a field is unknown; the nearest one is suggested.
        """
        key = (request.field_set, *request.fields)
        if key not in self._wanted:
            resolved = self._resolved(request)
            # Bounded by what can be asked for in practice, not by what can be sent.
            if len(self._wanted) >= _REMEMBERED:
                self._wanted.clear()
            self._wanted[key] = resolved
        return self._wanted[key]

    def _resolved(self, request: ExtractRequest) -> Wanted:
        name = request.field_set or self._default
        if name not in self._sets:
            raise InvalidArgument(
                f"unknown field set '{name[:60]}'{suggestion(name[:60], self._sets)}",
                reason="UNKNOWN_FIELD_SET",
                field="field_set",
            )
        kinds = self._sets[name].kinds
        for index, field in enumerate(request.fields):
            if field not in kinds:
                raise InvalidArgument(
                    f"field set '{name}' has no field '{field[:60]}'"
                    f"{suggestion(field[:60], kinds)}",
                    reason="UNKNOWN_FIELD",
                    field=f"fields[{index}]",
                )
        asked = list(dict.fromkeys(request.fields)) or list(kinds)
        fields: dict[str, tuple[str, ...]] = {}
        for field in asked:
            fields[kinds[field]] = (*fields.get(kinds[field], ()), field)
        # Every kind of the set competes for the text, so that asking for less never finds more;
        # only a join such as "tomorrow at 5pm" makes way for its parts when they alone are wanted.
        rules = frozenset(kinds.values()) - NAME_KINDS - (_JOINED_KINDS - fields.keys())
        return Wanted(fields, rules, not NAME_KINDS.isdisjoint(kinds.values()))


_REMEMBERED = 256


def _checked(name: str, kinds: Any) -> Mapping[str, str]:
    if not isinstance(kinds, Mapping) or not kinds:
        raise _wrong_options(f"field set '{name}' declares no field")
    known = KINDS | NAME_KINDS
    for field, kind in kinds.items():
        if kind not in known:
            raise _wrong_options(
                f"field '{field}' of set '{name}' has the unknown kind '{kind}'"
                f"{suggestion(str(kind), known)}"
            )
    return {str(field): str(kind) for field, kind in kinds.items()}


def _wrong_options(message: str) -> FailedPrecondition:
    return FailedPrecondition(message, reason="INVALID_MANIFEST")


def settled(
    matches: Sequence[Match], spans: Sequence[TaggedSpan]
) -> tuple[list[Match], list[TaggedSpan]]:
    """Return rules' matches and tagged names without overlaps between the two.

    A strong rule (an e-mail address, a date) beats a name, a name beats a plain number.
    """
    if not spans:
        return list(matches), []
    strong = [match for match in matches if match.kind not in _WEAK_KINDS]
    taken = _offsets(strong)
    names = [span for span in spans if not any(taken[span.start : span.end])]
    taken = _offsets(names)
    weak = [
        match
        for match in matches
        if match.kind in _WEAK_KINDS and not any(taken[match.start : match.end])
    ]
    return strong + weak, names


def _offsets(found: Sequence[Match] | Sequence[TaggedSpan]) -> bytearray:
    """Return a byte for each code point up to the last end: 1 where something was found."""
    taken = bytearray(max((one.end for one in found), default=0))
    for one in found:
        taken[one.start : one.end] = b"\x01" * (one.end - one.start)
    return taken


def fields_of(
    text: str, wanted: Wanted, matches: Sequence[Match], spans: Sequence[TaggedSpan]
) -> list[Field]:
    """Return the wanted fields in order of their start."""
    found: list[Field] = []
    for match in matches:
        for name in wanted.fields.get(match.kind, ()):
            field = Field(
                name=name,
                span=Span(start=match.start, end=match.end),
                text=match.text,
                source=FIELD_SOURCE_RULE,
            )
            if match.value is not None:
                field.value.CopyFrom(value_of(match))
            found.append(field)
    for span in spans:
        written = text[span.start : span.end]
        for name in wanted.fields.get(span.label, ()):
            found.append(
                Field(
                    name=name,
                    span=Span(start=span.start, end=span.end),
                    text=written,
                    value=_name_value(span.label, written),
                    probability=span.probability,
                    source=FIELD_SOURCE_MODEL,
                )
            )
    return sorted(found, key=lambda field: (field.span.start, field.span.end, field.name))


def value_of(match: Match) -> Value:
    """Return the value of a match as the contract writes it.

    A kind that the contract has no type for is a keyword.
    """
    kind, value = match.kind, match.value
    written = Value()
    if isinstance(value, Amount):
        written.money.CopyFrom(Money(currency_code=value.currency, minor_units=value.minor_units))
    elif kind == "duration" and isinstance(value, int | float):
        whole = int(value)
        nanos = round((value - whole) * 1e9)
        written.duration.CopyFrom(Duration(seconds=whole, nanos=nanos))
    else:
        setattr(written, _VALUE_FIELDS.get(kind, kind), value)
    return written


_VALUE_FIELDS = {
    "date_range": "interval",
    "people": "number",
    "ssn": "keyword",
    "sort_code": "keyword",
}
"""The field of `Value` that holds a kind, where it has another name than the kind."""


def _name_value(label: str, text: str) -> Value:
    value = Value()
    setattr(value, label, text)
    return value
