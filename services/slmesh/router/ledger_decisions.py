"""Decisions in the ledger, with a memory in front: what was decided survives the router.

The memory holds what callers were told; the ledger holds what their tenant lets it hold.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence

from slmesh.api.ledger.v1 import record_pb2
from slmesh.ledger.ledger import NO_LEDGER, Ledger, LedgerOptions
from slmesh.ledger.rows import read_record, record_keys, subject_digest
from slmesh.mesh.errors import Unavailable
from slmesh.mesh.metrics import Metrics
from slmesh.mesh.settings import Settings
from slmesh.router.decisions import CLOSE_S, Decisions, ForgetSubjects, MemoryDecisions, Recorded
from slmesh.router.recorded_text import withhold
from slmesh.router.recording import RecordingRules
from slmesh.router.request_run import Clock

__all__ = ["LedgerDecisions", "open_decisions"]

_log = logging.getLogger(__name__)

_DAY_NS = 86_400 * 10**9


class LedgerDecisions:
    """Keeps decisions in memory and in the ledger.

    Args:
        settings: The settings of ledger and tenants.
        clock: Where time comes from.
        metrics: Where records are counted.
        on_health: Is told, in another thread, when the database goes away or comes back.
        also_forget: Forgets what others keep about subjects whose records were deleted.

    Raises:
        FailedPrecondition: A setting is wrong, or the ledger's folder cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        metrics: Metrics,
        *,
        on_health: Callable[[bool], None] = lambda healthy: None,
        also_forget: ForgetSubjects = lambda wanted: None,
    ) -> None:
        self._rules = RecordingRules.of(settings)
        self._memory = MemoryDecisions(clock.monotonic_s)
        self._also_forget = also_forget
        self._clock = clock
        self._metrics = metrics
        self._deleted: deque[Sequence[str]] = deque()
        self._ledger = Ledger(
            LedgerOptions.of(settings),
            metrics,
            on_health=on_health,
            on_deleted=self._deleted.append,
        )

    def check_room(self) -> None:
        """See :class:`slmesh.router.decisions.Decisions`."""
        self._ledger.check_room()

    def try_room(self) -> None:
        """See :class:`slmesh.router.decisions.Decisions`."""
        self._ledger.try_room()

    async def record(self, recorded: Recorded) -> None:
        """See :class:`slmesh.router.decisions.Decisions`."""
        record = self._record_of(recorded)
        decision = recorded.explanation.decision
        try:
            await self._ledger.append(record.SerializeToString(), record_keys(record))
        except Unavailable as error:
            self._metrics.ledger_records.labels("unrecorded").inc()
            if not recorded.may_be_lost:
                raise
            _log.error(
                "a decision was given out without a record",
                extra={"decision_id": decision.decision_id, "reason": error.reason},
            )
            decision.degradations.add(
                code="NOT_RECORDED",
                description=f"the ledger could not record the decision ({error.reason}); the flow"
                " allows that",
            )
        await self._memory.record(recorded)

    async def by_id(self, tenant: str, decision_id: str) -> Recorded | None:
        """See :class:`slmesh.router.decisions.Decisions`."""
        self.forget_deleted()
        remembered = await self._memory.by_id(tenant, decision_id)
        return remembered or _found(await self._ledger.by_decision(tenant, decision_id))

    async def by_request(self, tenant: str, request_id: str) -> Recorded | None:
        """See :class:`slmesh.router.decisions.Decisions`.

        While the database is away, a repeat of a request that this router does not remember and
        that was shipped already is not known for one, and runs again.
        """
        self.forget_deleted()
        remembered = await self._memory.by_request(tenant, request_id)
        if remembered is not None:
            return remembered
        try:
            return _found(await self._ledger.by_request(tenant, request_id))
        except Unavailable as error:
            _log.warning("a repeat could not be told", extra={"reason": error.reason})
            return None

    def forget_deleted(self) -> None:
        """See :class:`slmesh.router.decisions.Decisions`; deletions come within seconds."""
        if not self._deleted:
            return
        digests: set[str] = set()
        while self._deleted:
            digests.update(self._deleted.popleft())
        for forget in (self._memory.forget_subjects, self._also_forget):
            forget(lambda tenant, subject: subject_digest(tenant, subject) in digests)

    def close(self, within_s: float = CLOSE_S) -> None:
        """See :class:`slmesh.router.decisions.Decisions`; what is left is told in the log."""
        self._ledger.close(within_s)

    def _record_of(self, recorded: Recorded) -> record_pb2.DecisionRecord:
        rule = self._rules.of_tenant(recorded.tenant)
        record = record_pb2.DecisionRecord(
            tenant=recorded.tenant,
            explanation=recorded.explanation,
            request=recorded.request,
            request_digest=recorded.request_digest,
            subject_digest=subject_digest(recorded.tenant, recorded.subject),
        )
        withhold(
            record, rule.text_kept if recorded.request is not None else record_pb2.TEXT_KEPT_NONE
        )
        now_ns = self._clock.now_ns()
        record.record_time.FromNanoseconds(now_ns)
        record.expire_time.FromNanoseconds(now_ns + rule.retention_days * _DAY_NS)
        return record


def open_decisions(
    settings: Settings,
    clock: Clock,
    metrics: Metrics,
    *,
    on_health: Callable[[bool], None],
    also_forget: ForgetSubjects = lambda wanted: None,
) -> Decisions:
    """Return where the settings say that a router records.

    Raises:
        FailedPrecondition: A setting is wrong, or the ledger's folder cannot be used.
    """
    if settings.ledger_url == NO_LEDGER:
        return MemoryDecisions(clock.monotonic_s)
    return LedgerDecisions(settings, clock, metrics, on_health=on_health, also_forget=also_forget)


def _found(payload: bytes | None) -> Recorded | None:
    if payload is None:
        return None
    record = read_record(payload)
    return Recorded(record.tenant, record.request_digest, record.explanation, record=record)
