"""The errors of the mesh, and their form on the wire.

    MeshError
    ├── InvalidArgument      bad input: the field and the limit are named
    ├── NotFound             an unknown service, flow, collection or decision
    ├── PermissionDenied     policy forbids it
    ├── ResourceExhausted    a queue or a budget is full; says when to try again
    ├── FailedPrecondition   the system is in the wrong state until somebody acts
    ├── Aborted              another write came first
    ├── Unavailable          a service is loading or down; the only one a client retries
    ├── DeadlineExceeded     out of time
    ├── Cancelled            the caller went away
    ├── Unimplemented        the service has no such method
    └── Internal             a fault of ours: an id for the log, and nothing else

Every error travels as ``google.rpc.Status`` with exactly one ``ErrorInfo``, plus ``BadRequest`` when
a field is at fault and ``RetryInfo`` when a retry makes sense (AIP-193). This module knows the
messages of ``google.rpc`` and nothing of gRPC itself, so domain code may raise these errors.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import ClassVar

from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import code_pb2, error_details_pb2, status_pb2

__all__ = [
    "DOMAIN",
    "Aborted",
    "Cancelled",
    "DeadlineExceeded",
    "FailedPrecondition",
    "Internal",
    "InvalidArgument",
    "MeshError",
    "NotFound",
    "PermissionDenied",
    "ResourceExhausted",
    "Unavailable",
    "Unimplemented",
]

DOMAIN = "slmesh"
"""The ``ErrorInfo.domain`` of every error this project makes."""


class MeshError(Exception):
    """An error with a canonical code, a stable reason and a message for the caller.

    Args:
        message: What happened, which value, and which setting or call mends it. It reaches the
            client: it holds no path, address or piece of the caller's text.
        reason: ``ErrorInfo.reason``, UPPER_SNAKE_CASE; the class's own when None.
        metadata: ``ErrorInfo.metadata``; keys in lowerCamelCase.
        field: The request field at fault, as a path: ``requests[3].text``.
        retry_delay_s: Seconds after which a retry may succeed, > 0.
    """

    code: ClassVar[int] = code_pb2.UNKNOWN
    default_reason: ClassVar[str] = "UNKNOWN"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
        field: str | None = None,
        retry_delay_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.metadata = dict(metadata or {})
        self.field = field
        self.retry_delay_s = retry_delay_s

    def with_field_prefix(self, prefix: str) -> MeshError:
        """Return a copy whose field path starts with ``prefix``, for an item of a batch."""
        field = f"{prefix}.{self.field}" if self.field else prefix
        return type(self)(
            self.message,
            reason=self.reason,
            metadata=self.metadata,
            field=field if self.code == code_pb2.INVALID_ARGUMENT else None,
            retry_delay_s=self.retry_delay_s,
        )

    def to_status(self) -> status_pb2.Status:
        """Return the error as ``google.rpc.Status`` with its details."""
        status = status_pb2.Status(code=self.code, message=self.message)
        info = error_details_pb2.ErrorInfo(
            reason=self.reason, domain=DOMAIN, metadata=self.metadata
        )
        _pack(status, info)
        if self.field is not None:
            violation = error_details_pb2.BadRequest.FieldViolation(
                field=self.field, description=self.message, reason=self.reason
            )
            _pack(status, error_details_pb2.BadRequest(field_violations=[violation]))
        if self.retry_delay_s is not None:
            retry = error_details_pb2.RetryInfo()
            retry.retry_delay.FromNanoseconds(int(self.retry_delay_s * 1e9))
            _pack(status, retry)
        return status

    @staticmethod
    def from_status(status: status_pb2.Status) -> MeshError:
        """Return the error a status stands for; a status without details keeps its message."""
        kind = _BY_CODE.get(status.code, Internal)
        info = error_details_pb2.ErrorInfo()
        bad_request = error_details_pb2.BadRequest()
        retry = error_details_pb2.RetryInfo()
        reason: str | None = None
        metadata: dict[str, str] = {}
        field: str | None = None
        delay: float | None = None
        for detail in status.details:
            if detail.Unpack(info):
                reason, metadata = info.reason, dict(info.metadata)
            elif detail.Unpack(bad_request) and bad_request.field_violations:
                field = bad_request.field_violations[0].field
            elif detail.Unpack(retry):
                delay = retry.retry_delay.ToNanoseconds() / 1e9
        return kind(
            status.message, reason=reason, metadata=metadata, field=field, retry_delay_s=delay
        )


class InvalidArgument(MeshError):
    """The request is wrong, whatever the state of the system."""

    code = code_pb2.INVALID_ARGUMENT
    default_reason = "INVALID_FIELD"


class NotFound(MeshError):
    """The request names something that does not exist."""

    code = code_pb2.NOT_FOUND
    default_reason = "NOT_FOUND"


class PermissionDenied(MeshError):
    """Policy forbids the request."""

    code = code_pb2.PERMISSION_DENIED
    default_reason = "PERMISSION_DENIED"


class ResourceExhausted(MeshError):
    """A queue or a budget is full.

    Metadata with the key ``budget`` names a budget, and makes a ``QuotaFailure`` beside it.
    """

    code = code_pb2.RESOURCE_EXHAUSTED
    default_reason = "QUEUE_FULL"

    def to_status(self) -> status_pb2.Status:
        """See :meth:`MeshError.to_status`."""
        status = super().to_status()
        if "budget" in self.metadata:
            violation = error_details_pb2.QuotaFailure.Violation(
                subject=self.metadata["budget"], description=self.message
            )
            _pack(status, error_details_pb2.QuotaFailure(violations=[violation]))
        return status


class FailedPrecondition(MeshError):
    """The system is not in the state the request needs, and waiting does not mend it."""

    code = code_pb2.FAILED_PRECONDITION
    default_reason = "FAILED_PRECONDITION"


class Aborted(MeshError):
    """The request lost against another one."""

    code = code_pb2.ABORTED
    default_reason = "ABORTED"


class Unavailable(MeshError):
    """A service is loading or down."""

    code = code_pb2.UNAVAILABLE
    default_reason = "SERVICE_UNAVAILABLE"


class DeadlineExceeded(MeshError):
    """The caller's time ran out."""

    code = code_pb2.DEADLINE_EXCEEDED
    default_reason = "DEADLINE_EXCEEDED"


class Cancelled(MeshError):
    """The caller went away."""

    code = code_pb2.CANCELLED
    default_reason = "CANCELLED"


class Unimplemented(MeshError):
    """The service has no such method or option."""

    code = code_pb2.UNIMPLEMENTED
    default_reason = "UNIMPLEMENTED"


class Internal(MeshError):
    """A fault of ours. The client learns an id; the log has the rest under it."""

    code = code_pb2.INTERNAL
    default_reason = "INTERNAL"

    @classmethod
    def with_id(cls) -> Internal:
        """Return an error that says nothing but an id to look for in the log."""
        error_id = uuid.uuid4().hex
        return cls(f"internal error {error_id}", metadata={"errorId": error_id})


_BY_CODE: Mapping[int, type[MeshError]] = {
    kind.code: kind
    for kind in (
        InvalidArgument,
        NotFound,
        PermissionDenied,
        ResourceExhausted,
        FailedPrecondition,
        Aborted,
        Unavailable,
        DeadlineExceeded,
        Cancelled,
        Unimplemented,
        Internal,
    )
}


def _pack(
    status: status_pb2.Status,
    detail: error_details_pb2.ErrorInfo
    | error_details_pb2.BadRequest
    | error_details_pb2.RetryInfo,
) -> None:
    packed = AnyMessage()
    packed.Pack(detail)
    status.details.append(packed)
