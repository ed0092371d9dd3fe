"""Real Consul agents and real gRPC health servers for the tests of discovery."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tests.consul_agent import ConsulAgentProcess

from slmesh.discovery.agent import ConsulAgent, Registration, TtlCheck
from slmesh.discovery.consul import ConsulDiscovery

Until = Callable[..., Awaitable[float]]


class StartAgent(Protocol):
    def __call__(
        self, *, durable: bool = False, settings: dict[str, Any] | None = None
    ) -> ConsulAgentProcess: ...


@pytest.fixture
def start_agent(consul_program: Path, tmp_path: Path) -> Iterator[StartAgent]:
    started: list[ConsulAgentProcess] = []

    def start(
        *, durable: bool = False, settings: dict[str, Any] | None = None
    ) -> ConsulAgentProcess:
        folder = tmp_path / f"agent{len(started)}"
        folder.mkdir()
        process = ConsulAgentProcess(consul_program, folder, durable=durable, settings=settings)
        started.append(process)
        process.start()
        return process

    yield start
    for process in started:
        process.kill()


@pytest.fixture
def agent(start_agent: StartAgent) -> ConsulAgentProcess:
    """An agent that keeps its state in memory."""
    return start_agent()


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., ConsulAgent]]:
    """Connections to agents, closed after the test."""
    opened: list[ConsulAgent] = []

    def open_connection(process: ConsulAgentProcess, **options: Any) -> ConsulAgent:
        opened.append(ConsulAgent(process.address, **options))
        return opened[-1]

    yield open_connection
    for item in opened:
        await item.close()


@pytest.fixture
async def discover(
    connect: Callable[..., ConsulAgent],
) -> AsyncIterator[Callable[..., Awaitable[ConsulDiscovery]]]:
    """Started discoveries in zone a of region eu, closed after the test."""
    started: list[ConsulDiscovery] = []

    async def start(
        process: ConsulAgentProcess, *, token: str = "", timeout_s: float = 2.0, **options: Any
    ) -> ConsulDiscovery:
        connection = connect(process, token=token, timeout_s=timeout_s)
        started.append(ConsulDiscovery(connection, zone="a", region="eu", **options))
        await started[-1].start()
        return started[-1]

    yield start
    for item in started:
        await item.close()


@pytest.fixture
def until() -> Until:
    """Waits until a condition holds, and returns the seconds that took."""

    async def wait(condition: Callable[[], Any], *, timeout_s: float = 60.0) -> float:
        started_at = time.monotonic()
        while not condition():
            waited_s = time.monotonic() - started_at
            assert waited_s < timeout_s, f"not within {timeout_s} s"
            await asyncio.sleep(0.02)
        return time.monotonic() - started_at

    return wait


@pytest.fixture
def publish(
    connect: Callable[..., ConsulAgent], until: Until
) -> Callable[..., Awaitable[ConsulAgent]]:
    """Registers instances and waits until the catalogue has them, which takes some milliseconds."""

    async def register(
        process: ConsulAgentProcess, *items: Registration, token: str = ""
    ) -> ConsulAgent:
        connection = connect(process, token=token)
        for item in items:
            await connection.register(item)
        wanted = {item.id for item in items}

        def listed() -> set[str]:
            services = {item.service for item in items}
            rows = [r for s in services for r in process.call("GET", f"/health/service/slmesh-{s}")]
            return {row["Service"]["ID"] for row in rows}

        await until(lambda: wanted <= listed())
        return connection

    return register


def registration(
    service: str, port: int, *, zone: str = "a", region: str = "eu", passing: bool = True
) -> Registration:
    """An instance with a check that lasts as long as the test."""
    return Registration(
        id=f"{service}.{port}",
        service=service,
        host="127.0.0.1",
        port=port,
        metadata={"zone": zone, "region": region, "owner": "test"},
        check=TtlCheck(ttl_s=60, passing=passing),
    )


@pytest.fixture
def instance() -> Callable[..., Registration]:
    return registration


class HealthServer:
    """A gRPC server that has nothing but its health, on a port of its own."""

    def __init__(self) -> None:
        self._server = grpc.aio.server()
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self.port = self._server.add_insecure_port("127.0.0.1:0")

    async def start(self) -> None:
        await self._server.start()
        await self.say(serving=True)

    async def say(self, *, serving: bool) -> None:
        status = health_pb2.HealthCheckResponse
        await self._health.set("", status.SERVING if serving else status.NOT_SERVING)

    async def stop(self) -> None:
        await self._server.stop(None)


@pytest.fixture
async def health_server() -> AsyncIterator[HealthServer]:
    server = HealthServer()
    await server.start()
    yield server
    await server.stop()
