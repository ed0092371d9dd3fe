"""Puts an engine together from the settings, for a server and for a mesh of one process."""

from __future__ import annotations

from collections.abc import Mapping

from slmesh.mesh.manifest import Manifest
from slmesh.mesh.settings import Settings
from slmesh.mesh.transport import Transport
from slmesh.policy import PolicyGate
from slmesh.router.cost import CostEstimator, Prices
from slmesh.router.engine import Engine, Prepare
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
) -> Engine:
    """Return an engine.

    Args:
        transport: What carries the calls to services.
        settings: Prices and budgets.
        services: The services of the mesh.
        gate: What the policy says about each hop.
        clock: Where time comes from.
        prepare: See :class:`Engine`.

    Raises:
        FailedPrecondition: The file of budgets is wrong.
    """
    prices = Prices.of(settings)
    budgets = None
    if settings.budgets is not None:
        # SQLAlchemy is not there in an installation for the library alone
        from slmesh.router.reasoner_budgets import open_budgets

        budgets = open_budgets(settings, settings.budgets, prices)
    return Engine(
        transport,
        {name: manifest.contract for name, manifest in services.items()},
        judge=gate.judge,
        estimator=CostEstimator(prices),
        clock=clock,
        prepare=prepare,
        budgets=budgets,
    )
