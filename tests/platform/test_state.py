"""The state folder: one supervisor, short paths for sockets, nothing left behind."""

from pathlib import Path

import pytest

from slmesh.mesh.errors import FailedPrecondition
from slmesh.platform.state import MeshState


@pytest.fixture
def state(tmp_path):
    found = MeshState(tmp_path / "state")
    yield found
    found.release()
    found.remove_short_dir()


def test_a_second_supervisor_is_told_who_the_first_one_is(state):
    state.acquire()
    state.write({"pid": 4711})
    with pytest.raises(FailedPrecondition, match=r"already up \(process 4711\).*SLMESH_STATE_DIR"):
        MeshState(state.state_dir).acquire()


def test_a_released_folder_can_be_had_again(state):
    state.acquire()
    state.release()
    other = MeshState(state.state_dir)
    other.acquire()
    assert other.is_held()
    other.release()


def test_looking_at_the_lock_does_not_take_it(state):
    assert not state.is_held()
    state.acquire()
    assert state.is_held()
    assert state.is_held()
    state.release()
    assert not state.is_held()


def test_a_half_written_state_is_read_as_none(state):
    state.run_dir.mkdir(parents=True)
    (state.run_dir / "mesh.json").write_text('{"pid": 47')
    assert state.read() == {}


def test_a_long_path_gets_a_short_folder_behind_a_link(tmp_path):
    state = MeshState(tmp_path / "a-folder-with-a-long-name" / "and-another-one")
    state.state_dir.mkdir(parents=True)
    short = state.make_short_dir()
    visible = state.state_dir / "ray"
    assert visible.is_symlink()
    assert visible.resolve() == short.resolve()
    assert len(str(short)) <= 30
    state.remove_short_dir()
    assert not short.exists()
    assert not visible.is_symlink()


def test_the_logs_of_ray_outlive_its_folder(state):
    state.state_dir.mkdir(parents=True)
    logs = state.make_short_dir() / "tmp" / "session_2026" / "logs"
    logs.mkdir(parents=True)
    (logs / "raylet.out").write_text("what happened")
    state.remove_short_dir()
    assert (state.logs_dir / "ray" / "raylet.out").read_text() == "what happened"


def test_a_link_to_somebody_elses_folder_is_not_followed(tmp_path, state):
    others = tmp_path / "precious"
    others.mkdir()
    state.state_dir.mkdir(parents=True)
    (state.state_dir / "ray").symlink_to(others)
    state.remove_short_dir()
    assert others.exists()


def test_clearing_keeps_the_lock_and_the_logs(state):
    state.acquire()
    state.write({"pid": 1})
    (state.logs_dir).mkdir()
    state.clear()
    assert sorted(path.name for path in Path(state.run_dir).iterdir()) == ["mesh.lock"]
    assert state.logs_dir.exists()
