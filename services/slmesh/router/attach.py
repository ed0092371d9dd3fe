"""Puts a router into a mesh of this process, so that library code can route without a server."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from slmesh.mesh.boundary import Instruments, limits_of
from slmesh.mesh.catalog import discover
from slmesh.mesh.local import InProcessTransport
from slmesh.mesh.manifest import Manifest
from slmesh.mesh.settings import Settings
from slmesh.mesh.tracing import Tracing
from slmesh.policy import PolicyGate, open_gate
from slmesh.router.admission import Admission
from slmesh.router.assembly import make_engine
from slmesh.router.decisions import Decisions, MemoryDecisions
from slmesh.router.flow_book import FlowBook, load_flows
from slmesh.router.request_run import Clock
from slmesh.router.response_cache import CacheLimits, ModelsSeen, ResponseCache
from slmesh.router.routing import Routing, route_boundary

__all__ = ["attach_router"]


def attach_router(
    transport: InProcessTransport,
    settings: Settings,
    *,
    services: Mapping[str, Manifest] | None = None,
    tracing: Tracing | None = None,
    gate: PolicyGate | None = None,
) -> None:
    """Let a mesh of this process answer Route and Explain.

    Services load when a flow first needs them; that time is not taken from a step's.

    Args:
        transport: The transport of the mesh.
        settings: The settings; ``flow_path`` says where flows are.
        services: The services of the transport; all that are found when None.
        tracing: Where spans go.
        gate: The gate of the transport; one of the settings' own when None.

    Raises:
        FailedPrecondition: A flow or a policy is wrong.
    """
    found = discover(settings) if services is None else services
    flows = FlowBook(load_flows(settings, found))
    gate = gate or open_gate(settings, found, in_process=True)
    clock = Clock()
    cache = ResponseCache(CacheLimits.of(settings), ModelsSeen(), clock, transport.metrics)
    engine = make_engine(
        transport,
        settings,
        found,
        gate,
        clock,
        prepare=transport.host,
        # the caller spends its own money: without a file there is no limit to keep
        budgets_file=settings.budgets,
    )
    routing = Routing(
        flows,
        engine,
        _decisions(transport, settings, clock, cache),
        # the caller bounds its own calls: there is no queue to protect here
        admission=Admission(sys.maxsize),
        metrics=transport.metrics,
        limits=limits_of(settings),
        cache=cache,
    )
    instruments = None
    if settings.boundary_instruments:
        instruments = Instruments(transport.metrics, tracing)
    boundary = route_boundary(routing, flows, settings, instruments, admit=gate.served)
    transport.add_closing(engine.close)
    transport.add_edge(boundary, "Route", "BatchRoute", "RouteStream", "Explain")


def _decisions(
    transport: InProcessTransport, settings: Settings, clock: Clock, cache: ResponseCache
) -> Decisions:
    """Return a memory, unless the settings name a ledger; it is closed with the mesh."""
    if not settings.ledger_url:
        return MemoryDecisions(clock.monotonic_s)
    # SQLAlchemy is not there in an installation for the library alone
    from slmesh.router.ledger_decisions import open_decisions

    decisions = open_decisions(
        settings,
        clock,
        transport.metrics,
        on_health=lambda healthy: None,
        also_forget=cache.forget_subjects,
    )
    transport.add_closing(decisions.close)
    return decisions
