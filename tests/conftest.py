"""What every test may ask for: the one real mesh of the session, a PostgreSQL, a Consul agent.

Tests may run in several processes (``pytest -n auto``). A file stays in one process, and all files of
tests that start Ray, marked ``ray``, stay in the same one: there is one mesh of the session, and no two
meshes start at a time. ``make test`` runs these alone, before the others.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from tests.consul_agent import ConsulAgentProcess, ConsulMissingError, find_consul
from tests.postgres_server import PostgresMissingError, PostgresServer, run_postgres
from tests.running_mesh import ROOT, RunningMesh, run_mesh

_WITH_RAY = ("tests/e2e/", "tests/platform/", "tests/test_readme.py")
"""Where tests start Ray or use the session's mesh."""
_LONG = ("tests/training/", "tests/router/")
"""Where files take a minute: they begin early, so that no process is left alone with one."""

_MOST_PROCESSES = 4
"""Each takes up to a gibibyte for the models and libraries its tests load."""

# a busy machine may take a second for what takes a millisecond
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return how many processes ``-n auto`` means."""
    return min(len(os.sched_getaffinity(0)), _MOST_PROCESSES)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Return what hands files to processes, in the order they were collected.

    The group that a test belongs to cannot be told by a mark: pytest 9.2 has no place any more where
    xdist 3.8 writes it, and ``--dist loadgroup`` separates what belongs together.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "ray" if nodeid.startswith(_WITH_RAY) else nodeid.split("::")[0]

    config.option.loadscopereorder = False
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts Ray and begin with it, since it takes longest, and then with long files."""
    for item in items:
        if _is_with_ray(item):
            item.add_marker("ray")
        if "running_mesh" in getattr(item, "fixturenames", ()) and not _is_with_ray(item):
            raise pytest.UsageError(
                f"{item.nodeid} uses the mesh; it must be in one of {_WITH_RAY}"
            )
    items.sort(key=lambda item: (not _is_with_ray(item), not item.nodeid.startswith(_LONG)))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """Look for no garbage meanwhile: what is imported stays, and to look at all of it takes long."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def _is_with_ray(item: pytest.Item) -> bool:
    return item.nodeid.startswith(_WITH_RAY)


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
