"""Tells how a mesh is, from any process: its state files, its metrics and its health checks.

It asks the services themselves and takes the supervisor's word only for what nobody else knows, so
that a mesh whose supervisor or whose Ray is gone is told as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from slmesh.mesh.catalog import discover
from slmesh.mesh.replica_record import ReplicaRecord, failures, read_records
from slmesh.mesh.router_parts import FLOWS, LEDGER, POLICY
from slmesh.mesh.settings import Settings
from slmesh.mesh.transport import channel_credentials
from slmesh.platform.measured import Requests, read_metrics, requests_by_service
from slmesh.platform.processes import memory_of
from slmesh.platform.service_health import HealthChecks
from slmesh.platform.state import MeshState

__all__ = ["MeshStatus", "RouterStatus", "ServiceStatus", "status"]


_PROBLEMS = {
    FLOWS: "a changed flow is refused, and the version before it serves: `slmesh flows validate`",
    POLICY: "a changed policy is refused, and the one before it is in force: `slmesh policy validate`",
    LEDGER: "the ledger's database takes no records; they wait on the router's disk",
}


@dataclass(frozen=True, kw_only=True)
class ServiceStatus:
    """One service.

    Attributes:
        name: Its name.
        contract: Its contract.
        state: ``healthy`` (its ingress says so), ``starting``, ``recovering`` (it was healthy),
            ``failed``, or ``down`` (nothing of it runs).
        replicas: Processes that live.
        replicas_wanted: Processes its manifest asks for.
        model: Its bundle; empty without one.
        version: The bundle's version.
        digest: The bundle's digest.
        requests: Finished requests since its processes started.
        errors: Those not answered with OK.
        p50_ms: Median time in the boundary, estimated within histogram buckets; None before the
            first request.
        p99_ms: The same for 99 of 100 requests.
        memory_mib: Resident memory of its processes, shared pages counted once.
        message: Why it is not healthy.
    """

    name: str
    contract: str
    state: str
    replicas: int
    replicas_wanted: int
    model: str
    version: str
    digest: str
    requests: int
    errors: int
    p50_ms: float | None
    p99_ms: float | None
    memory_mib: float
    message: str


@dataclass(frozen=True, kw_only=True)
class RouterStatus:
    """The router.

    Attributes:
        state: ``healthy`` or ``down``.
        address: Where it serves; empty when it does not.
        requests: Finished requests of flows.
        errors: Those not answered with OK.
        p50_ms: Median time, estimated within histogram buckets.
        p99_ms: The same for 99 of 100 requests.
        problems: What it serves without, or with an older version of, and what tells more.
    """

    state: str
    address: str
    requests: int
    errors: int
    p50_ms: float | None
    p99_ms: float | None
    problems: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class MeshStatus:
    """A mesh.

    Attributes:
        up: Whether a supervisor keeps it.
        pid: The supervisor's process; 0 when there is none.
        ingress: Where services answer directly.
        router: The router.
        services: Every service, deployed or found.
        message: What is wrong with the mesh as a whole.
    """

    up: bool
    pid: int
    ingress: str
    router: RouterStatus
    services: tuple[ServiceStatus, ...]
    message: str

    def as_json(self) -> dict[str, Any]:
        """Return the status as values of JSON."""
        return asdict(self)


def status(settings: Settings) -> MeshStatus:
    """Return how the mesh of a state folder is, at this moment."""
    state = MeshState(settings.state_dir)
    up = state.is_held()
    known = state.read()
    records = read_records(settings.state_dir)
    router = known.get("router", {})
    texts = [read_metrics(record.metrics_address) for record in records if record.metrics_address]
    router_metrics = str(router.get("metrics_address", ""))
    requests = requests_by_service(texts)
    at_router = requests_by_service([read_metrics(router_metrics)] if router_metrics else [])
    ingress = str(known.get("ingress", f"{settings.host}:{settings.ingress_port}"))
    manifests = discover(settings)
    deployed: Mapping[str, Mapping[str, Any]] = known.get("services", {})
    # a name that is deployed and not found any more has nothing to say for itself but its records
    names = sorted({*(deployed if known else manifests), *(record.service for record in records)})
    healthy = _healthy(ingress, names) if known or records else {}
    reasons = failures(settings.state_dir)
    services = []
    for name in names:
        manifest = manifests.get(name)
        services.append(
            _service(
                name,
                manifest.contract if manifest else "",
                manifest.replicas if manifest else 0,
                [record for record in records if record.service == name],
                healthy.get(name, False),
                deployed.get(name, {}),
                str(reasons.get(name, {}).get("message", "")),
                requests.get(name, Requests()),
            )
        )
    return MeshStatus(
        up=up,
        pid=int(known.get("pid", 0)) if up else 0,
        ingress=ingress,
        router=_router(settings, router, at_router.get("router", Requests())),
        services=tuple(services),
        message=_message(up, bool(known), bool(records)),
    )


def _service(
    name: str,
    contract: str,
    wanted: int,
    records: list[ReplicaRecord],
    healthy: bool,
    deployed: Mapping[str, Any],
    failure: str,
    requests: Requests,
) -> ServiceStatus:
    newest = max(records, key=lambda record: record.started, default=None)
    told = str(deployed.get("state", "down"))
    if healthy:
        state = "healthy"
    elif told == "healthy":  # the supervisor has not noticed yet
        state = "recovering" if records else "down"
    else:
        state = told
    memory = [memory_of(record.pid) for record in records]
    return ServiceStatus(
        name=name,
        contract=newest.contract if newest else contract,
        state=state,
        replicas=len(records),
        replicas_wanted=wanted,
        model=newest.model if newest else "",
        version=newest.version if newest else "",
        digest=newest.digest if newest else "",
        requests=requests.finished,
        errors=requests.errors,
        p50_ms=requests.quantile_ms(0.5),
        p99_ms=requests.quantile_ms(0.99),
        memory_mib=round(sum(part.pss_mib for part in memory if part), 1),
        message="" if healthy else failure or str(deployed.get("message", "")),
    )


def _router(settings: Settings, told: Mapping[str, Any], requests: Requests) -> RouterStatus:
    address = str(told.get("address") or f"{settings.host}:{settings.router_port}") if told else ""
    healthy, broken = False, []
    if address:
        checks = HealthChecks(address, channel_credentials(settings.tls_root))
        healthy = checks.run([""])[""]
        broken = checks.broken(_PROBLEMS) if healthy else []
        checks.close()
    return RouterStatus(
        state="healthy" if healthy else "down",
        address=address,
        requests=requests.finished,
        errors=requests.errors,
        p50_ms=requests.quantile_ms(0.5),
        p99_ms=requests.quantile_ms(0.99),
        problems=tuple(_PROBLEMS[part] for part in broken),
    )


def _healthy(ingress: str, names: list[str]) -> dict[str, bool]:
    checks = HealthChecks(ingress)
    try:
        return checks.run(names)
    finally:
        checks.close()


def _message(up: bool, known: bool, processes: bool) -> str:
    if up:
        return ""
    if known or processes:
        return "the supervisor is gone and left a mesh behind: `slmesh down` clears it"
    return "the mesh is not up: `slmesh up` starts it"
