"""Grants a request an answer of the reasoner, or says why the budgets do not allow one.

The most the answer may take is reserved before the call: a token is at least one byte of text, so the
bytes sent bound the prompt's tokens, and the flow bounds the answer's. What is not known is never
spent: without the database of spending nothing is granted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import text_format
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy.exc import SQLAlchemyError

from slmesh.api.reason.v1 import reason_pb2
from slmesh.api.route.v1 import route_pb2
from slmesh.budgets.amounts import Amount, Limit
from slmesh.budgets.declaration import Budgets, read_budgets
from slmesh.budgets.pacing import Pacer
from slmesh.budgets.spending import Exhausted, Reservation, Spending, WindowState
from slmesh.ledger.database import Database, database_url
from slmesh.ledger.ledger import NO_LEDGER, LedgerOptions
from slmesh.mesh.errors import FailedPrecondition, MeshError, ResourceExhausted
from slmesh.mesh.settings import Settings
from slmesh.router.cost import Price, Prices
from slmesh.router.flow import REASONER_STEP
from slmesh.router.request_run import RequestRun

__all__ = ["Grant", "ReasonerBudgets", "open_budgets"]

_log = logging.getLogger(__name__)

_TEMPLATE_TOKENS = 256
"""What a chat template may add around instruction, text and signals; those of today take under 100."""

_PROBLEM_TOKENS = 1024
"""The most bytes of what a second try says about the first."""

_GRACE_S = 30.0
"""How long after a request's time its reservation is kept: its router may only be slow."""

_SENTENCES = {
    route_pb2.BUDGET_OUTCOME_KEPT: "the rest of the budget is kept for requests that gain more",
    route_pb2.BUDGET_OUTCOME_EXHAUSTED: "the budget of the reasoner is used up",
    route_pb2.BUDGET_OUTCOME_NONE: "the tenant has no budget for the reasoner",
    route_pb2.BUDGET_OUTCOME_UNAVAILABLE: "what was spent cannot be read, so nothing more is",
}


@dataclass(frozen=True)
class Grant:
    """What the budgets say to one request.

    Attributes:
        state: For the decision.
        reservation: What was set aside; None when the reasoner may not be asked, or when nothing
            limits it.
        price: What its tokens cost.
        retry_s: Seconds after which it may be, where that is known.
    """

    state: route_pb2.BudgetState
    reservation: Reservation | None = None
    price: Price | None = None
    retry_s: float | None = None

    @property
    def granted(self) -> bool:
        """Whether the reasoner may be asked."""
        return self.state.outcome == route_pb2.BUDGET_OUTCOME_GRANTED

    def error(self, flow: str) -> MeshError:
        """Return the error of a request that needs the reasoner."""
        scope, quantity = self.state.scope, self.state.quantity
        named = f" ({scope}: {quantity})" if quantity else ""
        return ResourceExhausted(
            f"the request needs the reasoner, and {_SENTENCES[self.state.outcome]}{named}",
            reason=self._code(),
            metadata={"budget": scope, "quantity": quantity, "flow": flow},
            retry_delay_s=self.retry_s or 1.0,
        )

    def degradation(self, *, standby: bool) -> tuple[str, str, str]:
        """Return code, step and sentence of a request that is answered without the reasoner."""
        instead = "the small models' answer" if standby else "the flow's fallback"
        return (
            self._code(),
            REASONER_STEP,
            f"{_SENTENCES[self.state.outcome]}; {instead} stands in",
        )

    def _code(self) -> str:
        name = route_pb2.BudgetOutcome.Name(self.state.outcome)
        return f"BUDGET_{name.removeprefix('BUDGET_OUTCOME_')}"


