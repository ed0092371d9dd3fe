"""Checks of a request that follow from its descriptor: required fields, sizes, enum values.

``google.api.field_behavior`` validates nothing by itself (AIP-203), so the boundary does it here. What
only a service can know (a label, a collection) is the service's ``check``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

from slmesh.mesh.errors import InvalidArgument

__all__ = ["Limits", "parse", "validate"]


@dataclass(frozen=True)
class Limits:
    """The largest request.

    Attributes:
        text_code_points: Of every single text, in Unicode code points.
        items: Of every required list: requests of a batch, segments, candidates.
        message_bytes: Of the serialised message.
    """

    text_code_points: int
    items: int
    message_bytes: int


_Check = Callable[[Any, str, Limits], None]


def parse(message_type: type[Message], payload: bytes, limits: Limits) -> Message:
    """Parse a serialised request.

    Raises:
        InvalidArgument: It is larger than the limit, malformed, or holds a text that is not UTF-8.
    """
    if len(payload) > limits.message_bytes:
        raise InvalidArgument(
            f"the request has {len(payload)} bytes, the limit is {limits.message_bytes}",
            reason="MESSAGE_TOO_LARGE",
            metadata={"limit": str(limits.message_bytes)},
        )
    message = message_type()
    try:
        message.ParseFromString(payload)
    except DecodeError:
        raise InvalidArgument(
            f"the bytes are not a {message_type.DESCRIPTOR.full_name}: malformed, or a text that"
            " is not UTF-8",
            reason="MALFORMED_REQUEST",
        ) from None
    return message


def validate(message: Message, limits: Limits, *, items: bool = True) -> None:
    """Check a request against its descriptor and the limits.

    Args:
        message: The request.
        limits: The limits.
        items: Whether the items of a batch are checked too. The boundary checks them one by one,
            so that one bad item does not fail its neighbours.

    Raises:
        InvalidArgument: The first field that is wrong, with its path and the limit.
    """
    for check in _checks(message.DESCRIPTOR, items):
        check(message, "", limits)


@cache
def _checks(descriptor: Descriptor, items: bool) -> tuple[_Check, ...]:
    checks = []
    for field in descriptor.fields:
        if field.type == FieldDescriptor.TYPE_STRING:
            checks.append(_text_check(field))
        elif field.type == FieldDescriptor.TYPE_ENUM:
            checks.append(_enum_check(field))
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            checks.extend(_message_checks(field, items))
    return tuple(checks)


def _required(field: FieldDescriptor) -> bool:
    behaviours = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    return field_behavior_pb2.REQUIRED in behaviours


def _missing(path: str) -> InvalidArgument:
    return InvalidArgument(f"the field '{path}' is required", reason="FIELD_REQUIRED", field=path)


def _text_check(field: FieldDescriptor) -> _Check:
    name, required, repeated = field.name, _required(field), field.is_repeated

    def check_one(value: str, path: str, limits: Limits) -> None:
        if len(value) > limits.text_code_points:
            raise InvalidArgument(
                f"the field '{path}' has {len(value)} code points, the limit is"
                f" {limits.text_code_points}",
                reason="TEXT_TOO_LONG",
                field=path,
                metadata={"limit": str(limits.text_code_points)},
            )

    def check(message: Any, prefix: str, limits: Limits) -> None:
        value = getattr(message, name)
        if repeated:
            for index, item in enumerate(value):
                check_one(item, f"{prefix}{name}[{index}]", limits)
        elif required and not value:
            raise _missing(prefix + name)
        else:
            check_one(value, prefix + name, limits)

    return check


def _enum_check(field: FieldDescriptor) -> _Check:
    name, required, repeated = field.name, _required(field), field.is_repeated
    values = field.enum_type.values if field.enum_type else ()
    known = frozenset(value.number for value in values)
    valid = ", ".join(value.name for value in values if value.number)

    def check(message: Any, prefix: str, _: Limits) -> None:
        value = getattr(message, name)
        for index, number in enumerate(value if repeated else [value]):
            path = f"{prefix}{name}[{index}]" if repeated else prefix + name
            if number == 0 and not repeated and not required:
                continue
            if number == 0 and not repeated:
                raise _missing(path)
            if number == 0 or number not in known:
                raise InvalidArgument(
                    f"the field '{path}' has the value {number}; it may be {valid}",
                    reason="UNKNOWN_ENUM_VALUE",
                    field=path,
                )

    return check


def _message_checks(field: FieldDescriptor, items: bool) -> list[_Check]:
    name, required, repeated = field.name, _required(field), field.is_repeated
    descend = items or name != "requests"
    inner_type = field.message_type
    assert inner_type is not None
    checks: list[_Check] = []

    def check_count(message: Any, prefix: str, limits: Limits) -> None:
        count = len(getattr(message, name))
        if count == 0:
            raise _missing(prefix + name)
        if count > limits.items:
            raise InvalidArgument(
                f"the field '{prefix}{name}' has {count} items, the limit is {limits.items}",
                reason="TOO_MANY_ITEMS",
                field=prefix + name,
                metadata={"limit": str(limits.items)},
            )

    def check_presence(message: Any, prefix: str, _: Limits) -> None:
        if not message.HasField(name):
            raise _missing(prefix + name)

    def check_inside(message: Any, prefix: str, limits: Limits) -> None:
        # looked up late: a message type may contain itself
        inner = _checks(inner_type, items)
        if not inner:
            return
        if repeated:
            for index, item in enumerate(getattr(message, name)):
                for check in inner:
                    check(item, f"{prefix}{name}[{index}].", limits)
        elif message.HasField(name):
            for check in inner:
                check(getattr(message, name), f"{prefix}{name}.", limits)

    if required:
        checks.append(check_count if repeated else check_presence)
    if descend and not inner_type.full_name.startswith("google."):
        checks.append(check_inside)
    return checks
