"""The router as a process of its own: one gRPC port for flows and for every service behind it.

It stays up when what is behind it is down: services are called where discovery says they are, their
health is told per service, and flows answer degraded. It knows nothing of Ray.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from slmesh.budgets.declaration import DEFAULT_BUDGETS
from slmesh.discovery import CLUSTER_SERVICE, Discovery
from slmesh.mesh.boundary import Boundary, Instruments, limits_of
from slmesh.mesh.catalog import discover
from slmesh.mesh.contract import rpcs
from slmesh.mesh.errors import FailedPrecondition
from slmesh.mesh.manifest import Manifest
from slmesh.mesh.metrics import Metrics
from slmesh.mesh.router_parts import FLOWS, LEDGER, POLICY
from slmesh.mesh.settings import Settings
from slmesh.mesh.tracing import Tracing
from slmesh.mesh.transport import GrpcTransport
from slmesh.policy import PolicyGate, open_gate
from slmesh.router.admission import Admission
from slmesh.router.assembly import make_engine
from slmesh.router.decisions import Decisions
from slmesh.router.edge import Edge
from slmesh.router.engine import Engine
from slmesh.router.flow_book import FlowBook, load_flows
from slmesh.router.flow_watch import FlowWatch
from slmesh.router.health import HealthProbe, HealthTeller
from slmesh.router.hedging import Hedging
from slmesh.router.latencies import Latencies
from slmesh.router.ledger_decisions import open_decisions
from slmesh.router.medians import bundle_medians
from slmesh.router.protection import ProtectedTransport
from slmesh.router.request_run import Clock
from slmesh.router.response_cache import CacheLimits, ModelsSeen, ResponseCache
from slmesh.router.routing import ROUTER, Routing, route_boundary
from slmesh.router.tls import server_credentials
from slmesh.router.wire_handlers import RouterHandlers

__all__ = ["RouterServer"]

_log = logging.getLogger(__name__)

_PENDING_CALLS = 100_000

_DRAIN_S = 25.0
"""Time for requests in work when the router stops; below the 30 s a Kubernetes pod is given."""
_SHIP_S = 3.0
"""Time for the ledger's spool when requests took all of that; together still below the 30 s."""

_EDGE_TIMEOUT_S = 60.0
"""The time of a call whose caller set none, to a service whose manifest is not here."""

_MAX_CONNECTION_AGE_S = 1800.0
"""After this a client is asked to connect again, so that a new router replica gets its share."""


@dataclass
class RouterServer:
    """A running router.

    Attributes:
        port: The port it serves on.
    """

    port: int
    _server: grpc.aio.Server
    _probe: HealthProbe
    _watch: FlowWatch
    _gate: PolicyGate
    _admission: Admission
    _decisions: Decisions
    _engine: Engine
    _transports: tuple[GrpcTransport, ...]

    @classmethod
    async def start(
        cls,
        settings: Settings,
        discovery: Discovery,
        *,
        metrics: Metrics,
        services: Mapping[str, Manifest] | None = None,
        tracing: Tracing | None = None,
        max_connection_age_s: float = _MAX_CONNECTION_AGE_S,
    ) -> RouterServer:
        """Load the flows and serve.

        Args:
            settings: The settings.
            discovery: Where services are; started and closed by the caller.
            metrics: Where calls and decisions are counted.
            services: The services of the mesh; those that the settings find when None.
            tracing: Where spans go.
            max_connection_age_s: After which a client is asked to connect again.

        Raises:
            FailedPrecondition: A flow, a policy, a TLS file or the port is not usable; the message
                says what to do.
        """
        found = discover(settings) if services is None else services
        flows = FlowBook(load_flows(settings, found))
        gate = open_gate(settings, found)
        instruments = Instruments(metrics, tracing) if settings.boundary_instruments else None
        calls, checks = _transports(settings, discovery, found, gate, tracing)
        admission = Admission(settings.max_in_flight)
        server = grpc.aio.server(options=_options(settings, max_connection_age_s))
        servicer = _add_health_and_reflection(server)
        port, clock = _bind(server, settings, server_credentials(settings)), Clock()
        models = ModelsSeen()
        cache = ResponseCache(CacheLimits.of(settings), models, clock, metrics)
        decisions = _decisions(settings, clock, metrics, servicer, cache)
        engine = _engine(settings, _protected(calls, metrics, clock), found, gate, clock, metrics)
        watch = _flow_watch(settings, found, flows, metrics, engine, servicer)
        routing = Routing(
            flows,
            engine,
            decisions,
            admission=admission,
            metrics=metrics,
            limits=limits_of(settings),
            cache=cache,
        )
        handlers = RouterHandlers(
            route_boundary(routing, flows, settings, instruments, admit=gate.served),
            _edge(settings, found, calls, gate, admission, instruments),
        )
        server.add_generic_rpc_handlers((handlers,))
        probe = _probe(checks, servicer, found, discovery, metrics, models)
        await server.start()
        await probe.start()
        await watch.start()
        await gate.start(metrics, HealthTeller(servicer, POLICY).tell)
        _log.info("router serves", extra={"port": port})
        return cls(port, server, probe, watch, gate, admission, decisions, engine, (calls, checks))

    async def stop(self, grace_s: float = _DRAIN_S) -> None:
        """Tell that it stops, let requests in work end, and stop.

        Args:
            grace_s: Seconds requests in work have; what they leave of it is for shipping the
                ledger's spool, which has some seconds in any case.
        """
        end_s = time.monotonic() + grace_s
        await self._watch.close()
        await self._gate.close()
        await self._probe.drain()
        stopping = asyncio.create_task(self._server.stop(grace_s))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._admission.empty()
        # what is still open now are watchers of health and reflection, which never end
        await self._server.stop(0.1)
        await stopping
        for transport in self._transports:
            await transport.close()
        ship_s = max(end_s - time.monotonic(), _SHIP_S)
        await asyncio.to_thread(self._decisions.close, ship_s)
        await asyncio.to_thread(self._engine.close)
        _log.info("router stopped", extra={"port": self.port})