class ReasonerBudgets:
    """The budgets of a mesh at work.

    One thread does all that concerns spending, in the order it is asked: two would only wait for each
    other at the database, and a request finds settled what this router has answered before it.

    Args:
        budgets: What may be spent.
        spending: What was.
        prices: What tokens cost.
        dispose: Lets the database of spending go.
    """

    def __init__(
        self,
        budgets: Budgets,
        spending: Spending,
        prices: Prices,
        *,
        dispose: Callable[[], None] = lambda: None,
    ) -> None:
        self._dispose = dispose
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="budgets")
        self._budgets = budgets
        self._spending = spending
        self._prices = prices
        self._pacers: dict[str, Pacer] = {}

    async def grant(
        self,
        run: RequestRun,
        request: reason_pb2.ReasonRequest,
        decision: route_pb2.Decision,
        expected_gain: float,
    ) -> Grant:
        """Reserve an answer for a request, or say why not.

        Args:
            run: The request.
            request: What the reasoner would be asked.
            decision: Its ids.
            expected_gain: See :class:`slmesh.router.cascade.Verdict`.
        """
        tenant = run.context.tenant
        state = route_pb2.BudgetState(expected_gain=expected_gain)
        limits = self._budgets.scopes(tenant, run.flow.name)
        if limits is None:
            return _denied(state, route_pb2.BUDGET_OUTCOME_NONE, f"tenant:{tenant}")
        if all(limit.unlimited for limit in limits.values()):
            state.outcome = route_pb2.BUDGET_OUTCOME_GRANTED
            return Grant(state)
        price = self._prices.of(run.flow)
        most = _most(request, price)
        assert run.flow.reasoner is not None
        floor = run.flow.reasoner.quality_floor
        kept_by = ""

        def wanted(windows: Mapping[str, WindowState]) -> bool:
            nonlocal kept_by
            kept_by = self._pace(state, windows, limits, expected_gain, most)
            return not kept_by or 1.0 - expected_gain < floor

        reserving = self._writer.submit(
            self._spending.reserve,
            f"{tenant} {decision.request_id}",
            most,
            limits,
            max(run.context.remaining_s() or 0.0, 0.0) + _GRACE_S,
            wanted,
        )
        try:
            reservation = await asyncio.wrap_future(reserving)
        except asyncio.CancelledError:
            reserving.add_done_callback(self._give_back)
            raise
        except Exhausted as exhausted:
            state.quantity = exhausted.quantity
            return _denied(
                state, route_pb2.BUDGET_OUTCOME_EXHAUSTED, exhausted.scope, exhausted.retry_s
            )
        except (SQLAlchemyError, FailedPrecondition) as error:
            _log.error("budgets cannot be read", extra={"error": type(error).__name__})
            return _denied(state, route_pb2.BUDGET_OUTCOME_UNAVAILABLE, "")
        if reservation is None:
            return _denied(state, route_pb2.BUDGET_OUTCOME_KEPT, kept_by)
        state.outcome = route_pb2.BUDGET_OUTCOME_GRANTED
        return Grant(state, reservation, price)

    def settle(self, grant: Grant, usage: reason_pb2.Usage | None, *, unused: bool = False) -> None:
        """Put what an answer took in the place of what was reserved, or give that back.

        Nobody waits for it: the reply does not need it, and until it is done the whole reservation
        counts. When the router dies before, or the database does not answer, the reservation stays
        until its lease ends.

        Args:
            grant: The grant.
            usage: What the answer took; None when nobody knows, because it was cut off: then all
                that was reserved counts as spent.
            unused: Whether the reasoner has not begun to answer.
        """
        if grant.reservation is None or grant.reservation.settled:
            return
        self._writer.submit(self._settle, grant.reservation, grant.price, usage, unused=unused)

    def close(self) -> None:
        """Settle what there is to settle, and let the database of spending go; it may block."""
        self._writer.shutdown()
        self._dispose()

    def _give_back(self, reserving: Future[Reservation | None]) -> None:
        """Release what was reserved for a request that was cancelled meanwhile."""
        if reserving.cancelled() or reserving.exception() is not None:
            return
        reservation = reserving.result()
        if reservation is not None and not reservation.settled:
            self._settle(reservation, None, None, unused=True)

    def _settle(
        self,
        reservation: Reservation,
        price: Price | None,
        usage: reason_pb2.Usage | None,
        *,
        unused: bool,
    ) -> None:
        try:
            if unused:
                self._spending.release(reservation)
                return
            if usage is None or price is None:
                self._spending.settle(reservation, reservation.amount)
                return
            cost = price.cost(usage.prompt_tokens, usage.output_tokens)
            tokens = usage.prompt_tokens + usage.output_tokens
            if tokens > reservation.amount.tokens:
                _log.warning(
                    "the reasoner took more tokens than were reserved",
                    extra={"tokens": tokens, "reserved": reservation.amount.tokens},
                )
            self._spending.settle(reservation, Amount(1, tokens, cost.usd_micros))
        except (SQLAlchemyError, FailedPrecondition) as error:
            _log.error("spending cannot be written", extra={"error": type(error).__name__})

    def _pace(
        self,
        state: route_pb2.BudgetState,
        windows: Mapping[str, WindowState],
        limits: Mapping[str, Limit],
        gain: float,
        most: Amount,
    ) -> str:
        """Fill in how the budgets stand; returns the one that is kept for others, or ""."""
        kept_by = ""
        for scope, window in windows.items():
            limit = limits[scope]
            state.budgets.append(_shown(window, limit))
            pacer = self._pacers.setdefault(scope, Pacer())
            pacer.observe(gain)
            pace = pacer.pace(
                window.elapsed,
                limit.payable(window.used, window.mean or most),
                window.demand,
                window.last_demand,
            )
            if pace.least_gain > state.least_gain:
                state.least_gain = pace.least_gain
                if gain < pace.least_gain:
                    kept_by = scope
        return kept_by


def _most(request: reason_pb2.ReasonRequest, price: Price) -> Amount:
    parts = [request.instruction, request.text, request.output_schema]
    parts += [text_format.MessageToString(signal) for signal in request.signals]
    prompt = sum(len(part.encode()) for part in parts) + _TEMPLATE_TOKENS
    output = request.max_output_tokens
    if request.output_schema:  # an answer that does not match it is asked for once more
        prompt, output = 2 * prompt + _PROBLEM_TOKENS, 2 * output
    return Amount(1, prompt + output, price.cost(prompt, output).usd_micros)


def _denied(
    state: route_pb2.BudgetState,
    outcome: route_pb2.BudgetOutcome,
    scope: str,
    retry_s: float | None = None,
) -> Grant:
    state.outcome = outcome
    state.scope = scope
    return Grant(state, retry_s=retry_s)


def _shown(window: WindowState, limit: Limit) -> route_pb2.Budget:
    return route_pb2.Budget(
        scope=window.scope,
        reset_time=Timestamp(seconds=window.start_s + limit.window_s),
        requests=window.used.requests,
        tokens=window.used.tokens,
        usd_micros=window.used.usd_micros,
        max_requests=limit.requests,
        max_tokens=limit.tokens,
        max_usd_micros=limit.usd_micros,
    )


def open_budgets(settings: Settings, file: Path, prices: Prices) -> ReasonerBudgets:
    """Return the budgets of a file, with the ledger's database for what is spent.

    Raises:
        FailedPrecondition: The file of budgets is wrong.
    """
    budgets = read_budgets(file)
    options = LedgerOptions.of(settings)
    # spending is kept even where decisions are not
    url = "" if options.url == NO_LEDGER else options.url
    database = Database(database_url(url, options.folder))
    return ReasonerBudgets(
        budgets,
        Spending(database.engine, prepare=database.prepare),
        prices,
        dispose=database.close,
    )
