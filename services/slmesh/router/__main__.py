"""Runs a router as a process: ``python -m slmesh.router``, settings from the environment.

Prints one JSON line to standard output when it serves, logs to standard error, and stops in order on
SIGTERM or SIGINT.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import signal
import socket
import sys

from slmesh import __version__
from slmesh.discovery import Discovery, StaticDiscovery
from slmesh.discovery.resolution import parse_address
from slmesh.mesh.errors import FailedPrecondition, MeshError
from slmesh.mesh.logs import configure
from slmesh.mesh.metrics import Metrics, MetricsServer
from slmesh.mesh.settings import Settings, load_settings
from slmesh.mesh.tracing import open_tracing
from slmesh.router.routing import ROUTER
from slmesh.router.server import RouterServer

SWITCH_S = 0.0005
"""How long a thread may keep the event loop waiting for the interpreter; Python's own default, 5 ms, is
longer than a whole request without a reasoner. The ledger's threads run beside it."""

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}


async def serve(settings: Settings) -> None:
    """Serve until the process is told to stop.

    Raises:
        MeshError: The router cannot start.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    metrics = Metrics()
    async with contextlib.AsyncExitStack() as opened:
        tracing = open_tracing(settings.trace_exporter, ROUTER)
        if tracing is not None:
            opened.callback(tracing.close)
        discovery = _discovery(settings)
        await discovery.start()
        opened.push_async_callback(discovery.close)
        metrics_server = _metrics_server(metrics, settings)
        opened.callback(metrics_server.close)
        router = await RouterServer.start(settings, discovery, metrics=metrics, tracing=tracing)
        opened.push_async_callback(router.stop)
        if settings.discovery == "consul":
            await _register(opened, settings, router.port)
        # what is here now stays: the collector need not go through it, which takes it tens of
        # milliseconds, ever again
        gc.collect()
        gc.freeze()
        sys.stdout.write(_told(settings, router.port, metrics_server.port) + "\n")
        sys.stdout.flush()
        await stop.wait()


def main() -> int:
    """Run the process and return its exit status."""
    try:
        sys.setswitchinterval(SWITCH_S)
        settings = load_settings()
        configure(settings.log_level)
        # no event tells these, and to find them out takes a third of what an event costs
        # Source: the logging how-to, "Optimization"
        logging._srcfile = None
        logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
        asyncio.run(serve(settings))
    except MeshError as error:
        sys.stderr.write(f"slmesh router: {error.message}\n")
        return 1
    return 0


def _told(settings: Settings, port: int, metrics_port: int) -> str:
    return json.dumps(
        {
            "event": "serving",
            "port": port,
            "address": f"{_reachable(settings.host)}:{port}",
            "metrics_port": metrics_port,
            "metrics_address": f"{_reachable(settings.metrics_host)}:{metrics_port}",
        }
    )


def _reachable(host: str) -> str:
    """Return a listening address as this machine calls it: no wildcard, IPv6 in brackets."""
    host = _ANY.get(host, host)
    return f"[{host}]" if ":" in host else host


def _discovery(settings: Settings) -> Discovery:
    if settings.discovery == "static":
        local = f"{_reachable(settings.host)}:{settings.ingress_port}"
        return StaticDiscovery(
            default_address=settings.ingress_address or local,
            zone=settings.zone,
            region=settings.region,
        )
    if settings.discovery == "consul":
        from slmesh.discovery.agent import ConsulAgent
        from slmesh.discovery.consul import ConsulDiscovery

        agent = ConsulAgent(settings.consul_address, token=settings.consul_token)
        return ConsulDiscovery(agent, zone=settings.zone, region=settings.region)
    raise FailedPrecondition(
        f"setting SLMESH_DISCOVERY must be 'static' or 'consul', is '{settings.discovery}'",
        reason="INVALID_SETTING",
    )


async def _register(opened: contextlib.AsyncExitStack, settings: Settings, port: int) -> None:
    """Register the router with Consul, under the address other machines reach it at."""
    from slmesh.discovery.agent import ConsulAgent, GrpcCheck
    from slmesh.discovery.registration import RouterRegistration

    host = settings.host
    if host in _ANY:
        host = _outward_address(settings.consul_address)
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    registration = RouterRegistration(
        ConsulAgent(settings.consul_address, token=settings.consul_token),
        host=host,
        port=port,
        zone=settings.zone,
        region=settings.region,
        metadata={"version": __version__},
        check=GrpcCheck(target=target, tls=settings.tls_certificate is not None),
    )
    await registration.start()
    opened.push_async_callback(registration.close)


def _outward_address(consul_address: str) -> str:
    """Return this machine's address on the way to the agent; nothing is sent."""
    host, port = parse_address(consul_address.split("://")[-1])
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.connect(address)
        return str(probe.getsockname()[0])


def _metrics_server(metrics: Metrics, settings: Settings) -> MetricsServer:
    try:
        return MetricsServer.start(metrics, settings.metrics_host, settings.metrics_port)
    except OSError as error:
        raise FailedPrecondition(
            f"the metrics cannot listen on port {settings.metrics_port} of"
            f" {settings.metrics_host}: {error.strerror}; set SLMESH_METRICS_PORT to another port,"
            " or to 0 for a free one",
            reason="PORT_UNUSABLE",
        ) from None


if __name__ == "__main__":
    sys.exit(main())
