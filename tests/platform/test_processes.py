"""Finding and ending what a process has started."""

import os
import subprocess
import sys
import time

import pytest

from slmesh.platform.processes import (
    command_of,
    end_processes,
    lives,
    memory_of,
    session_members,
    start_ticks,
)

STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setpgid(0, 0)
os.write(1, b"ready\\n")
time.sleep(60)
"""


@pytest.fixture
def family():
    """A process and its child, in groups of their own, that do not mind SIGTERM."""
    head = subprocess.Popen(
        [sys.executable, "-c", STUBBORN],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert [head.stdout.readline() for _ in range(2)] == [b"ready\n"] * 2
    yield head
    end_processes(head.pid, grace_s=0)
    head.wait()
    head.stdout.close()


def test_a_session_holds_every_descendant(family):
    assert len(session_members(family.pid)) == 2


def test_a_session_is_ended_to_the_last_process(family):
    ended = end_processes(family.pid, grace_s=0.2)
    assert len(ended) == 2
    assert session_members(family.pid) == []


def test_a_session_is_ended_when_its_head_is_gone(family):
    family.kill()
    family.wait()
    assert len(session_members(family.pid)) == 1
    assert len(end_processes(family.pid, grace_s=0.1)) == 1


def gone(pid: int) -> bool:
    """Wait until a process lives no more: a signal takes effect a moment after it was sent."""
    deadline = time.monotonic() + 60
    while lives(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not lives(pid)


def test_a_zombie_does_not_live(family):
    end_processes(family.pid, grace_s=0)
    assert gone(family.pid)


def test_a_process_tells_its_command_and_memory(family):
    assert command_of(family.pid).startswith(f"{sys.executable} -c ")
    memory = memory_of(os.getpid())
    assert 0 < memory.pss_mib <= memory.rss_mib


def test_a_process_that_is_gone_is_not_an_error(family):
    end_processes(family.pid, grace_s=0)
    family.wait()
    assert (command_of(family.pid), memory_of(family.pid), start_ticks(family.pid)) == ("", None, 0)


def test_a_tethered_module_ends_with_its_parent(tmp_path):
    mark = tmp_path / "pid"
    child = f"import os, time; open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    (tmp_path / "child_module.py").write_text(child)
    parent = (
        "import os, subprocess, sys, time\n"
        "subprocess.Popen([sys.executable, '-m', 'slmesh.platform.tether',"
        " str(os.getpid()), 'child_module'])\n"
        "time.sleep(60)"
    )
    environment = {"PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    process = subprocess.Popen([sys.executable, "-c", parent], env=environment)
    deadline = time.monotonic() + 60
    while not (mark.exists() and mark.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    pid = int(mark.read_text())
    process.kill()
    process.wait()
    assert gone(pid)
