"""Finding instances through a real Consul agent, in good times and in bad ones."""

from collections.abc import Awaitable, Callable

import pytest
from tests.consul_agent import ConsulAgentProcess

from slmesh.discovery.agent import ConsulAgent, Registration
from slmesh.discovery.consul import ConsulDiscovery
from slmesh.mesh.errors import NotFound, Unavailable

Publish = Callable[..., Awaitable[ConsulAgent]]
Discover = Callable[..., Awaitable[ConsulDiscovery]]
MakeInstance = Callable[..., Registration]
Until = Callable[..., Awaitable[float]]


def ports(discovery: ConsulDiscovery, service: str = "intent") -> list[int]:
    """The ports of the healthy instances, nearest first; none when there is no answer."""
    try:
        return [item.port for item in discovery.resolve(service).instances]
    except (NotFound, Unavailable):
        return []


def reason(discovery: ConsulDiscovery, service: str) -> str:
    with pytest.raises((NotFound, Unavailable)) as raised:
        discovery.resolve(service)
    return str(raised.value.reason)


async def test_a_registered_instance_is_found_at_start(
    agent: ConsulAgentProcess, publish: Publish, discover: Discover, instance: MakeInstance
) -> None:
    await publish(agent, instance("intent", 1001))
    answer = (await discover(agent)).resolve("intent")
    found = answer.instances[0]
    assert (found.target, found.zone, found.region) == ("127.0.0.1:1001", "a", "eu")
    assert (answer.source, answer.stale, answer.error) == ("consul", False, "")


async def test_an_instance_registered_later_is_found(
    agent: ConsulAgentProcess,
    publish: Publish,
    discover: Discover,
    instance: MakeInstance,
    until: Until,
) -> None:
    discovery = await discover(agent)
    await publish(agent, instance("intent", 1001))
    await until(lambda: ports(discovery) == [1001])
    assert discovery.services() == ("intent",)


async def test_the_nearest_instance_comes_first(
    agent: ConsulAgentProcess, publish: Publish, discover: Discover, instance: MakeInstance
) -> None:
    await publish(
        agent,
        instance("intent", 1001, zone="a", region="us"),
        instance("intent", 1002, zone="b", region="eu"),
        instance("intent", 1003, zone="a", region="eu"),
    )
    answer = (await discover(agent)).resolve("intent")
    assert [item.port for item in answer.instances] == [1003, 1002, 1001]
    assert [item.port for item in answer.within(region="us").instances] == [1001]


async def test_a_failing_instance_is_dropped_and_told_apart(
    agent: ConsulAgentProcess,
    publish: Publish,
    discover: Discover,
    instance: MakeInstance,
    until: Until,
) -> None:
    failing = instance("intent", 1001)
    consul = await publish(agent, failing, instance("intent", 1002, region="us"))
    discovery = await discover(agent)
    assert ports(discovery) == [1001, 1002]
    await consul.vouch(failing, healthy=False, note="out of memory")
    await until(lambda: ports(discovery) == [1002])
    dropped = discovery.resolve("intent").failing[0]
    assert (dropped.port, dropped.healthy, dropped.check_output) == (1001, False, "out of memory")


async def test_a_service_all_of_whose_instances_fail_is_unavailable(
    agent: ConsulAgentProcess, publish: Publish, discover: Discover, instance: MakeInstance
) -> None:
    await publish(agent, instance("intent", 1001, passing=False))
    discovery = await discover(agent)
    with pytest.raises(Unavailable, match="1 registered, all failing") as raised:
        discovery.resolve("intent")
    assert raised.value.reason == "NO_HEALTHY_INSTANCE"
    assert raised.value.retry_delay_s is not None


async def test_a_service_that_moves_is_followed(
    agent: ConsulAgentProcess,
    publish: Publish,
    discover: Discover,
    instance: MakeInstance,
    until: Until,
) -> None:
    old = instance("intent", 1001)
    consul = await publish(agent, old)
    discovery = await discover(agent)
    await consul.register(instance("intent", 1002))
    await consul.deregister(old.id)
    await until(lambda: ports(discovery) == [1002])


async def test_an_unknown_service_is_not_found_and_the_nearest_name_told(
    agent: ConsulAgentProcess, publish: Publish, discover: Discover, instance: MakeInstance
) -> None:
    await publish(agent, instance("intent", 1001))
    discovery = await discover(agent)
    with pytest.raises(NotFound, match="did you mean 'intent'"):
        discovery.resolve("intnet")


async def test_a_service_that_is_gone_is_unavailable_not_unknown(
    agent: ConsulAgentProcess,
    publish: Publish,
    discover: Discover,
    instance: MakeInstance,
    until: Until,
) -> None:
    consul = await publish(agent, instance("intent", 1001))
    discovery = await discover(agent)
    await consul.deregister("intent.1001")
    await until(lambda: ports(discovery) == [])
    assert reason(discovery, "intent") == "NO_HEALTHY_INSTANCE"


async def test_services_of_others_on_the_same_agent_are_not_ours(
    agent: ConsulAgentProcess, discover: Discover
) -> None:
    agent.call("PUT", "/agent/service/register", {"Name": "database", "Port": 5432})
    assert (await discover(agent)).services() == ()


