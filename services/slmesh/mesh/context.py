"""What travels beside a request: who asks, for which decision, until when.

Request context is metadata, never a message field, because Ray Serve hands a deadline's expiry to a
replica and not its value. A hop reads the context it was sent, does its work, and sends on a context
whose time is what is left. This module knows the keys; it does not know gRPC.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from slmesh.mesh.errors import InvalidArgument

__all__ = ["APPLICATION_KEY", "Metadata", "RequestContext"]

Metadata = Sequence[tuple[str, str]]

APPLICATION_KEY = "application"
"""Names the service a call is for; the key is Ray Serve's own."""
TENANT_KEY = "slmesh-tenant"
DECISION_KEY = "slmesh-decision-id"
TIMEOUT_KEY = "slmesh-timeout-ms"
DATA_CLASSES_KEY = "slmesh-data-classes"
TRACEPARENT_KEY = "traceparent"
SUBJECT_KEY = "slmesh-subject"
"""Whom a text is about, in the caller's own words; what is recorded of it can be deleted by that."""
POLICY_KEY = "slmesh-policy-context"
"""What the policy decided on, sealed; see ``slmesh.policy.seal``."""

DEFAULT_TENANT = "default"
_LONGEST = {
    APPLICATION_KEY: 256,
    TENANT_KEY: 256,
    DECISION_KEY: 256,
    DATA_CLASSES_KEY: 256,
    SUBJECT_KEY: 256,
    POLICY_KEY: 4096,
}
"""The most characters of a value of ours."""


@dataclass(frozen=True, slots=True)
class RequestContext:
    """The context of one request on one hop.

    Attributes:
        service: The service the call is for; empty when the metadata named none.
        tenant: Who is served; ``default`` when the caller named none.
        decision_id: The router's decision the call belongs to; empty for a direct call.
        deadline: The moment on ``time.monotonic()`` by which the answer is due, in seconds, or None.
        data_classes: The classes of the data in the request, as the caller declares them.
        traceparent: The W3C trace context of the caller's span; empty when there is none.
        subject: The caller's id of the person the text is about, for the deletion of what is
            recorded; empty when it gave none. It goes to the router and no further.
        flow: The flow the data belongs to; empty for a direct call. It never comes from metadata
            as such: a gate sets it from a seal it has checked.
        redacted: Whether the text is redacted; proven by the same seal.
        policy_context: The seal, as it travels; empty before a gate has made one.
    """

    service: str = ""
    tenant: str = DEFAULT_TENANT
    decision_id: str = ""
    deadline: float | None = None
    data_classes: tuple[str, ...] = ()
    traceparent: str = ""
    subject: str = ""
    flow: str = ""
    redacted: bool = False
    policy_context: str = ""

    @classmethod
    def from_metadata(cls, metadata: Iterable[tuple[str, str | bytes]]) -> RequestContext:
        """Read the context a caller sent; keys that are not ours are left alone.

        Raises:
            InvalidArgument: A value of ours cannot be read.
        """
        found = {key: value for key, value in metadata if isinstance(value, str)}
        for key, longest in _LONGEST.items():
            if len(found.get(key, "")) > longest:
                raise InvalidArgument(
                    f"metadata key '{key}' is longer than {longest} characters",
                    reason="INVALID_METADATA",
                    metadata={"key": key},
                )
        classes = found.get(DATA_CLASSES_KEY, "")
        return cls(
            service=found.get(APPLICATION_KEY, ""),
            tenant=found.get(TENANT_KEY) or DEFAULT_TENANT,
            decision_id=found.get(DECISION_KEY, ""),
            deadline=_read_deadline(found.get(TIMEOUT_KEY)),
            data_classes=tuple(name for name in classes.split(",") if name),
            traceparent=found.get(TRACEPARENT_KEY, ""),
            subject=found.get(SUBJECT_KEY, ""),
            policy_context=found.get(POLICY_KEY, ""),
        )

    def to_metadata(self) -> list[tuple[str, str]]:
        """Return the metadata to send on; the timeout is what is left at this moment."""
        metadata = [(TENANT_KEY, self.tenant)]
        if self.service:
            metadata.append((APPLICATION_KEY, self.service))
        if self.decision_id:
            metadata.append((DECISION_KEY, self.decision_id))
        if self.data_classes:
            metadata.append((DATA_CLASSES_KEY, ",".join(self.data_classes)))
        if self.traceparent:
            metadata.append((TRACEPARENT_KEY, self.traceparent))
        if self.subject:
            metadata.append((SUBJECT_KEY, self.subject))
        if self.policy_context:
            metadata.append((POLICY_KEY, self.policy_context))
        remaining = self.remaining_s()
        if remaining is not None:
            metadata.append((TIMEOUT_KEY, f"{max(remaining, 0.0) * 1e3:.3f}"))
        return metadata

    def remaining_s(self) -> float | None:
        """Return the seconds left, negative when the deadline has passed, None without one."""
        return None if self.deadline is None else self.deadline - time.monotonic()

    def expired(self) -> bool:
        """Return whether the deadline has passed."""
        remaining = self.remaining_s()
        return remaining is not None and remaining <= 0

    def within(self, timeout_s: float | None) -> RequestContext:
        """Return a context whose deadline is at most ``timeout_s`` seconds from now."""
        if timeout_s is None:
            return self
        deadline = time.monotonic() + timeout_s
        if self.deadline is not None and self.deadline <= deadline:
            return self
        return replace(self, deadline=deadline)

    def to_service(self, service: str) -> RequestContext:
        """Return the same context for a call to another service, which learns no subject."""
        return replace(self, service=service, subject="" if service else self.subject)


def _read_deadline(value: str | None) -> float | None:
    if value is None:
        return None
    try:
        timeout_s = float(value) / 1e3
    except ValueError:
        timeout_s = float("nan")
    if not 0 <= timeout_s < 1e9:  # also false for NaN
        raise InvalidArgument(
            f"metadata key '{TIMEOUT_KEY}' must be a number of milliseconds, 0 or more",
            reason="INVALID_METADATA",
            metadata={"key": TIMEOUT_KEY},
        )
    return time.monotonic() + timeout_s
