"""In development a program starts again when its sources change, and only what should does."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.infra.loading import IMAGES, load_program

PROGRAM = IMAGES / "develop.py"
CHILD = "import os, sys, time\nopen(sys.argv[1], 'a').write(f'{os.getpid()}\\n')\ntime.sleep(60)"
PATIENCE_S = 60.0


@pytest.fixture
def starts(tmp_path: Path) -> Path:
    """A file to which the child writes a line at each start."""
    return tmp_path / "starts"


@pytest.fixture
def supervisor(starts: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A supervised child that sleeps."""
    command = [sys.executable, str(PROGRAM), "run", "--", sys.executable, "-c", CHILD, str(starts)]
    with subprocess.Popen(command) as process:
        wait_for_starts(starts, 1)
        yield process
        process.terminate()
        process.wait(PATIENCE_S)


def wait_for_starts(starts: Path, count: int) -> list[str]:
    """Wait until the child has started so many times."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        lines = starts.read_text().splitlines() if starts.exists() else []
        if len(lines) >= count:
            return lines
        time.sleep(0.01)
    raise AssertionError(f"the program did not start {count} times in {PATIENCE_S} s")


def test_the_program_starts_again_on_hangup(
    supervisor: subprocess.Popen[bytes], starts: Path
) -> None:
    supervisor.send_signal(signal.SIGHUP)
    first, second = wait_for_starts(starts, 2)
    assert first != second
    assert supervisor.poll() is None


def test_the_program_ends_with_its_supervisor(
    supervisor: subprocess.Popen[bytes], starts: Path
) -> None:
    supervisor.terminate()
    assert supervisor.wait(PATIENCE_S) == -signal.SIGTERM & 0xFF
    assert not Path(f"/proc/{starts.read_text().strip()}").exists()


def test_a_program_that_ends_by_itself_is_not_started_again() -> None:
    command = [
        sys.executable,
        str(PROGRAM),
        "run",
        "--",
        sys.executable,
        "-c",
        "raise SystemExit(3)",
    ]
    assert subprocess.run(command, timeout=PATIENCE_S, check=False).returncode == 3


def test_a_reload_reaches_supervisors_and_replicas_only() -> None:
    sent: list[tuple[int, int]] = []
    running = [
        (1, ["python", "/opt/slmesh/develop.py", "run", "--", "python", "-m", "slmesh.router"]),
        (2, ["python", "-m", "slmesh.router"]),
        (3, ["ray::ServeReplica:intent:intent", ""]),
        (4, ["ray::ServeController.listen_for_change", ""]),
        (5, ["python", "/opt/slmesh/develop.py", "reload"]),
        (6, [""]),
    ]
    told = load_program("develop").reload(iter(running), lambda *call: sent.append(call))
    assert sent == [(1, signal.SIGHUP), (3, signal.SIGKILL)]
    assert told == 2


def test_processes_are_read_with_their_arguments(tmp_path: Path) -> None:
    (tmp_path / "12").mkdir()
    (tmp_path / "12" / "cmdline").write_bytes(b"python\0-m\0slmesh.router\0")
    (tmp_path / "13").mkdir()  # has ended while the folder was read
    (tmp_path / "self").mkdir()
    found = list(load_program("develop").processes(tmp_path))
    assert found == [(12, ["python", "-m", "slmesh.router", ""])]


@pytest.mark.parametrize("arguments", [[], ["run"], ["run", "--"], ["stop"]])
def test_a_wrong_call_is_answered_with_the_right_one(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert load_program("develop").main(arguments) == 2
    assert "usage" in capsys.readouterr().err
