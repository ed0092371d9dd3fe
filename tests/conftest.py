"""What every test may ask for: the one real mesh of the session, a PostgreSQL, a Consul agent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.consul_agent import ConsulAgentProcess, ConsulMissingError, find_consul
from tests.postgres_server import PostgresMissingError, PostgresServer, run_postgres
from tests.running_mesh import ROOT, RunningMesh, run_mesh


@pytest.fixture(scope="session")
def running_mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    """Run the mesh; it is up when the first test that asks for it starts."""
    with run_mesh(tmp_path_factory.mktemp("mesh")) as mesh:
        yield mesh


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Run one PostgreSQL for the session, or skip with the reason there is none."""
    try:
        with run_postgres() as server:
            yield server
    except PostgresMissingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def consul_program() -> Path:
    """Return the Consul program, or skip with the reason there is none."""
    try:
        return find_consul(ROOT / ".slmesh" / "cache" / "consul")
    except ConsulMissingError as error:
        pytest.skip(str(error))


@pytest.fixture
def consul_agent(consul_program: Path, tmp_path: Path) -> Iterator[ConsulAgentProcess]:
    """Run an agent that keeps its state in memory."""
    folder = tmp_path / "consul"
    folder.mkdir()
    process = ConsulAgentProcess(consul_program, folder)
    process.start()
    yield process
    process.kill()
