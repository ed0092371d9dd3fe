"""The values that a condition has read, for people."""

from __future__ import annotations

from collections.abc import Sequence

from slmesh.api.route.v1 import route_pb2

__all__ = ["written_values"]


def written_values(values: Sequence[route_pb2.ConditionValue]) -> str:
    """Return the values, each with where it stands."""
    return ", ".join(f"{value.field} = {_written(value)}" for value in values)


def _written(value: route_pb2.ConditionValue) -> str:
    kind = value.WhichOneof("value")
    if kind == "number":
        return f"{value.number:.6g}"
    return value.text if kind == "text" else str(value.flag).lower()
