"""The life of a mesh in a process of its own: it outlives Ray, stops clean, is cleared when killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.running_mesh import settings_on_free_ports
from tests.services import write_service

from slmesh.mesh.settings import Settings, child_environment
from slmesh.platform.lifecycle import down
from slmesh.platform.mesh_status import status
from slmesh.platform.ports import is_free
from slmesh.platform.processes import command_of, session_members
from slmesh.platform.state import MeshState

UP = """
import json
from slmesh.mesh.settings import load_settings
from slmesh.platform.lifecycle import up
told = lambda mesh: print(json.dumps(mesh.timings_s), flush=True)
up(load_settings(), services=["steady"], on_settled=told)
"""
LONGEST_STOP_S = 60.0


@dataclass
class MeshProcess:
    """A mesh that runs in a process of its own."""

    settings: Settings
    process: subprocess.Popen[str]

    @property
    def state(self) -> MeshState:
        """Its state folder."""
        return MeshState(self.settings.state_dir)

    def sessions(self) -> dict[str, int]:
        """Return the sessions of its children."""
        return {name: c["session"] for name, c in self.state.read()["children"].items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("lifecycle")
    write_service(made / "services", "steady")
    return made


@pytest.fixture
def starting(folder: Path, request: pytest.FixtureRequest) -> Iterator[MeshProcess]:
    """A mesh of one service that has just been started."""
    settings = settings_on_free_ports(folder / request.node.name[:20], folder / "services")
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", UP],
            env=child_environment(settings),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=folder,
        )
    try:
        yield MeshProcess(settings, process)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        down(settings)


@pytest.fixture
def running(starting: MeshProcess) -> MeshProcess:
    """A mesh of one service that is up."""
    assert json.loads(starting.process.stdout.readline())["steady"] > 0
    return starting


def eventually(condition: Callable[[], bool], timeout_s: float) -> float:
    """Wait until a condition holds, and return the seconds it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < timeout_s, "it never came true"
        time.sleep(0.1)
    return time.monotonic() - started


def assert_nothing_is_left(mesh: MeshProcess, sessions: dict[str, int], short_dir: Path) -> None:
    """Check processes, sockets, ports and files."""
    for session in sessions.values():
        assert [command_of(pid) for pid in session_members(session)] == []
    assert not short_dir.exists()
    assert not (mesh.settings.state_dir / "ray").is_symlink()
    assert is_free("127.0.0.1", mesh.settings.ingress_port)
    assert is_free("127.0.0.1", mesh.settings.router_port)
    assert sorted(path.name for path in mesh.state.run_dir.rglob("*")) == ["mesh.lock"]


def test_a_mesh_outlives_its_ray_and_stops_clean_at_ctrl_c(running):
    sessions = running.sessions()
    (raylet,) = [p for p in session_members(sessions["ray"]) if is_raylet(p)]
    os.kill(raylet, signal.SIGKILL)
    eventually(lambda: state_of(running, "steady") != "healthy", 120)
    assert status(running.settings).router.state == "healthy"
    eventually(lambda: state_of(running, "steady") == "healthy", 600)
    assert running.sessions()["router"] == sessions["router"], "the router was not to be touched"
    assert running.sessions()["ray"] != sessions["ray"]

    sessions = running.sessions()
    short_dir = (running.settings.state_dir / "ray").resolve()
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(LONGEST_STOP_S) == 0
    assert_nothing_is_left(running, sessions, short_dir)


def test_a_killed_mesh_ends_with_all_it_started_and_is_cleared(starting):
    def ray_runs() -> bool:
        children = starting.state.read().get("children", {})
        return "ray" in children and any(
            map(is_raylet, session_members(starting.sessions()["ray"]))
        )

    eventually(ray_runs, 120)
    sessions = starting.sessions()
    short_dir = (starting.settings.state_dir / "ray").resolve()
    starting.process.kill()
    starting.process.wait()
    eventually(lambda: not any(session_members(s) for s in sessions.values()), 60)
    told = status(starting.settings)
    assert not told.up
    assert "slmesh down" in told.message
    down(starting.settings)
    assert_nothing_is_left(starting, sessions, short_dir)


def is_raylet(pid: int) -> bool:
    """Return whether a process is Ray's node manager."""
    return command_of(pid).split(" ")[0].endswith("/raylet")


def state_of(mesh: MeshProcess, service: str) -> str:
    """Return the state of a service, or nothing while the mesh cannot tell."""
    with contextlib.suppress(StopIteration):
        return next(s.state for s in status(mesh.settings).services if s.name == service)
    return ""


def test_ending_a_mesh_that_is_not_up_does_nothing(tmp_path):
    ended = down(Settings(state_dir=tmp_path))
    assert (ended.was_up, ended.killed) == (False, ())


def test_the_status_of_a_mesh_that_is_not_up_says_how_to_start_it(tmp_path):
    told = status(Settings(state_dir=tmp_path, service_path=()))
    assert not told.up
    assert "slmesh up" in told.message
    assert {service.state for service in told.services} <= {"down"}
