"""A router over sockets in front of small real services, and the same without sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.ingress import Ingress
from tests.router.mesh_services import SERVICES, write_desk, write_services
from tests.router.router_process import RouterProcess
from tests.services import settings_for

from slmesh.api.route.v1 import route_pb2
from slmesh.discovery import StaticDiscovery
from slmesh.mesh.catalog import discover
from slmesh.mesh.client import Mesh
from slmesh.mesh.manifest import Manifest
from slmesh.mesh.metrics import Metrics
from slmesh.mesh.settings import Settings
from slmesh.mesh.tracing import Tracing
from slmesh.policy import PolicyGate, open_gate
from slmesh.router.server import RouterServer


@dataclass
class RoutedMesh:
    """What a test holds of a running mesh."""

    settings: Settings
    ingress: Ingress
    router: RouterServer
    client: Mesh
    metrics: Metrics
    gate: PolicyGate

    async def route(self, text: str, flow: str = "desk", **fields: Any) -> route_pb2.Decision:
        """Run a flow and return the decision."""
        timeout_s = fields.pop("timeout_s", 60.0)
        context = fields.pop("context", None)
        request = route_pb2.RouteRequest(flow=flow, text=text, **fields)
        response = await self.client.route(request, timeout_s=timeout_s, context=context)
        return response.decision


StartMesh = Callable[..., Awaitable[RoutedMesh]]


@pytest.fixture(scope="session")
def services_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the services of this package."""
    folder = tmp_path_factory.mktemp("services")
    write_services(folder)
    return folder


@pytest.fixture
def mesh_settings(services_folder: Path, tmp_path: Path) -> Settings:
    """Return settings that find the services and a folder of flows, with a free router port."""
    flows = tmp_path / "flows"
    write_desk(flows)
    budgets = tmp_path / "no-budgets.yaml"
    budgets.write_text('tenants: {"*": {}}')  # any tenant may ask the reasoner, without a limit
    return settings_for(
        services_folder,
        state_dir=tmp_path / "state",
        flow_path=(flows,),
        budgets=budgets,
        router_port=0,
    )


@pytest.fixture
def manifests(mesh_settings: Settings) -> dict[str, Manifest]:
    """Return the services, those of the package left out."""
    found = discover(mesh_settings)
    return {name: replace(found[name], timeout_ms=50_000) for name in SERVICES}


@pytest.fixture
async def start_mesh(
    mesh_settings: Settings, manifests: dict[str, Manifest]
) -> AsyncIterator[StartMesh]:
    """Return a function that starts a mesh; everything is stopped after the test."""
    async with AsyncExitStack() as opened:

        async def start(tracing: Tracing | None = None, **values: Any) -> RoutedMesh:
            on_failure = values.pop("on_failure", {})
            hurried = values.pop("hurried", ())
            settings = mesh_settings.with_values(**values)
            write_desk(settings.flow_path[0], hurried, **on_failure)
            gate = open_gate(settings, manifests)
            ingress = Ingress(settings, list(manifests.values()), tracing, gate)
            await ingress.start()
            opened.push_async_callback(ingress.close)
            metrics = Metrics()
            router = await RouterServer.start(
                settings,
                StaticDiscovery(default_address=ingress.address),
                metrics=metrics,
                services=manifests,
                tracing=tracing,
            )
            opened.push_async_callback(router.stop, 0.5)
            address = f"127.0.0.1:{router.port}"
            client = Mesh.connect(address, settings=settings, tracing=tracing)
            opened.push_async_callback(client.close)
            return RoutedMesh(settings, ingress, router, client, metrics, gate)

        yield start


@pytest.fixture
async def mesh(start_mesh: StartMesh) -> RoutedMesh:
    """Return a running mesh as it is by default."""
    return await start_mesh()


@pytest.fixture
async def start_router(mesh_settings, manifests):
    async with AsyncExitStack() as opened:
        ingress = Ingress(mesh_settings, list(manifests.values()))
        await ingress.start()
        opened.push_async_callback(ingress.close)

        async def start(prepare=None, **environment):
            router = RouterProcess(mesh_settings, ingress.port, **environment)
            await router.start(prepare)
            opened.push_async_callback(router.stop)
            router.ingress = ingress
            return router

        yield start
