"""Discovery from Consul: follows every service of the mesh and answers from memory.

One blocking query follows the names, one follows the instances of each name. When the agent goes
away the last good answer stays, with its age. It knows nothing of registering anything, and it asks
one Consul datacentre: the one of the agent.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
import uuid
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from slmesh.discovery.agent import ConsulAgent
from slmesh.discovery.blocking_query import follow
from slmesh.discovery.resolution import (
    Instance,
    Resolution,
    by_distance,
    no_healthy_instance,
    unknown_service,
)
from slmesh.mesh.errors import MeshError, Unavailable

__all__ = ["ConsulDiscovery"]

_log = logging.getLogger(__name__)

_FORGOTTEN = Unavailable(
    "the Consul agent came back without its registrations", reason="CONSUL_FORGOT"
)


class _Followed:
    """What is known of one query: its last answer, when it came, and the failure since."""

    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        self.name = name
        self.answered = asyncio.Event()
        self.error: MeshError | None = None
        self._clock = clock
        self._answered_at_s = 0.0

    def confirm(self) -> None:
        """Note that the source answered just now."""
        if self.error is not None:
            _log.info("discovery.agent_back", extra={"service": self.name, "age_s": self.age_s()})
        self.error = None
        self._answered_at_s = self._clock()
        self.answered.set()

    def fail(self, error: MeshError) -> None:
        """Note that the source failed; logged when the reason is new."""
        if self.error is None or self.error.reason != error.reason:
            _log.warning(
                "discovery.query_failed",
                extra={"service": self.name, "reason": error.reason, "error": error.message},
            )
        self.error = error

    def age_s(self) -> float:
        """Return the seconds since the last answer; 0 before the first."""
        return self._clock() - self._answered_at_s if self.answered.is_set() else 0.0


class _Service(_Followed):
    """The instances of one service."""

    healthy: tuple[Instance, ...] = ()
    failing: tuple[Instance, ...] = ()


class ConsulDiscovery:
    """Answers with what a Consul agent knows.

    Args:
        agent: The agent to ask; closed with this object.
        zone: The zone of this process: the same zone is nearest.
        region: The region of this process: the same region is nearer than any other.
        wait_s: Seconds a blocking query waits for a change. While nothing changes an answer is
            confirmed this often, so this is how old it gets while all is well.
        stale_after_s: The age beyond which an answer is called stale; above ``wait_s``.
        start_timeout_s: Seconds ``start`` waits for the first answers.
        salt: Decides the order among equally near instances; random when None.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        agent: ConsulAgent,
        *,
        zone: str = "",
        region: str = "",
        wait_s: float = 5.0,
        stale_after_s: float = 10.0,
        start_timeout_s: float = 2.0,
        salt: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._agent = agent
        self._order = functools.partial(
            by_distance, zone=zone, region=region, salt=uuid.uuid4().hex if salt is None else salt
        )
        self._wait_s = wait_s
        self._stale_after_s = stale_after_s
        self._start_timeout_s = start_timeout_s
        self._clock = clock
        self._names = _Followed("*", clock)
        self._services: dict[str, _Service] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to follow the agent, and wait a moment for its first answers."""
        query = functools.partial(self._agent.names, wait_s=self._wait_s)
        self._spawn(follow(query, self._take_names, self._names.fail))
        try:
            async with asyncio.timeout(self._start_timeout_s):
                await self._names.answered.wait()
                for service in list(self._services.values()):
                    await service.answered.wait()
        except TimeoutError:
            _log.warning("discovery.not_ready", extra={"delay_s": self._start_timeout_s})

    def resolve(self, service: str) -> Resolution:
        """Return the instances of a service; see ``Discovery.resolve``."""
        known = self._services.get(service)
        if known is None:
            raise self._unknown(service)
        if not known.answered.is_set():
            raise _no_answer(known.error)
        if not known.healthy:
            raise no_healthy_instance(service, len(known.failing))
        age_s = known.age_s()
        return Resolution(
            service=service,
            instances=known.healthy,
            failing=known.failing,
            age_s=age_s,
            stale=age_s > self._stale_after_s,
            source="consul",
            error=known.error.message if known.error else "",
        )

    def services(self) -> tuple[str, ...]:
        """Return the names Consul has told so far, sorted; a name stays once it was seen."""
        return tuple(sorted(self._services))

    async def close(self) -> None:
        """Stop to follow the agent and close the connections to it."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._agent.close()

    def _unknown(self, service: str) -> MeshError:
        if not self._names.answered.is_set() or self._names.age_s() > self._stale_after_s:
            # Somebody may have registered it since the agent went away.
            return _no_answer(self._names.error)
        if not self._services:
            # A token without the right to read gets an empty list, not a refusal.
            return Unavailable(
                "Consul names no service of the mesh: none is registered, or consul_token may not "
                "read them",
                reason="DISCOVERY_EMPTY",
                retry_delay_s=1.0,
            )
        return unknown_service(service, self.services())

    def _is_forgetful(self, service: _Service, found: Sequence[Instance]) -> bool:
        """Return whether an agent that was away is back without what it knew.

        Whoever registered there registers again within seconds, and no check has run yet: until
        the last good answer is stale, it is nearer to the truth than "there is nobody".
        """
        return (
            service.error is not None
            and bool(service.healthy)
            and not any(item.healthy or item.check_output for item in found)
            and service.age_s() <= self._stale_after_s
        )

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work))

    def _take_names(self, names: frozenset[str]) -> None:
        self._names.confirm()
        for name in sorted(names - self._services.keys()):
            service = self._services[name] = _Service(name, self._clock)
            query = functools.partial(self._agent.instances, name, wait_s=self._wait_s)
            on_answer = functools.partial(self._take_instances, service)
            self._spawn(follow(query, on_answer, service.fail))

    def _take_instances(self, service: _Service, found: tuple[Instance, ...]) -> None:
        if self._is_forgetful(service, found):
            service.fail(_FORGOTTEN)
            return
        service.confirm()
        before = service.healthy, service.failing
        ordered = self._order(found)
        service.healthy = tuple(item for item in ordered if item.healthy)
        service.failing = tuple(item for item in ordered if not item.healthy)
        if (service.healthy, service.failing) != before:
            _log.info(
                "discovery.changed",
                extra={
                    "service": service.name,
                    "state": f"{len(service.healthy)} healthy, {len(service.failing)} failing",
                    "address": " ".join(item.target for item in service.healthy),
                },
            )


def _no_answer(error: MeshError | None) -> Unavailable:
    cause = error.message if error else "none has come yet"
    return Unavailable(
        f"discovery has no current answer: {cause}",
        reason=error.reason if error else "DISCOVERY_NOT_READY",
        retry_delay_s=1.0,
    )
