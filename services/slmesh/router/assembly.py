"""Puts an engine together from the settings, for a server and for a mesh of one process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from slmesh.mesh.manifest import Manifest
from slmesh.mesh.settings import Settings
from slmesh.mesh.transport import Transport
from slmesh.policy import PolicyGate
from slmesh.router.cost import CostEstimator
from slmesh.router.engine import Engine, Prepare
from slmesh.router.hedging import Hedging
from slmesh.router.latencies import Latencies
from slmesh.router.prices import prices_of
from slmesh.router.request_run import Clock

__all__ = ["make_engine"]


def make_engine(
    transport: Transport,
    settings: Settings,
    services: Mapping[str, Manifest],
    gate: PolicyGate,
    clock: Clock,
    *,
    prepare: Prepare | None = None,
    budgets_file: Path | None = None,
    latencies: Latencies | None = None,
    hedging: Hedging | None = None,
) -> Engine:
    """Return an engine.

    Args:
        transport: What carries the calls to services.
        settings: Prices, and where spending is kept.
        services: The services of the mesh.
        gate: What the policy says about each hop.
        clock: Where time comes from.
        prepare: See :class:`Engine`.
        latencies: See :class:`Engine`.
        hedging: See :class:`Engine`.
        budgets_file: What may be spent on the reasoner; no limit when None.

    Raises:
        FailedPrecondition: The file of budgets or of prices is wrong.
    """
    prices = prices_of(settings, services)
    budgets = None
    if budgets_file is not None:
        # SQLAlchemy is not there in an installation for the library alone
        from slmesh.router.reasoner_budgets import open_budgets

        budgets = open_budgets(settings, budgets_file, prices)
    return Engine(
        transport,
        {name: manifest.contract for name, manifest in services.items()},
        judge=lambda: gate.judge,
        estimator=CostEstimator(prices),
        clock=clock,
        prepare=prepare,
        budgets=budgets,
        latencies=latencies,
        hedging=hedging,
    )
