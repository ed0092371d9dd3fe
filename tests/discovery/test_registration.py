"""A router that registers itself, seen by others through a real Consul agent."""

import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from tests.consul_agent import ConsulAgentProcess
from tests.discovery.conftest import HealthServer
from tests.ports import free_ports

from slmesh.discovery.agent import ConsulAgent, GrpcCheck
from slmesh.discovery.consul import ConsulDiscovery
from slmesh.discovery.registration import RouterRegistration
from slmesh.mesh.errors import NotFound, Unavailable

Discover = Callable[..., Awaitable[ConsulDiscovery]]
Until = Callable[..., Awaitable[float]]
Register = Callable[..., Awaitable[RouterRegistration]]


@pytest.fixture
async def register() -> AsyncIterator[Register]:
    """Registers routers, and withdraws them after the test."""
    registered: list[RouterRegistration] = []

    async def start(agent: ConsulAgentProcess, port: int, **options: Any) -> RouterRegistration:
        item = RouterRegistration(
            ConsulAgent(agent.address),
            host="127.0.0.1",
            port=port,
            zone="a",
            region="eu",
            **options,
        )
        registered.append(item)
        await item.start()
        return item

    yield start
    for item in registered:
        await item.close()


def quick(server: HealthServer) -> GrpcCheck:
    """A check at the shortest interval Consul allows."""
    return GrpcCheck(target=f"127.0.0.1:{server.port}", interval_s=1.0)


def routers(discovery: ConsulDiscovery) -> list[int]:
    with contextlib.suppress(NotFound, Unavailable):
        return [item.port for item in discovery.resolve("router").instances]
    return []


async def test_a_serving_router_is_found_with_its_place_and_version(
    agent: ConsulAgentProcess,
    health_server: HealthServer,
    discover: Discover,
    register: Register,
    until: Until,
) -> None:
    discovery = await discover(agent)
    check = quick(health_server)
    await register(agent, health_server.port, metadata={"version": "0.1.0"}, check=check)
    await until(lambda: routers(discovery) == [health_server.port])
    found = discovery.resolve("router").instances[0]
    assert (found.zone, found.region, found.metadata["version"]) == ("a", "eu", "0.1.0")


@pytest.mark.parametrize("way", ["says-not-serving", "stops"])
async def test_a_router_that_fails_its_check_is_dropped_within_five_seconds(
    way: str,
    agent: ConsulAgentProcess,
    health_server: HealthServer,
    discover: Discover,
    register: Register,
    until: Until,
) -> None:
    discovery = await discover(agent)
    await register(agent, health_server.port)
    await until(lambda: routers(discovery))
    failed_at = time.monotonic()
    if way == "stops":
        await health_server.stop()
    else:
        await health_server.say(serving=False)
    await until(lambda: not routers(discovery))
    assert time.monotonic() - failed_at < 5
    with pytest.raises(Unavailable, match="all failing"):
        discovery.resolve("router")


async def test_a_router_that_recovers_is_found_again(
    agent: ConsulAgentProcess,
    health_server: HealthServer,
    discover: Discover,
    register: Register,
    until: Until,
) -> None:
    discovery = await discover(agent)
    await register(agent, health_server.port, check=quick(health_server))
    await until(lambda: routers(discovery))
    await health_server.say(serving=False)
    await until(lambda: not routers(discovery))
    await health_server.say(serving=True)
    await until(lambda: routers(discovery))


async def test_a_router_where_nothing_listens_is_never_found(
    agent: ConsulAgentProcess, discover: Discover, register: Register, until: Until
) -> None:
    discovery = await discover(agent)
    await register(agent, free_ports(1)[0])
    await until(lambda: _failing_output(discovery))
    assert routers(discovery) == []


def _failing_output(discovery: ConsulDiscovery) -> bool:
    with contextlib.suppress(NotFound):
        try:
            discovery.resolve("router")
        except Unavailable as error:
            return "1 registered, all failing" in error.message
    return False


async def test_a_closed_registration_is_gone_at_once(
    agent: ConsulAgentProcess,
    health_server: HealthServer,
    discover: Discover,
    register: Register,
    until: Until,
) -> None:
    discovery = await discover(agent)
    registration = await register(agent, health_server.port, check=quick(health_server))
    await until(lambda: routers(discovery))
    await registration.close()
    await until(lambda: not routers(discovery), timeout_s=2)
    assert agent.call("GET", "/agent/services") == {}


async def test_an_agent_that_lost_the_router_is_told_again_and_no_client_notices(
    agent: ConsulAgentProcess,
    health_server: HealthServer,
    discover: Discover,
    register: Register,
    until: Until,
) -> None:
    discovery = await discover(agent)
    await register(agent, health_server.port, sync_s=0.3, check=quick(health_server))
    await until(lambda: routers(discovery))
    agent.kill()
    await until(lambda: discovery.resolve("router").error)
    agent.start()
    # resolve() raises, and fails the test, if the router is missing for a moment.
    await until(lambda: not discovery.resolve("router").error)
    assert len(agent.call("GET", "/agent/services")) == 1


async def test_a_router_registers_once_the_agent_comes(
    agent: ConsulAgentProcess, health_server: HealthServer, register: Register, until: Until
) -> None:
    agent.kill()
    await register(agent, health_server.port, sync_s=0.2)
    agent.start()
    await until(lambda: agent.call("GET", "/agent/services"))


async def test_closing_while_the_agent_is_away_does_not_raise(
    agent: ConsulAgentProcess, health_server: HealthServer, register: Register
) -> None:
    registration = await register(agent, health_server.port)
    agent.kill()
    await registration.close()
    await registration.close()


async def test_a_registration_that_did_not_change_is_not_sent_again(
    agent: ConsulAgentProcess,
    health_server: HealthServer,
    register: Register,
    until: Until,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", logger="slmesh.discovery")
    await register(agent, health_server.port, sync_s=0.05)
    await until(lambda: agent.call("GET", "/agent/services"))
    seen_at = time.monotonic()
    await until(lambda: time.monotonic() - seen_at > 0.5)
    events = [r.getMessage() for r in caplog.records if "registered" in r.getMessage()]
    assert events == ["discovery.registered"]
