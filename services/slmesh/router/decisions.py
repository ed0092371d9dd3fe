"""Remembers decisions for a while, so that a repeat finds its outcome and a caller can ask why.

A bounded memory of one process: it forgets the oldest decision when it is full and every decision
after a while, and all of them when the process ends. The ledger stands behind the same interface.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from slmesh.api.ledger.v1 import record_pb2
from slmesh.api.route.v1 import route_pb2

__all__ = ["CLOSE_S", "Decisions", "ForgetSubjects", "MemoryDecisions", "Recorded"]

CLOSE_S = 5.0
"""Seconds there are to bring away what was recorded, where nobody says another time."""

ForgetSubjects = Callable[[Callable[[str, str], bool]], object]
"""Forgets what is about some subjects: it is given what tells of tenant and subject whether it is."""


@dataclass(frozen=True)
class Recorded:
    """One decision with what it takes to explain it.

    Attributes:
        tenant: For whom it was made; nobody else may see it.
        request_digest: The digest of the request, to tell a repeat from another request.
        explanation: The decision and the conditions the flow has evaluated.
        request: What was asked; where it is None, nothing of the text is recorded.
        subject: The caller's name of the person the text is about; empty when it gave none.
        may_be_lost: Whether the decision may be given out without a record.
        record: The record it was found in, when that holds less than the caller was told.
    """

    tenant: str
    request_digest: str
    explanation: route_pb2.ExplainResponse
    request: route_pb2.RouteRequest | None = None
    subject: str = ""
    may_be_lost: bool = False
    record: record_pb2.DecisionRecord | None = None


class Decisions(Protocol):
    """Where decisions are recorded. Each tenant sees its own only."""

    def check_room(self) -> None:
        """Refuse a request whose decision could not be recorded.

        Raises:
            Unavailable: There is no room now.
        """

    def try_room(self) -> None:
        """Refuse a request whose decision could not be recorded now, found out by writing.

        Raises:
            Unavailable: There is no room.
        """

    async def record(self, recorded: Recorded) -> None:
        """Record a decision.

        Raises:
            Unavailable: It cannot be recorded, and must be.
        """

    async def by_id(self, tenant: str, decision_id: str) -> Recorded | None:
        """Return a decision by its id.

        Raises:
            Unavailable: Nobody can tell now.
        """

    async def by_request(self, tenant: str, request_id: str) -> Recorded | None:
        """Return the decision of a request."""

    def forget_deleted(self) -> None:
        """Forget what was deleted by subject since the last time."""

    def close(self, within_s: float = CLOSE_S) -> None:
        """Let everything go; it blocks.

        Args:
            within_s: Seconds there are to bring away what was recorded.
        """


@dataclass(frozen=True, slots=True)
class _Kept:
    recorded_s: float
    request_id: str
    request_digest: str
    subject: str
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

    def check_room(self) -> None:
        """See :class:`Decisions`; the oldest make room."""

    def try_room(self) -> None:
        """See :class:`Decisions`; the oldest make room."""

    async def record(self, recorded: Recorded) -> None:
        """See :class:`Decisions`."""
        decision = recorded.explanation.decision
        self._kept[recorded.tenant, decision.decision_id] = _Kept(
            self._clock(),
            decision.request_id,
            recorded.request_digest,
            recorded.subject,
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

    def forget_deleted(self) -> None:
        """See :class:`Decisions`; nothing can be deleted from a memory."""

    def close(self, within_s: float = CLOSE_S) -> None:
        """See :class:`Decisions`."""

    def forget_subjects(self, wanted: Callable[[str, str], bool]) -> None:
        """Forget the decisions about some subjects.

        Args:
            wanted: Is given tenant and subject of a decision.
        """
        self._drop(
            [
                name
                for name, kept in self._kept.items()
                if kept.subject and wanted(name[0], kept.subject)
            ]
        )

    def _forget(self) -> None:
        oldest_s = self._clock() - self._keep_s
        while self._kept:
            name, kept = next(iter(self._kept.items()))
            if len(self._kept) <= self._limit and kept.recorded_s > oldest_s:
                break
            self._drop([name])

    def _drop(self, names: Collection[tuple[str, str]]) -> None:
        for tenant, decision_id in names:
            kept = self._kept.pop((tenant, decision_id))
            if self._requests.get((tenant, kept.request_id)) == decision_id:
                del self._requests[tenant, kept.request_id]
