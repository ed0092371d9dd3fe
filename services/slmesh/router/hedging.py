"""Sends a late call of a step a second time: the first answer wins, and the other call is cancelled.

For services whose answers change nothing, as those of steps are; the reasoner is never asked twice for
being late. A second call draws on the same allowance as a retry, so that a service that is slow for
everybody is not sent twice its load.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from google.protobuf.message import Message

from slmesh.api.route.v1 import route_pb2
from slmesh.mesh.context import RequestContext
from slmesh.mesh.metrics import Metrics
from slmesh.router.flow import Step
from slmesh.router.latencies import Latencies

__all__ = ["Hedging"]

_FIRST, _SECOND, _FAILED, _REFUSED = (
    route_pb2.HEDGE_OUTCOME_FIRST_WON,
    route_pb2.HEDGE_OUTCOME_SECOND_WON,
    route_pb2.HEDGE_OUTCOME_BOTH_FAILED,
    route_pb2.HEDGE_OUTCOME_REFUSED,
)

Send = Callable[[], Coroutine[Any, Any, Message]]
"""Makes one call."""

Tell = Callable[[route_pb2.HedgeOutcome], object]
"""Is told what becomes of a hedge, at first ``BOTH_FAILED``: nobody has answered yet."""


class Hedging:
    """Makes the calls of steps that declare a hedge.

    Args:
        latencies: How long services took lately.
        may_send: Takes a second call from the allowance of a service, or says that there is none.
        metrics: Where hedges are counted.
    """

    def __init__(
        self,
        latencies: Latencies,
        may_send: Callable[[RequestContext], bool],
        metrics: Metrics,
    ) -> None:
        self._latencies = latencies
        self._may_send = may_send
        self._metrics = metrics

    async def answer(self, step: Step, context: RequestContext, send: Send, tell: Tell) -> Message:
        """Return the answer of a call, or of a second one when the first is late.

        Args:
            step: The step.
            context: The context of the call.
            send: Makes a call; it is used at most twice.
            tell: Is told about the second call, before it is made and when it is decided.

        Raises:
            MeshError: Of the call that failed last.
        """
        after_s = self._after_s(step)
        if after_s is None:
            return await send()
        first = asyncio.create_task(send())
        calls = {first}
        outcome: route_pb2.HedgeOutcome | None = None
        try:
            await asyncio.wait(calls, timeout=after_s)
            if first.done():
                return first.result()
            if not self._may_send(context):
                outcome = _REFUSED
                return await first
            outcome = _FAILED
            tell(outcome)
            second = asyncio.create_task(send())
            calls.add(second)
            decided = await _first_answer(calls)
            response = decided.result()
            outcome = _SECOND if decided is second else _FIRST
            return response
        finally:
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            if outcome is not None:
                self._tell(step, outcome, tell)

    def _tell(self, step: Step, outcome: route_pb2.HedgeOutcome, tell: Tell) -> None:
        tell(outcome)
        name = route_pb2.HedgeOutcome.Name(outcome).removeprefix("HEDGE_OUTCOME_").lower()
        self._metrics.hedges.labels(step.service, name).inc()

    def _after_s(self, step: Step) -> float | None:
        """Return the seconds after which a call is late; None where nothing says so."""
        if step.hedge is None:
            return None
        if step.hedge.after_ms is not None:
            return step.hedge.after_ms / 1e3
        assert step.hedge.after_quantile is not None
        # 0 while too little is known of the service
        return self._latencies.quantile(step.service, step.hedge.after_quantile) or None


async def _first_answer(calls: set[asyncio.Task[Message]]) -> asyncio.Task[Message]:
    """Return the first call that is answered, or the one that failed last."""
    waiting = set(calls)
    while True:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for call in done:
            if not call.cancelled() and call.exception() is None:
                return call
        if not waiting:
            return done.pop()
