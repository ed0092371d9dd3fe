"""What a record costs on the way of a request, and what is lost when the router is killed.

The record is that of a real decision of the flow `support`; its cost is taken against a memory that
records nothing on disk, in turns in one run. `append` is the write alone: of a record that was made
and redacted before.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slmesh.api.route.v1 import route_pb2
from slmesh.bench.killed_router import kill_router
from slmesh.bench.machine import machine
from slmesh.ledger.spool import Spool
from slmesh.ledger.syncing import Syncer
from slmesh.library import Mesh
from slmesh.mesh.metrics import Metrics
from slmesh.mesh.settings import Settings
from slmesh.router.__main__ import SWITCH_S
from slmesh.router.decisions import CLOSE_S, Decisions, MemoryDecisions, Recorded
from slmesh.router.ledger_decisions import LedgerDecisions
from slmesh.router.request_run import Clock

__all__ = ["TARGETS", "run"]

TARGETS = {"p50_ms": 0.3, "answers_without_a_record": 0}
"""What the project promises: at most."""

_TEXT = (
    "Hi, it's Ann Lee, ann.lee@example.org. My new card has not arrived, I ordered it two weeks ago"
    " and paid £4.50 for it. Where is it?"
)


def run(
    settings: Settings,
    *,
    kills: int = 20,
    rounds: int = 7,
    records: int = 300,
    per_second: int = 200,
    on_progress: Callable[[str], None] = lambda step: None,
) -> dict[str, Any]:
    """Measure both and return the figures.

    Args:
        settings: Settings of the ledger; folders and ports are the benchmark's own.
        kills: How often the router is killed; 0 leaves that out.
        rounds: Rounds that count.
        records: Records of a round.
        per_second: Records a second: a router near what two cores can do.
        on_progress: Is told every step.
    """
    sys.setswitchinterval(SWITCH_S)  # as in a router's process
    on_progress("one decision of the flow support")
    recorded = asyncio.run(_decision(settings))
    on_progress(f"{rounds} rounds of {records} records, {per_second} a second")
    cost = asyncio.run(_cost(settings, recorded, rounds, records, per_second))
    result: dict[str, Any] = {
        "machine": machine(),
        "record_bytes": len(recorded.explanation.SerializeToString()),
        "per_second": per_second,
        "record": cost,
        "targets": TARGETS,
    }
    if kills:
        result["killed"] = asyncio.run(kill_router(settings, kills=kills, on_progress=on_progress))
    return result


async def _decision(settings: Settings) -> Recorded:
    request = route_pb2.RouteRequest(flow="support", text=_TEXT)
    async with Mesh.local(settings=settings.with_values(ledger_url="")) as mesh:
        decision = (await mesh.route(request, timeout_s=120)).decision
        wanted = route_pb2.ExplainRequest(decision_id=decision.decision_id)
        explanation = await mesh.explain(wanted)
    return Recorded("default", "0" * 64, explanation, request=request)


async def _cost(
    settings: Settings, recorded: Recorded, rounds: int, records: int, per_second: int
) -> dict[str, dict[str, float]]:
    with tempfile.TemporaryDirectory(prefix="slmesh-bench-") as name:
        folder, clock = Path(name), Clock()
        stores: dict[str, Decisions] = {
            "memory": MemoryDecisions(clock.monotonic_s),
            "ledger": LedgerDecisions(
                settings.with_values(state_dir=folder / "later"), clock, Metrics()
            ),
            "ledger_synced_before_reply": LedgerDecisions(
                settings.with_values(state_dir=folder / "before", ledger_sync_before_reply=True),
                clock,
                Metrics(),
            ),
            "append": _Appends(folder / "append", recorded.explanation.SerializeToString()),
        }
        times_ms: dict[str, list[list[float]]] = {store: [] for store in stores}
        try:
            for turn, (store, decisions) in itertools.product(range(rounds + 1), stores.items()):
                found = await _round(decisions, recorded, records, per_second)
                if turn:  # the first one opens files and the database
                    times_ms[store].append(found)
        finally:
            for decisions in stores.values():
                await asyncio.to_thread(decisions.close)
    return {
        store: {
            "p50_ms": _median_of(found, 0.5),
            "p99_ms": _median_of(found, 0.99),
            "p999_ms": round(sorted(itertools.chain(*found))[-(rounds * records // 1000) - 1], 4),
        }
        for store, found in times_ms.items()
    }


class _Appends(MemoryDecisions):
    """Appends to a spool a record that was made beforehand."""

    def __init__(self, folder: Path, payload: bytes) -> None:
        super().__init__(time.monotonic)
        self._payload = payload
        self._spool = Spool.open(folder, limit_bytes=1 << 30)
        self._syncer = Syncer(self._spool, at_once=False, on_sync=lambda took_s, succeeded: None)

    async def record(self, recorded: Recorded) -> None:
        """Append."""
        decision = recorded.explanation.decision
        self._spool.append(self._payload, (decision.decision_id, decision.request_id))
        self._syncer.appended()

    def close(self, within_s: float = CLOSE_S) -> None:  # noqa: ARG002 -- nothing is shipped
        """Sync and let the files go."""
        self._syncer.close()
        self._spool.close()


async def _round(
    decisions: Decisions, recorded: Recorded, records: int, per_second: int
) -> list[float]:
    times_ms = []
    gc.collect()
    next_s = time.perf_counter()
    for _ in range(records):
        explanation = route_pb2.ExplainResponse()
        explanation.CopyFrom(recorded.explanation)
        explanation.decision.decision_id = str(uuid.uuid4())
        explanation.decision.request_id = str(uuid.uuid4())
        one = Recorded(
            recorded.tenant, recorded.request_digest, explanation, request=recorded.request
        )
        started_s = time.perf_counter()
        await decisions.record(one)
        times_ms.append((time.perf_counter() - started_s) * 1e3)
        next_s += 1 / per_second
        await asyncio.sleep(max(0.0, next_s - time.perf_counter()))
    return sorted(times_ms)


def _median_of(rounds: list[list[float]], quantile: float) -> float:
    return round(
        statistics.median(times_ms[int(quantile * (len(times_ms) - 1))] for times_ms in rounds), 4
    )
