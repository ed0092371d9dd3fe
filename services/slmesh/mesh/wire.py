"""Errors on gRPC's wire and back, in one place.

A :class:`MeshError` travels as status code, message and ``grpc-status-details-bin``. Some errors are
made by gRPC, HAProxy or Ray Serve before our code runs and carry a bare code, at times with an address
or a Python message in their text; they get a reason and a text of ours here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc
from google.rpc import code_pb2, status_pb2

from slmesh.mesh.errors import (
    DeadlineExceeded,
    Internal,
    InvalidArgument,
    MeshError,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
    Unimplemented,
)

__all__ = ["DETAILS_KEY", "MODEL_KEY", "grpc_code", "mesh_error", "trailing_metadata"]

DETAILS_KEY = "grpc-status-details-bin"
MODEL_KEY = "slmesh-model"
"""Trailing metadata of a health check: which model would answer now; another text is another model."""

_CODES: Mapping[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


def grpc_code(error: MeshError) -> grpc.StatusCode:
    """Return gRPC's status code of an error."""
    return _CODES[error.code]


def trailing_metadata(error: MeshError) -> tuple[tuple[str, bytes], ...]:
    """Return the trailing metadata that carries an error's details."""
    return ((DETAILS_KEY, error.to_status().SerializeToString()),)


def mesh_error(error: grpc.aio.AioRpcError, service: str, *, belongs: bool = False) -> MeshError:
    """Return the mesh error a failed call stands for.

    Args:
        error: What grpc.aio raised.
        service: The service that was called, for the texts of bare codes.
        belongs: Whether the service is known to belong to the mesh. An ingress that is starting
            knows no application yet, which is no reason for a caller to give the service up.
    """
    trailing: Any = error.trailing_metadata() or ()
    for key, value in trailing:
        if key == DETAILS_KEY:
            status = status_pb2.Status()
            status.ParseFromString(value if isinstance(value, bytes) else value.encode())
            return MeshError.from_status(status)
    return _from_bare_code(error.code(), service, belongs)


def _from_bare_code(code: grpc.StatusCode, service: str, belongs: bool) -> MeshError:
    number = code.value[0]
    metadata = {"service": service} if service else {}
    named = f"service '{service}'" if service else "the service"
    if number == code_pb2.UNAVAILABLE or (number == code_pb2.NOT_FOUND and belongs):
        return Unavailable(f"{named} cannot be reached", metadata=metadata, retry_delay_s=1.0)
    if number == code_pb2.RESOURCE_EXHAUSTED:
        return ResourceExhausted(
            f"{named} has no room for the request: its queue is full, or the message is larger"
            " than the transport's limit",
            metadata=metadata,
            retry_delay_s=0.5,
        )
    if number == code_pb2.NOT_FOUND:
        return NotFound(f"{named} is not deployed", reason="SERVICE_NOT_FOUND", metadata=metadata)
    if number == code_pb2.DEADLINE_EXCEEDED:
        return DeadlineExceeded(f"{named} did not answer before the deadline", metadata=metadata)
    if number == code_pb2.CANCELLED:
        # our own cancellation never arrives as a status: this is a stream that was reset
        return Unavailable(
            f"the call to {named} was cut: its process or its connection ended",
            reason="CALL_CUT",
            metadata=metadata,
            retry_delay_s=1.0,
        )
    if number == code_pb2.UNIMPLEMENTED:
        return Unimplemented(f"{named} has no such method", metadata=metadata)
    if number == code_pb2.INVALID_ARGUMENT:
        return InvalidArgument(f"{named} refused the request", metadata=metadata)
    if number in (code_pb2.PERMISSION_DENIED, code_pb2.UNAUTHENTICATED):
        return PermissionDenied(f"{named} denied the call", metadata=metadata)
    return Internal(f"{named} failed", reason="SERVICE_FAILED", metadata=metadata)
