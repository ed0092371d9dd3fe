"""Talking to one agent: addresses, tokens, and answers no agent would give."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from tests.consul_agent import ConsulAgentProcess
from tests.ports import free_ports

from slmesh.discovery.agent import ConsulAgent, GrpcCheck, Registration
from slmesh.discovery.consul import ConsulDiscovery
from slmesh.discovery.registration import RouterRegistration
from slmesh.mesh.errors import InvalidArgument, MeshError, PermissionDenied, Unavailable

_DENY = {"acl": {"enabled": True, "default_policy": "deny"}}
_MESH_ONLY = 'service_prefix "slmesh-" { policy = "write" } node_prefix "" { policy = "read" }'


@pytest.mark.parametrize(
    "address",
    [
        pytest.param("", id="empty"),
        pytest.param("127.0.0.1", id="no-port"),
        pytest.param("ftp://127.0.0.1:8500", id="other-scheme"),
        pytest.param("http://127.0.0.1:8500/v1", id="path"),
        pytest.param("127.0.0.1:port", id="port-in-letters"),
    ],
)
def test_a_wrong_agent_address_is_refused(address: str) -> None:
    with pytest.raises(InvalidArgument):
        ConsulAgent(address)


async def test_an_agent_that_is_not_there_is_unavailable() -> None:
    agent = ConsulAgent(f"127.0.0.1:{free_ports(1)[0]}")
    with pytest.raises(Unavailable) as raised:
        await agent.names(0, 1.0)
    await agent.close()
    assert raised.value.reason == "CONSUL_UNREACHABLE"
    assert "127.0.0.1" not in raised.value.message


Serve = Callable[[bytes], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts an HTTP server that gives every request the same raw answer."""
    servers: list[asyncio.Server] = []

    async def start(raw: bytes) -> str:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(raw)
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        servers.append(server)
        return f"127.0.0.1:{server.sockets[0].getsockname()[1]}"

    yield start
    for server in servers:
        server.close()
        await server.wait_closed()


def http(body: bytes, status: str = "200 OK", index: str = "X-Consul-Index: 1\r\n") -> bytes:
    head = f"HTTP/1.1 {status}\r\n{index}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        pytest.param(http(b"<html>"), "CONSUL_ERROR", id="not-json"),
        pytest.param(http(b"[]", index=""), "CONSUL_ERROR", id="no-index"),
        pytest.param(http(b"[]", index="X-Consul-Index: x\r\n"), "CONSUL_ERROR", id="odd-index"),
        pytest.param(http(b'[{"Node": {}}]'), "CONSUL_ERROR", id="fields-missing"),
        pytest.param(http(b"[7]"), "CONSUL_ERROR", id="not-an-object"),
        pytest.param(http(b"\xff\xfe"), "CONSUL_UNREACHABLE", id="not-utf8"),
        pytest.param(http(b"No leader", "500 Error"), "CONSUL_ERROR", id="no-leader"),
        pytest.param(http(b"slow down", "429 Too Many"), "CONSUL_ERROR", id="rate-limited"),
        pytest.param(b"garbage\r\n\r\n", "CONSUL_UNREACHABLE", id="not-http"),
        pytest.param(b"", "CONSUL_UNREACHABLE", id="hangs-up"),
    ],
)
async def test_an_answer_that_cannot_be_read_is_unavailable(
    raw: bytes, reason: str, serve: Serve
) -> None:
    agent = ConsulAgent(await serve(raw))
    with pytest.raises(Unavailable) as raised:
        await agent.instances("intent", 0, 1.0)
    await agent.close()
    assert raised.value.reason == reason


async def test_metadata_consul_cannot_hold_is_refused(
    agent: ConsulAgentProcess,
    connect: Callable[..., ConsulAgent],
    instance: Callable[..., Registration],
) -> None:
    item = instance("intent", 1001)
    item = Registration(
        id=item.id,
        service=item.service,
        host=item.host,
        port=item.port,
        metadata={"not allowed!": "x"},
        check=item.check,
    )
    with pytest.raises(InvalidArgument) as raised:
        await connect(agent).register(item)
    assert raised.value.reason == "CONSUL_BAD_REQUEST"


def test_a_health_check_over_tls_is_asked_for() -> None:
    assert GrpcCheck(target="h:1", tls=True).definition()["GRPCUseTLS"] is True