async def test_an_agent_that_knows_no_service_is_unavailable_with_a_hint(
    agent: ConsulAgentProcess, discover: Discover
) -> None:
    discovery = await discover(agent)
    with pytest.raises(Unavailable, match="consul_token") as raised:
        discovery.resolve("intent")
    assert raised.value.reason == "DISCOVERY_EMPTY"


async def test_an_instance_without_an_address_answers_at_its_node(
    agent: ConsulAgentProcess, discover: Discover
) -> None:
    agent.call("PUT", "/agent/service/register", {"Name": "slmesh-intent", "Port": 1001})
    answer = (await discover(agent)).resolve("intent")
    assert answer.instances[0].target == "127.0.0.1:1001"


async def test_while_the_agent_is_away_the_last_answer_stays_and_grows_old(
    agent: ConsulAgentProcess,
    publish: Publish,
    discover: Discover,
    instance: MakeInstance,
    until: Until,
) -> None:
    await publish(agent, instance("intent", 1001))
    discovery = await discover(agent, wait_s=0.4, stale_after_s=1.0)
    agent.kill()
    await until(lambda: discovery.resolve("intent").error)
    await until(lambda: discovery.resolve("intent").stale)
    answer = discovery.resolve("intent")
    assert answer.instances[0].port == 1001
    assert answer.age_s > 1.0
    assert agent.address not in answer.error


async def test_a_service_never_heard_of_is_unavailable_while_the_agent_is_away(
    agent: ConsulAgentProcess,
    publish: Publish,
    discover: Discover,
    instance: MakeInstance,
    until: Until,
) -> None:
    await publish(agent, instance("intent", 1001))
    discovery = await discover(agent, wait_s=0.4, stale_after_s=1.0)
    agent.kill()
    await until(lambda: discovery.resolve("intent").stale)
    assert reason(discovery, "registered-meanwhile") == "CONSUL_UNREACHABLE"


async def test_an_agent_that_hangs_is_noticed(
    agent: ConsulAgentProcess,
    publish: Publish,
    discover: Discover,
    instance: MakeInstance,
    until: Until,
) -> None:
    await publish(agent, instance("intent", 1001))
    discovery = await discover(agent, wait_s=0.4, stale_after_s=1.0, timeout_s=0.3)
    agent.freeze()
    await until(lambda: discovery.resolve("intent").stale)
    assert "TimeoutError" in discovery.resolve("intent").error
    agent.thaw()
    await until(lambda: not discovery.resolve("intent").stale)


async def test_an_agent_that_is_away_at_start_is_followed_once_it_comes(
    agent: ConsulAgentProcess, discover: Discover, until: Until
) -> None:
    agent.kill()
    discovery = await discover(agent, start_timeout_s=0.2)
    assert reason(discovery, "intent") == "CONSUL_UNREACHABLE"
    agent.start()
    agent.call("PUT", "/agent/service/register", {"Name": "slmesh-intent", "Port": 1001})
    await until(lambda: ports(discovery) == [1001])


async def test_a_restarted_agent_that_kept_its_state_is_followed_on(
    start_agent: Callable[..., ConsulAgentProcess],
    publish: Publish,
    discover: Discover,
    instance: MakeInstance,
    until: Until,
) -> None:
    agent = start_agent(durable=True)
    first = instance("intent", 1001)
    consul = await publish(agent, first)
    discovery = await discover(agent)
    agent.kill()
    await until(lambda: discovery.resolve("intent").error)
    agent.start()
    # The restarted agent counts a check as failing until it has run once.
    await consul.vouch(first, healthy=True, note="answers")
    await until(lambda: not discovery.resolve("intent").error)
    assert ports(discovery) == [1001]
    await consul.register(instance("intent", 1002, zone="b"))
    await until(lambda: ports(discovery) == [1001, 1002])


async def test_a_restarted_agent_that_lost_its_state_is_not_believed_at_once(
    agent: ConsulAgentProcess,
    publish: Publish,
    discover: Discover,
    instance: MakeInstance,
    until: Until,
) -> None:
    await publish(agent, instance("intent", 1001))
    discovery = await discover(agent, wait_s=0.4, stale_after_s=3.0)
    agent.kill()
    await until(lambda: discovery.resolve("intent").error)
    agent.start()
    await until(lambda: "came back" in discovery.resolve("intent").error)
    assert ports(discovery) == [1001]
    await until(lambda: ports(discovery) == [])
    assert reason(discovery, "intent") == "NO_HEALTHY_INSTANCE"


async def test_an_instance_registered_again_after_a_restart_was_never_missing(
    agent: ConsulAgentProcess,
    publish: Publish,
    discover: Discover,
    instance: MakeInstance,
    until: Until,
) -> None:
    consul = await publish(agent, instance("intent", 1001))
    discovery = await discover(agent)
    agent.kill()
    await until(lambda: discovery.resolve("intent").error)
    agent.start()
    await until(lambda: "came back" in discovery.resolve("intent").error)
    await consul.register(instance("intent", 1001))
    await until(lambda: not discovery.resolve("intent").error)
    assert ports(discovery) == [1001]


async def test_closing_twice_does_nothing(agent: ConsulAgentProcess, discover: Discover) -> None:
    discovery = await discover(agent)
    await discovery.close()
    await discovery.close()