def _add_health_and_reflection(server: grpc.aio.Server) -> health.aio.HealthServicer:
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    contracts = sorted({rpc.service for rpc in rpcs().values()})
    health_name = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
    reflection.enable_server_reflection((*contracts, health_name, reflection.SERVICE_NAME), server)
    return servicer


def _decisions(
    settings: Settings,
    clock: Clock,
    metrics: Metrics,
    servicer: health.aio.HealthServicer,
    cache: ResponseCache,
) -> Decisions:
    return open_decisions(
        settings,
        clock,
        metrics,
        on_health=HealthTeller(servicer, LEDGER).tell,
        also_forget=cache.forget_subjects,
    )


def _flow_watch(
    settings: Settings,
    services: Mapping[str, Manifest],
    flows: FlowBook,
    metrics: Metrics,
    engine: Engine,
    servicer: health.aio.HealthServicer,
) -> FlowWatch:
    measured = bundle_medians(services, settings)
    return FlowWatch(
        settings,
        {name: manifest.contract for name, manifest in services.items()},
        flows,
        metrics,
        on_health=HealthTeller(servicer, FLOWS).tell,
        # what calls took lately says more than what the models took when they were made
        medians_ms=lambda: {**measured, **engine.medians_ms()},
    )


def _probe(
    checks: GrpcTransport,
    servicer: health.aio.HealthServicer,
    services: Mapping[str, Manifest],
    discovery: Discovery,
    metrics: Metrics,
    models: ModelsSeen,
) -> HealthProbe:
    return HealthProbe(
        checks,
        servicer,
        lambda: sorted({*services, *discovery.services()} - {ROUTER, CLUSTER_SERVICE}),
        own=("", rpcs()["Route"].service),
        metrics=metrics,
        on_model=models.serving,
    )


def _transports(
    settings: Settings,
    discovery: Discovery,
    services: Mapping[str, Manifest],
    gate: PolicyGate,
    tracing: Tracing | None,
) -> tuple[GrpcTransport, GrpcTransport]:
    """Return what carries calls, and what carries health checks."""

    def resolve(service: str) -> str:
        return discovery.resolve(service).instances[0].target

    calls = GrpcTransport(
        resolve,
        services=services,
        gate=gate,
        max_message_bytes=settings.max_message_bytes,
        tracing=tracing,
    )
    return calls, GrpcTransport(resolve, max_message_bytes=settings.max_message_bytes)


def _protected(calls: GrpcTransport, metrics: Metrics, clock: Clock) -> ProtectedTransport:
    def tell(service: str, is_open: bool) -> None:
        metrics.breaker_open.labels(service).set(is_open)

    return ProtectedTransport(calls, now_s=clock.monotonic_s, on_breaker=tell)


def _engine(
    settings: Settings,
    transport: ProtectedTransport,
    services: Mapping[str, Manifest],
    gate: PolicyGate,
    clock: Clock,
    metrics: Metrics,
) -> Engine:
    latencies = Latencies()
    return make_engine(
        transport,
        settings,
        services,
        gate,
        clock,
        budgets_file=settings.budgets or DEFAULT_BUDGETS,
        latencies=latencies,
        hedging=Hedging(latencies, transport.may_hedge, metrics),
    )


def _edge(
    settings: Settings,
    services: Mapping[str, Manifest],
    transport: GrpcTransport,
    gate: PolicyGate,
    admission: Admission,
    instruments: Instruments | None,
) -> Edge:
    boundary = Boundary(
        ROUTER,
        limits=limits_of(settings),
        default_timeout_s=_EDGE_TIMEOUT_S,
        instruments=instruments,
        admit=gate.served,
    )
    return Edge(transport, services, boundary, admission)


def _options(settings: Settings, max_connection_age_s: float) -> list[tuple[str, Any]]:
    return [
        # a message over the limit but not far is refused by the boundary, in words
        ("grpc.max_receive_message_length", 2 * settings.max_message_bytes),
        ("grpc.max_send_message_length", 2 * settings.max_message_bytes),
        # past these, gRPC drops calls at random with a bare CANCELLED before we see them; what is
        # too much is for our own admission to refuse, in words
        ("grpc.server.max_pending_requests", _PENDING_CALLS),
        ("grpc.server.max_pending_requests_hard_limit", _PENDING_CALLS),
        # two routers on one port would share its calls in silence
        ("grpc.so_reuseport", 0),
        ("grpc.max_connection_age_ms", round(max_connection_age_s * 1e3)),
        ("grpc.max_connection_age_grace_ms", 300_000),
    ]


def _bind(
    server: grpc.aio.Server, settings: Settings, credentials: grpc.ServerCredentials | None
) -> int:
    host, port = settings.host, settings.router_port
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        if credentials is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, credentials)
    except RuntimeError:
        why = _why_not(host, port)
        raise FailedPrecondition(
            f"the router cannot listen on port {port} of {host}: {why}; set SLMESH_ROUTER_PORT to"
            " another port, or SLMESH_HOST to another address",
            reason="PORT_UNUSABLE",
            metadata={"port": str(port)},
        ) from None


def _why_not(host: str, port: int) -> str:
    """Return why an address cannot be listened on; gRPC does not tell."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except socket.gaierror:
            return "the address is not known"
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return "another process is using it"
            return (error.strerror or "unknown reason").lower()
    return "gRPC refused it"
