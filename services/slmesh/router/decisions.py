"""Remembers decisions for a while, so that a repeat finds its outcome and a caller can ask why.

A bounded memory of one process: it forgets the oldest decision when it is full and every decision
after a while, and all of them when the process ends. The ledger will stand behind the same interface.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from slmesh.api.route.v1 import route_pb2

__all__ = ["Decisions", "MemoryDecisions", "Recorded"]


@dataclass(frozen=True)
class Recorded:
    """One decision with what it takes to explain it.

    Attributes:
        tenant: For whom it was made; nobody else may see it.
        request_digest: The digest of the request, to tell a repeat from another request.
        explanation: The decision and the conditions the flow has evaluated.
    """

    tenant: str
    request_digest: str
    explanation: route_pb2.ExplainResponse


class Decisions(Protocol):
    """Where decisions are recorded. Each tenant sees its own only."""

    async def record(self, recorded: Recorded) -> None:
        """Record a decision."""

    async def by_id(self, tenant: str, decision_id: str) -> Recorded | None:
        """Return a decision by its id."""

    async def by_request(self, tenant: str, request_id: str) -> Recorded | None:
        """Return the decision of a request."""


@dataclass(frozen=True, slots=True)
class _Kept:
    recorded_s: float
    request_id: str
    request_digest: str
    explanation: bytes


class MemoryDecisions:
    """Keeps decisions in memory.

    Args:
        clock: Monotonic seconds.
        limit: How many are kept. They are kept serialised, which takes 2 to 6 KiB each instead
            of 13 and more.
        keep_s: How long each is kept, in seconds.
    """

    def __init__(
        self, clock: Callable[[], float], *, limit: int = 4096, keep_s: float = 3600.0
    ) -> None:
        self._clock = clock
        self._limit = limit
        self._keep_s = keep_s
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()
        self._requests: dict[tuple[str, str], str] = {}

    async def record(self, recorded: Recorded) -> None:
        """See :class:`Decisions`."""
        decision = recorded.explanation.decision
        self._kept[recorded.tenant, decision.decision_id] = _Kept(
            self._clock(),
            decision.request_id,
            recorded.request_digest,
            recorded.explanation.SerializeToString(),
        )
        self._requests[recorded.tenant, decision.request_id] = decision.decision_id
        self._forget()

    async def by_id(self, tenant: str, decision_id: str) -> Recorded | None:
        """See :class:`Decisions`."""
        self._forget()
        kept = self._kept.get((tenant, decision_id))
        if kept is None:
            return None
        explanation = route_pb2.ExplainResponse.FromString(kept.explanation)
        return Recorded(tenant, kept.request_digest, explanation)

    async def by_request(self, tenant: str, request_id: str) -> Recorded | None:
        """See :class:`Decisions`."""
        self._forget()
        decision_id = self._requests.get((tenant, request_id))
        return await self.by_id(tenant, decision_id) if decision_id is not None else None

    def _forget(self) -> None:
        oldest_s = self._clock() - self._keep_s
        while self._kept:
            (tenant, decision_id), kept = next(iter(self._kept.items()))
            if len(self._kept) <= self._limit and kept.recorded_s > oldest_s:
                break
            del self._kept[tenant, decision_id]
            if self._requests.get((tenant, kept.request_id)) == decision_id:
                del self._requests[tenant, kept.request_id]
