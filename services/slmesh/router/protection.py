"""Keeps a service that fails, hangs or is full from taking the router and the other services along.

Around every call: a bulkhead (calls under way, for each service and for each tenant of it), a circuit
breaker for each service, and one more try where that is safe, in time and rare. What is refused here
is refused at once, so that a flow has its time for an answer without the service.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from google.protobuf.message import Message

from slmesh.mesh.context import RequestContext
from slmesh.mesh.contract import Rpc
from slmesh.mesh.errors import (
    DeadlineExceeded,
    Internal,
    MeshError,
    ResourceExhausted,
    Unavailable,
)
from slmesh.mesh.transport import Transport

__all__ = ["Breaker", "ProtectedTransport", "Protection"]

_OPEN = "BREAKER_OPEN"

_FAULTS = (DeadlineExceeded, Internal, Unavailable)
"""Errors that say something about the service, and nothing about the request."""

_LEAST_S = 0.1
"""A call that was given less time than this says nothing when it does not come back in it."""

_OF_THE_REQUEST = "OUTPUT_SCHEMA_MISMATCH"
"""The reason of an error that is INTERNAL and tells of one answer only."""


@dataclass(frozen=True)
class Protection:
    """How much a service may fail or take.

    Attributes:
        calls: Calls under way to one service.
        calls_of_tenant: Calls under way to one service for one tenant.
        window: Last calls that a breaker looks at.
        fewest: Calls that it must have seen to open.
        failures: The share of failed calls that opens it, in (0, 1].
        open_s: Seconds until an open breaker lets one call try.
        retries: The share of calls that may be tried again or hedged, in [0, 1].
        retry_after_s: The least time that must be left for one more try, in seconds.
    """

    calls: int = 192
    calls_of_tenant: int = 128
    window: int = 20
    fewest: int = 5
    failures: float = 0.5
    open_s: float = 1.0
    retries: float = 0.1
    retry_after_s: float = 0.05


class Breaker:
    """Opens when a service fails too often, and closes when one call succeeds again.

    Args:
        protection: When it opens, and for how long.
        now_s: Monotonic seconds.
    """

    def __init__(self, protection: Protection, now_s: Callable[[], float]) -> None:
        self._protection = protection
        self._now_s = now_s
        self._failed: deque[bool] = deque(maxlen=protection.window)
        self._opened_s: float | None = None
        self._trying = False

    @property
    def is_open(self) -> bool:
        """Whether calls are refused."""
        return self._opened_s is not None

    def enter(self) -> float:
        """Return 0 when a call may be made, or the seconds until one may try."""
        if self._opened_s is None:
            return 0.0
        wait_s = self._opened_s + self._protection.open_s - self._now_s()
        if wait_s > 0 or self._trying:
            return max(wait_s, 0.05)
        self._trying = True
        return 0.0

    def leave(self, failed: bool | None) -> None:
        """Take the outcome of a call in.

        Args:
            failed: Whether the service is at fault; None when nobody knows, as when the caller
                went away.
        """
        if self._opened_s is not None:
            if not self._trying:
                return  # a call from before it opened
            self._trying = False
            if failed is False:
                self._opened_s = None
                self._failed.clear()
            elif failed:
                self._opened_s = self._now_s()
            return
        if failed is None:
            return
        self._failed.append(failed)
        seen = len(self._failed)
        enough = seen >= self._protection.fewest
        if enough and sum(self._failed) >= self._protection.failures * seen:
            self._opened_s = self._now_s()


@dataclass
class _Guarded:
    breaker: Breaker
    calls: int = 0
    of_tenant: Counter[str] = field(default_factory=Counter)
    asked: int = 0
    retried: int = 0


class ProtectedTransport:
    """Carries calls as long as their service can take them.

    Args:
        transport: What carries them.
        protection: The limits.
        now_s: Monotonic seconds.
        on_breaker: Is told a service and whether its breaker is open, when that changes.
    """

    def __init__(
        self,
        transport: Transport,
        protection: Protection | None = None,
        *,
        now_s: Callable[[], float] = time.monotonic,
        on_breaker: Callable[[str, bool], object] = lambda service, is_open: None,
    ) -> None:
        self._transport = transport
        self._protection = protection or Protection()
        self._now_s = now_s
        self._on_breaker = on_breaker
        self._guarded: dict[str, _Guarded] = {}

    async def unary(self, rpc: Rpc, request: Message, context: RequestContext) -> Message:
        """See :class:`slmesh.mesh.transport.Transport`.

        Raises:
            ResourceExhausted: As many calls are under way as may be.
            Unavailable: The service has failed too often lately.
        """
        guarded = self._of(context.service)
        guarded.asked += 1
        try:
            with self._inside(guarded, context):
                return await self._transport.unary(rpc, request, context)
        except Unavailable as error:
            if not self._may_retry(guarded, context, error):
                raise
        guarded.retried += 1
        with self._inside(guarded, context):
            return await self._transport.unary(rpc, request, context)

    async def stream(
        self, rpc: Rpc, request: Message, context: RequestContext
    ) -> AsyncIterator[Message]:
        """See :class:`slmesh.mesh.transport.Transport`; a stream is never tried again.

        Raises:
            MeshError: See :meth:`unary`.
        """
        with self._inside(self._of(context.service), context):
            events = self._transport.stream(rpc, request, context)
            async with aclosing(cast("Any", events)):
                async for event in events:
                    yield event

    def may_hedge(self, context: RequestContext) -> bool:
        """Take a second call to a service from its retries, or return that it may not have one."""
        guarded = self._of(context.service)
        if guarded.breaker.is_open or not self._may_repeat(guarded, context):
            return False
        guarded.retried += 1
        return True

    async def close(self) -> None:
        """Let connections go."""
        await self._transport.close()

    def _of(self, service: str) -> _Guarded:
        guarded = self._guarded.get(service)
        if guarded is None:
            guarded = self._guarded[service] = _Guarded(Breaker(self._protection, self._now_s))
        return guarded

    def _may_retry(self, guarded: _Guarded, context: RequestContext, error: Unavailable) -> bool:
        """Return whether one more try is safe: the answers of small models change nothing."""
        if guarded.breaker.is_open or error.reason == _OPEN:
            return False
        return self._may_repeat(guarded, context)

    def _may_repeat(self, guarded: _Guarded, context: RequestContext) -> bool:
        """Return whether there is time, and a rest of the share of calls that may be repeated."""
        remaining_s = context.remaining_s()
        if remaining_s is not None and remaining_s < self._protection.retry_after_s:
            return False
        # the first retries of a new service are allowed, and a tenth of the calls after them
        return guarded.retried < 3 + self._protection.retries * guarded.asked

    @contextmanager
    def _inside(self, guarded: _Guarded, context: RequestContext) -> Iterator[None]:
        self._check_room(guarded, context)
        was_open = guarded.breaker.is_open
        wait_s = guarded.breaker.enter()
        if wait_s:
            raise Unavailable(
                f"service '{context.service}' has failed too often lately; it is asked again soon",
                reason=_OPEN,
                metadata={"service": context.service},
                retry_delay_s=wait_s,
            )
        guarded.calls += 1
        guarded.of_tenant[context.tenant] += 1
        failed: bool | None = None
        started_s = self._now_s()
        try:
            yield
            failed = False
        except MeshError as error:
            failed = isinstance(error, _FAULTS) and self._was_due(error, started_s)
            failed = failed and error.reason != _OF_THE_REQUEST
            raise
        except asyncio.CancelledError:
            # either its time is over, which is for the service to answer for, or nobody waits
            if context.expired() and self._now_s() - started_s >= _LEAST_S:
                failed = True
            raise
        finally:
            guarded.calls -= 1
            guarded.of_tenant[context.tenant] -= 1
            if not guarded.of_tenant[context.tenant]:
                del guarded.of_tenant[context.tenant]
            guarded.breaker.leave(failed)
            if guarded.breaker.is_open != was_open:
                self._on_breaker(context.service, guarded.breaker.is_open)

    def _was_due(self, error: MeshError, started_s: float) -> bool:
        """Return whether a service that did not answer in time had any."""
        return not isinstance(error, DeadlineExceeded) or self._now_s() - started_s >= _LEAST_S

    def _check_room(self, guarded: _Guarded, context: RequestContext) -> None:
        limit, what = self._protection.calls, "calls"
        full = guarded.calls >= limit
        if not full:
            limit, what = self._protection.calls_of_tenant, "calls of one tenant"
            full = guarded.of_tenant[context.tenant] >= limit
        if full:
            raise ResourceExhausted(
                f"{limit} {what} to service '{context.service}' are under way, the limit",
                reason="BULKHEAD_FULL",
                metadata={"service": context.service, "limit": str(limit)},
                retry_delay_s=0.1,
            )
