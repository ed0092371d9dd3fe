"""Registers every application of a Ray cluster in Consul, each with a check of its own.

The registrar vouches for each application every second; when the registrar itself dies, its word
runs out and the agent counts every application as failing. It knows nothing of Ray: a callable
tells it what runs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from slmesh.discovery.agent import ConsulAgent, Registration, TtlCheck
from slmesh.discovery.registration import synchronise, withdraw
from slmesh.discovery.resolution import CLUSTER_SERVICE, parse_address
from slmesh.mesh.background import end
from slmesh.mesh.errors import MeshError

__all__ = ["Application", "Registrar"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Application:
    """One application of a cluster, as the cluster tells it now.

    Attributes:
        name: The application's name, which is the service's name in the mesh.
        contract: The contract it serves: ``classify``.
        healthy: Whether it answers calls.
        address: The host of the ingress it is reached through, as other machines reach it.
        port: The gRPC port of that ingress.
        version: The version of its model; empty when it has none.
        message: The state in a few words, for whoever reads Consul's own pages.
    """

    name: str
    contract: str
    healthy: bool
    address: str
    port: int
    version: str = ""
    message: str = ""


class Registrar:
    """Keeps Consul's picture of one cluster current until closed.

    The cluster itself is registered too, as service ``ray-cluster``.

    Args:
        agent: The agent to register with; closed with this object.
        list_applications: Returns what runs now, well within ``ttl_s``; called in a thread. While
            it fails or hangs nobody vouches for anything, so everything fails after ``ttl_s``.
        cluster: The cluster's name: one registrar for each cluster and agent.
        address: ``host:port`` of the cluster's ingress.
        zone: The cluster's zone.
        region: The cluster's region.
        ttl_s: Seconds the registrar's word lasts. Below 5, so that a dead cluster is dropped
            within 5 s.
        heartbeat_s: Seconds between two rounds; a third of ``ttl_s`` or less, to survive a pause.
        deregister_after_s: Seconds of failing after which the agent forgets an application;
            Consul takes 60 for anything less.
    """

    def __init__(
        self,
        agent: ConsulAgent,
        list_applications: Callable[[], Sequence[Application]],
        *,
        cluster: str,
        address: str,
        zone: str = "",
        region: str = "",
        ttl_s: float = 3.5,
        heartbeat_s: float = 1.0,
        deregister_after_s: float = 60.0,
    ) -> None:
        self._agent = agent
        self._list_applications = list_applications
        self._cluster = cluster
        self._host, self._port = parse_address(address)
        self._zone = zone
        self._region = region
        self._ttl_s = ttl_s
        self._heartbeat_s = heartbeat_s
        self._deregister_after_s = deregister_after_s
        self._owner = f"slmesh-registrar.{cluster}"
        self._task: asyncio.Task[None] | None = None
        self._failing = ""

    async def start(self) -> None:
        """Register what runs now, and keep at it in the background."""
        self._task = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Remove the cluster and its applications, and close the connection to the agent."""
        task, self._task = self._task, None
        if task is None:
            return
        await end(task)
        await withdraw(self._agent, self._owner)
        await self._agent.close()

    async def _keep(self) -> None:
        while True:
            failing = ""
            try:
                await self._report(await asyncio.to_thread(self._list_applications))
            except MeshError as error:
                failing = error.reason
                self._log_failure(failing, error)
            except Exception as error:
                # Whatever the cluster's client raises: the cluster cannot be asked.
                failing = type(error).__name__
                self._log_failure(failing, error)
            self._failing = failing
            await asyncio.sleep(self._heartbeat_s)

    async def _report(self, applications: Sequence[Application]) -> None:
        """Register what runs, remove what is gone, and pass or fail each check."""
        verdicts = {
            item.id: (item, healthy, note) for item, healthy, note in self._all(applications)
        }
        await synchronise(self._agent, self._owner, [item for item, _, _ in verdicts.values()])
        for item, healthy, note in verdicts.values():
            if not await self._agent.vouch(item, healthy=healthy, note=note):
                await self._agent.register(item)

    def _all(self, applications: Sequence[Application]) -> Sequence[tuple[Registration, bool, str]]:
        """Return each registration with its health and a note: the cluster, then what it runs."""
        running = sum(item.healthy for item in applications)
        note = f"{running} of {len(applications)} applications answer"
        found = [(self._registration(self._cluster_itself(), application=""), True, note)]
        for item in applications:
            registration = self._registration(item, application=item.name)
            found.append((registration, item.healthy, item.message or _state(item.healthy)))
        return found

    def _cluster_itself(self) -> Application:
        return Application(
            name=CLUSTER_SERVICE, contract="", healthy=True, address=self._host, port=self._port
        )

    def _registration(self, item: Application, *, application: str) -> Registration:
        metadata = {
            "application": application,
            "contract": item.contract,
            "version": item.version,
            "cluster": self._cluster,
            "zone": self._zone,
            "region": self._region,
            "owner": self._owner,
        }
        return Registration(
            id=f"slmesh-{item.name}.{self._cluster}.{item.address}.{item.port}",
            service=item.name,
            host=item.address,
            port=item.port,
            metadata={key: value for key, value in metadata.items() if value},
            check=TtlCheck(ttl_s=self._ttl_s, passing=item.healthy),
            deregister_after_s=self._deregister_after_s,
        )

    def _log_failure(self, reason: str, error: Exception) -> None:
        if reason != self._failing:
            _log.warning(
                "discovery.report_failed",
                extra={"instance_id": self._owner, "reason": reason, "error": str(error)},
            )


def _state(healthy: bool) -> str:
    return "answers" if healthy else "does not answer"