def guarded(start_agent: Callable[..., ConsulAgentProcess]) -> tuple[ConsulAgentProcess, str]:
    """Start an agent that denies by default; return it and a token for the mesh's services."""
    agent = start_agent(settings=_DENY)
    agent.token = agent.call("PUT", "/acl/bootstrap")["SecretID"]
    agent.call("PUT", "/acl/policy", {"Name": "mesh", "Rules": _MESH_ONLY})
    token = agent.call("PUT", "/acl/token", {"Policies": [{"Name": "mesh"}]})
    return agent, token["SecretID"]


async def test_a_token_for_the_mesh_registers_and_finds(
    start_agent: Callable[..., ConsulAgentProcess],
    publish: Callable[..., Awaitable[ConsulAgent]],
    discover: Callable[..., Awaitable[ConsulDiscovery]],
    instance: Callable[..., Registration],
) -> None:
    agent, token = guarded(start_agent)
    await publish(agent, instance("intent", 1001), token=token)
    discovery = await discover(agent, token=token)
    assert discovery.resolve("intent").instances[0].port == 1001


async def test_the_token_of_the_settings_stands_above_the_environment(
    start_agent: Callable[..., ConsulAgentProcess],
    connect: Callable[..., ConsulAgent],
    instance: Callable[..., Registration],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    agent, token = guarded(start_agent)
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", "00000000-0000-0000-0000-000000000000")
    await connect(agent, token=token).register(instance("intent", 1001))


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("", id="none"),
        pytest.param("11111111-2222-3333-4444-555555555555", id="unknown"),
    ],
)
async def test_a_token_without_the_right_to_register_is_refused(
    token: str,
    start_agent: Callable[..., ConsulAgentProcess],
    connect: Callable[..., ConsulAgent],
    instance: Callable[..., Registration],
) -> None:
    agent, _ = guarded(start_agent)
    with pytest.raises(PermissionDenied, match="consul_token") as raised:
        await connect(agent, token=token).register(instance("intent", 1001))
    assert raised.value.reason == "CONSUL_TOKEN_REFUSED"


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        pytest.param("", "DISCOVERY_EMPTY", id="none-reads-nothing"),
        pytest.param(
            "11111111-2222-3333-4444-555555555555", "CONSUL_TOKEN_REFUSED", id="unknown-is-refused"
        ),
    ],
)
async def test_discovery_with_a_bad_token_goes_on_and_says_why(
    token: str,
    reason: str,
    start_agent: Callable[..., ConsulAgentProcess],
    publish: Callable[..., Awaitable[ConsulAgent]],
    discover: Callable[..., Awaitable[ConsulDiscovery]],
    instance: Callable[..., Registration],
) -> None:
    agent, good = guarded(start_agent)
    await publish(agent, instance("intent", 1001), token=good)
    discovery = await discover(agent, token=token, start_timeout_s=0.3)
    with pytest.raises(MeshError, match="consul_token") as raised:
        discovery.resolve("intent")
    assert raised.value.reason == reason


async def test_a_token_taken_away_leaves_the_last_answer_with_the_reason(
    start_agent: Callable[..., ConsulAgentProcess],
    publish: Callable[..., Awaitable[ConsulAgent]],
    discover: Callable[..., Awaitable[ConsulDiscovery]],
    instance: Callable[..., Registration],
    until: Callable[..., Awaitable[float]],
) -> None:
    agent, token = guarded(start_agent)
    await publish(agent, instance("intent", 1001), token=token)
    discovery = await discover(agent, token=token, wait_s=0.4)
    tokens = agent.call("GET", "/acl/tokens")
    of_mesh = [t for t in tokens if any(p["Name"] == "mesh" for p in t.get("Policies") or [])]
    agent.call("DELETE", f"/acl/token/{of_mesh[0]['AccessorID']}")
    await until(lambda: "consul_token" in discovery.resolve("intent").error)
    assert discovery.resolve("intent").instances[0].port == 1001


async def test_a_router_whose_token_is_refused_goes_on_and_logs_why_once(
    start_agent: Callable[..., ConsulAgentProcess],
    until: Callable[..., Awaitable[float]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    agent, _ = guarded(start_agent)
    connection = ConsulAgent(agent.address, token="11111111-2222-3333-4444-555555555555")
    router = RouterRegistration(connection, host="127.0.0.1", port=1001, sync_s=0.05)

    def failures() -> list[logging.LogRecord]:
        return [r for r in caplog.records if r.getMessage() == "discovery.register_failed"]

    await router.start()
    await until(failures)
    await asyncio.sleep(0.3)  # it has tried again by now
    await router.close()
    refused = failures()
    assert [record.__dict__["reason"] for record in refused] == ["CONSUL_TOKEN_REFUSED"]
    assert "consul_token" in refused[0].__dict__["error"]
