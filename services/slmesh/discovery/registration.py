"""Keeps registrations with a Consul agent as they should be, whatever the agent forgets.

``synchronise`` compares what the agent holds for one owner with what should be there and mends the
difference. ``RouterRegistration`` does so for a router, whose health the agent asks over gRPC. It
knows nothing of how a router is run.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

from slmesh.discovery.agent import ConsulAgent, GrpcCheck, Registration
from slmesh.mesh.background import end
from slmesh.mesh.errors import MeshError

__all__ = ["RouterRegistration", "synchronise", "withdraw"]

_log = logging.getLogger(__name__)

ROUTER_SERVICE = "router"
"""The service name under which routers are found."""


async def synchronise(agent: ConsulAgent, owner: str, wanted: Sequence[Registration]) -> None:
    """Make the agent hold exactly these registrations for an owner.

    New ones come before old ones go, so a service that moves is never without an instance.

    Raises:
        MeshError: The agent is away or refuses; what was done until then stays done.
    """
    held = await agent.registered(owner)
    for item in wanted:
        entry = held.pop(item.id, None)
        if entry is None or not item.same_as(entry):
            await agent.register(item)
            event = "discovery.registered" if entry is None else "discovery.reregistered"
            _log.info(event, extra={"service": item.service, "instance_id": item.id})
    for registration_id in held:
        await agent.deregister(registration_id)
        _log.info("discovery.deregistered", extra={"instance_id": registration_id})


async def withdraw(agent: ConsulAgent, owner: str) -> None:
    """Remove all registrations of an owner as far as the agent can be reached now."""
    try:
        await synchronise(agent, owner, ())
    except MeshError as error:
        # The check fails from now on, so the agent removes the instance by itself later.
        _log.warning(
            "discovery.withdraw_failed", extra={"instance_id": owner, "reason": error.reason}
        )


class RouterRegistration:
    """Registers one router and keeps it registered until closed.

    The agent calls the router's ``grpc.health.v1`` before others learn of it, so a router becomes
    visible up to ``check.interval_s`` after ``start``.

    Args:
        agent: The agent to register with; closed with this object.
        host: The address other machines reach the router at.
        port: The router's gRPC port.
        zone: The router's zone.
        region: The router's region.
        metadata: More about the router, such as ``version``.
        check: How the agent asks for health; at the router's own address when None.
        sync_s: Seconds between two looks whether the agent still holds the registration.
        deregister_after_s: Seconds of failing after which the agent forgets the router; Consul
            takes 60 for anything less.
    """

    def __init__(
        self,
        agent: ConsulAgent,
        *,
        host: str,
        port: int,
        zone: str = "",
        region: str = "",
        metadata: Mapping[str, str] | None = None,
        check: GrpcCheck | None = None,
        sync_s: float = 3.0,
        deregister_after_s: float = 60.0,
    ) -> None:
        owner = f"slmesh-{ROUTER_SERVICE}.{host}.{port}"
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        described = {**(metadata or {}), "zone": zone, "region": region, "owner": owner}
        self._agent = agent
        self._sync_s = sync_s
        self._registration = Registration(
            id=owner,
            service=ROUTER_SERVICE,
            host=host,
            port=port,
            metadata={key: value for key, value in described.items() if value},
            check=check or GrpcCheck(target=target),
            deregister_after_s=deregister_after_s,
        )
        self._task: asyncio.Task[None] | None = None
        self._failing = ""

    async def start(self) -> None:
        """Register, and go on trying in the background when the agent is away."""
        await self._synchronise()
        self._task = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Remove the router from discovery and close the connection to the agent."""
        task, self._task = self._task, None
        if task is None:
            return
        await end(task)
        await withdraw(self._agent, self._registration.id)
        await self._agent.close()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(self._sync_s)
            await self._synchronise()

    async def _synchronise(self) -> None:
        try:
            await synchronise(self._agent, self._registration.id, [self._registration])
        except MeshError as error:
            if error.reason != self._failing:
                _log.warning(
                    "discovery.register_failed",
                    extra={"service": ROUTER_SERVICE, "reason": error.reason, "error": str(error)},
                )
            self._failing = error.reason
        else:
            self._failing = ""
