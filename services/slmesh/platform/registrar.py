"""Keeps Consul's picture of one cluster: ``python -m slmesh.platform.registrar``.

It asks every service for its health through the ingress, as a caller would, so it needs no part of
Ray and can run beside any cluster whose ingress it reaches. ``slmesh up`` runs one when discovery is
``consul``. When it is killed, what it vouched for fails within seconds and is then forgotten.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Mapping, Sequence

from slmesh.discovery.agent import ConsulAgent
from slmesh.discovery.registrar import Application, Registrar
from slmesh.discovery.resolution import parse_address
from slmesh.mesh.catalog import discover
from slmesh.mesh.errors import MeshError
from slmesh.mesh.logs import configure
from slmesh.mesh.manifest import Manifest
from slmesh.mesh.replica_record import read_records
from slmesh.mesh.settings import Settings, load_settings
from slmesh.platform.service_health import HealthChecks

__all__ = ["applications", "serve"]


def applications(
    settings: Settings, manifests: Mapping[str, Manifest], checks: HealthChecks, ingress: str
) -> list[Application]:
    """Return every service whose application answers, and those that did and have stopped to.

    Args:
        settings: The settings; its state folder tells model versions, where this machine runs them.
        manifests: The services that may be deployed.
        checks: Asks them through the ingress.
        ingress: ``host:port`` of the ingress, as other machines reach it.
    """
    host, port = parse_address(ingress)
    versions = {record.service: record.version for record in read_records(settings.state_dir)}
    healthy = checks.run(manifests)
    return [
        Application(
            name=name,
            contract=manifests[name].contract,
            healthy=serves,
            address=host,
            port=port,
            version=versions.get(name, ""),
            message="serves" if serves else "does not answer its health check",
        )
        for name, serves in healthy.items()
    ]


async def serve(settings: Settings, services: Sequence[str] = ()) -> None:
    """Register until the process is told to stop, then take everything back.

    Args:
        settings: The settings: Consul's address and token, the ingress, zone and region.
        services: The names to register; every service that is found when empty.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    manifests = {
        name: manifest
        for name, manifest in discover(settings).items()
        if not services or name in services
    }
    ingress = settings.ingress_address or f"{settings.host}:{settings.ingress_port}"
    checks = HealthChecks(ingress)
    registrar = Registrar(
        ConsulAgent(settings.consul_address, token=settings.consul_token),
        lambda: applications(settings, manifests, checks, ingress),
        cluster=ingress.replace(":", "-"),
        address=ingress,
        zone=settings.zone,
        region=settings.region,
    )
    await registrar.start()
    try:
        await stop.wait()
    finally:
        await registrar.close()
        checks.close()


def main() -> int:
    """Run the process and return its exit status."""
    try:
        settings = load_settings()
        configure(settings.log_level)
        asyncio.run(serve(settings, sys.argv[1:]))
    except MeshError as error:
        sys.stderr.write(f"slmesh registrar: {error.message}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
