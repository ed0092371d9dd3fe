"""A registrar that keeps Consul's picture of a cluster current, until it is killed."""

import asyncio
import contextlib
import dataclasses
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.consul_agent import ConsulAgentProcess

from slmesh.discovery import CLUSTER_SERVICE
from slmesh.discovery.agent import ConsulAgent
from slmesh.discovery.consul import ConsulDiscovery
from slmesh.discovery.registrar import Application, Registrar
from slmesh.mesh.errors import NotFound, Unavailable

Discover = Callable[..., Awaitable[ConsulDiscovery]]
Until = Callable[..., Awaitable[float]]

INTENT = Application(
    name="intent", contract="classify", healthy=True, address="127.0.0.1", port=9000, version="1.2"
)
TRIAGE = dataclasses.replace(INTENT, name="triage", contract="score", version="")


class Cluster:
    """A cluster whose applications the test changes."""

    def __init__(self, *applications: Application) -> None:
        self.applications = list(applications)
        self.fault: Exception | None = None

    def list_applications(self) -> list[Application]:
        if self.fault:
            raise self.fault
        return list(self.applications)


@pytest.fixture
async def register() -> AsyncIterator[Callable[..., Awaitable[Registrar]]]:
    """Starts registrars, and closes them after the test."""
    started: list[Registrar] = []

    async def start(
        agent: ConsulAgentProcess, cluster: Cluster, name: str = "c1", **options: Any
    ) -> Registrar:
        item = Registrar(
            ConsulAgent(agent.address),
            cluster.list_applications,
            cluster=name,
            address="127.0.0.1:9000",
            zone="a",
            region="eu",
            **({"heartbeat_s": 0.2} | options),
        )
        started.append(item)
        await item.start()
        return item

    yield start
    for item in started:
        await item.close()


Register = Callable[..., Awaitable[Registrar]]


def ports(discovery: ConsulDiscovery, service: str = "intent") -> list[int]:
    with contextlib.suppress(NotFound, Unavailable):
        return [item.port for item in discovery.resolve(service).instances]
    return []


def checks(agent: ConsulAgentProcess) -> dict[str, str]:
    """The state of each service's check, as Consul tells it."""
    rows = agent.call("GET", "/agent/checks").values()
    return {row["ServiceName"].removeprefix("slmesh-"): row["Status"] for row in rows}


async def test_every_application_and_the_cluster_are_registered_with_a_check_each(
    agent: ConsulAgentProcess, register: Register, until: Until
) -> None:
    await register(agent, Cluster(INTENT, TRIAGE))
    everything = {"intent": "passing", "triage": "passing", CLUSTER_SERVICE: "passing"}
    await until(lambda: checks(agent) == everything)


async def test_an_application_is_found_with_what_it_says_about_itself(
    agent: ConsulAgentProcess, register: Register, discover: Discover, until: Until
) -> None:
    discovery = await discover(agent)
    await register(agent, Cluster(INTENT))
    await until(lambda: ports(discovery))
    found = discovery.resolve("intent").instances[0]
    told = {key: value for key, value in found.metadata.items() if key != "owner"}
    assert told == {
        "application": "intent",
        "contract": "classify",
        "version": "1.2",
        "cluster": "c1",
    }
    assert (found.target, found.zone, found.region) == ("127.0.0.1:9000", "a", "eu")


async def test_clusters_are_found_by_name(
    agent: ConsulAgentProcess, register: Register, discover: Discover, until: Until
) -> None:
    discovery = await discover(agent)
    await register(agent, Cluster(INTENT), "c1")
    await register(agent, Cluster(dataclasses.replace(INTENT, port=9001)), "c2")
    await until(lambda: len(ports(discovery, CLUSTER_SERVICE)) == 2)
    await until(lambda: len(ports(discovery)) == 2)
    in_c2 = discovery.resolve("intent").within(cluster="c2").instances
    assert [item.port for item in in_c2] == [9001]


async def test_an_application_that_fails_is_dropped_with_its_reason_while_others_stay(
    agent: ConsulAgentProcess, register: Register, discover: Discover, until: Until
) -> None:
    cluster = Cluster(INTENT, TRIAGE)
    discovery = await discover(agent)
    await register(agent, cluster)
    await until(lambda: ports(discovery) and ports(discovery, "triage"))
    cluster.applications[0] = dataclasses.replace(INTENT, healthy=False, message="UNHEALTHY")
    await until(lambda: not ports(discovery))
    assert ports(discovery, "triage") == [9000]
    outputs = [row["Output"] for row in agent.call("GET", "/agent/checks").values()]
    assert "UNHEALTHY" in outputs


async def test_an_application_that_vanishes_is_removed_while_others_stay(
    agent: ConsulAgentProcess, register: Register, until: Until
) -> None:
    cluster = Cluster(INTENT, TRIAGE)
    await register(agent, cluster)
    await until(lambda: "intent" in checks(agent))
    cluster.applications.remove(INTENT)
    await until(lambda: set(checks(agent)) == {"triage", CLUSTER_SERVICE})


async def test_an_application_that_moves_is_never_without_an_instance(
    agent: ConsulAgentProcess, register: Register, discover: Discover, until: Until
) -> None:
    cluster = Cluster(INTENT)
    discovery = await discover(agent)
    await register(agent, cluster)
    await until(lambda: ports(discovery) == [9000])
    cluster.applications = [dataclasses.replace(INTENT, port=9001)]
    # resolve() raises, and fails the test, if there is no instance for a moment.
    await until(
        lambda: [item.port for item in discovery.resolve("intent").instances] == [9001],
        timeout_s=5,
    )


