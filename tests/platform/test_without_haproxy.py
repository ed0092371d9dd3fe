"""A mesh where Ray brings no HAProxy: Serve's proxy serves, with the same errors, and it says so."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.running_mesh import settings_on_free_ports
from tests.services import write_service

from slmesh.api.classify.v1 import classify_pb2
from slmesh.mesh.client import Mesh
from slmesh.mesh.contract import rpcs
from slmesh.mesh.errors import Internal, InvalidArgument, MeshError, NotFound, Unimplemented
from slmesh.mesh.settings import Settings
from slmesh.platform.processes import command_of, session_members
from slmesh.platform.serve_flags import FALLBACK_NOTICE
from slmesh.platform.supervisor import Progress, Supervisor


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Supervisor, list[Progress]]]:
    """A mesh of one service that does not use HAProxy."""
    folder = tmp_path_factory.mktemp("plain")
    write_service(folder / "services", "steady")
    settings = settings_on_free_ports(folder / "state", folder / "services")
    steps: list[Progress] = []
    with Supervisor(
        settings,
        services=["steady"],
        with_router=False,
        with_haproxy=False,
        on_progress=steps.append,
    ) as mesh:
        yield mesh, steps


def address(settings: Settings) -> str:
    return f"127.0.0.1:{settings.ingress_port}"


def test_it_says_what_the_lack_costs(plain):
    _, steps = plain
    assert [step.message for step in steps if step.state == "notice"] == [FALLBACK_NOTICE]


def test_no_haproxy_runs(plain):
    mesh, _ = plain
    (session,) = [child["session"] for child in mesh.state.read()["children"].values()]
    commands = [command_of(pid) for pid in session_members(session)]
    assert not [line for line in commands if "/haproxy" in line]


async def test_a_service_answers_through_serves_own_proxy(plain):
    mesh, _ = plain
    async with Mesh.connect(address(mesh.settings), settings=mesh.settings) as client:
        response = await client.classify("steady", classify_pb2.ClassifyRequest(text="hello"))
    assert response.labels.labels[0].name == "hello"


@pytest.mark.parametrize(
    ("method", "service", "text", "kind", "reason"),
    [
        pytest.param("Classify", "steady", "", InvalidArgument, "FIELD_REQUIRED", id="missing"),
        pytest.param("Classify", "steady", "crash", Internal, "INTERNAL", id="exception"),
        pytest.param("Classify", "nobody", "x", NotFound, "SERVICE_NOT_FOUND", id="unknown"),
        pytest.param("Score", "steady", "x", Unimplemented, "METHOD_NOT_SERVED", id="not-its-rpc"),
    ],
)
async def test_errors_are_those_of_a_mesh_with_haproxy(plain, method, service, text, kind, reason):
    mesh, _ = plain
    async with Mesh.connect(address(mesh.settings), settings=mesh.settings) as client:
        with pytest.raises(MeshError) as caught:
            await client.call(method, service, rpcs()[method].request_type(text=text))
    assert (type(caught.value), caught.value.reason) == (kind, reason)