async def test_a_new_version_at_the_same_address_is_told(
    agent: ConsulAgentProcess, register: Register, discover: Discover, until: Until
) -> None:
    cluster = Cluster(INTENT)
    discovery = await discover(agent)
    await register(agent, cluster)
    await until(lambda: ports(discovery))
    cluster.applications = [dataclasses.replace(INTENT, version="2.0")]
    await until(
        lambda: discovery.resolve("intent").instances[0].metadata["version"] == "2.0", timeout_s=5
    )


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Unavailable("no controller"), id="mesh-error"),
        pytest.param(RuntimeError("no controller"), id="any-error"),
    ],
)
async def test_a_cluster_that_cannot_be_asked_fails_after_the_ttl_and_recovers(
    fault: Exception, agent: ConsulAgentProcess, register: Register, until: Until
) -> None:
    cluster = Cluster(INTENT)
    await register(agent, cluster, ttl_s=1.0)
    await until(lambda: checks(agent).get("intent") == "passing")
    cluster.fault = fault
    await until(lambda: checks(agent)["intent"] == "critical")
    cluster.fault = None
    await until(lambda: checks(agent)["intent"] == "passing")


async def test_a_pause_shorter_than_the_ttl_changes_nothing(
    agent: ConsulAgentProcess, register: Register, until: Until
) -> None:
    cluster = Cluster(INTENT)
    await register(agent, cluster, ttl_s=30.0)
    await until(lambda: checks(agent).get("intent") == "passing")
    cluster.fault = RuntimeError("busy")
    await asyncio.sleep(1.0)
    assert checks(agent)["intent"] == "passing"


async def test_a_closed_registrar_leaves_nothing(
    agent: ConsulAgentProcess, register: Register, until: Until
) -> None:
    registrar = await register(agent, Cluster(INTENT))
    await until(lambda: checks(agent))
    await registrar.close()
    assert agent.call("GET", "/agent/services") == {}


async def test_a_registrar_leaves_the_services_of_others_alone(
    agent: ConsulAgentProcess, register: Register, until: Until
) -> None:
    agent.call("PUT", "/agent/service/register", {"Name": "slmesh-intent", "Port": 1})
    registrar = await register(agent, Cluster())
    await until(lambda: len(agent.call("GET", "/agent/services")) == 2)
    await registrar.close()
    assert list(agent.call("GET", "/agent/services")) == ["slmesh-intent"]


async def test_an_agent_that_lost_the_applications_is_told_again_and_no_client_notices(
    agent: ConsulAgentProcess, register: Register, discover: Discover, until: Until
) -> None:
    discovery = await discover(agent)
    await register(agent, Cluster(INTENT))
    await until(lambda: ports(discovery))
    agent.kill()
    await until(lambda: discovery.resolve("intent").error)
    agent.start()
    await until(lambda: not discovery.resolve("intent").error)


async def test_a_check_that_the_agent_forgot_is_registered_again(
    agent: ConsulAgentProcess, register: Register, until: Until
) -> None:
    await register(agent, Cluster(INTENT))
    await until(lambda: "intent" in checks(agent))
    check_id = next(key for key in agent.call("GET", "/agent/checks") if "intent" in key)
    agent.call("PUT", f"/agent/check/deregister/{check_id}")
    await until(lambda: checks(agent).get("intent") == "passing")


async def test_consul_is_told_to_forget_what_fails_for_a_minute(
    start_agent: Callable[..., ConsulAgentProcess], register: Register, until: Until
) -> None:
    agent = start_agent(durable=True)
    await register(agent, Cluster(INTENT))
    await until(lambda: "intent" in checks(agent))
    # Consul shows this nowhere but in its state folder; waiting for it takes 60 to 90 s.
    kept = [
        json.loads(path.read_text()) for path in agent.state_dir.glob("checks/*") if path.is_file()
    ]
    assert {item["ChkType"]["DeregisterCriticalServiceAfter"] for item in kept} == {60_000_000_000}


_SCRIPT = """
import asyncio, sys
from slmesh.discovery.agent import ConsulAgent
from slmesh.discovery.registrar import Application, Registrar

async def main():
    intent = Application(
        name="intent", contract="classify", healthy=True, address="127.0.0.1", port=9000
    )
    registrar = Registrar(
        ConsulAgent(sys.argv[1]), lambda: [intent], cluster="c1", address="127.0.0.1:9000"
    )
    await registrar.start()
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.fixture
def registrar_process(agent: ConsulAgentProcess) -> Iterator[subprocess.Popen[bytes]]:
    """A registrar with its usual times, in a process of its own."""
    sources = Path(__file__).resolve().parents[2] / "services"
    process = subprocess.Popen([sys.executable, "-c", _SCRIPT, agent.address], cwd=sources)
    yield process
    process.kill()
    process.wait(timeout=10)


async def test_after_kill_9_of_the_registrar_its_applications_are_dropped_within_five_seconds(
    agent: ConsulAgentProcess,
    registrar_process: subprocess.Popen[bytes],
    discover: Discover,
    register: Register,
    until: Until,
) -> None:
    discovery = await discover(agent)
    await until(lambda: ports(discovery) == [9000])
    registrar_process.send_signal(signal.SIGKILL)
    killed_at = time.monotonic()
    await until(lambda: not ports(discovery))
    assert time.monotonic() - killed_at < 5
    # A registrar that starts again removes what its predecessor left.
    await register(agent, Cluster(TRIAGE))
    await until(lambda: set(checks(agent)) == {"triage", CLUSTER_SERVICE})
