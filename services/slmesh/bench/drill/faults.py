"""What is done to a replica, from outside of it: signals, and for the hog its own limit.

Each fault is done to one process and its successors, and says from when on its service may recover.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from slmesh.bench.drill.hog import start_hog
from slmesh.mesh.errors import Unavailable
from slmesh.mesh.replica_record import read_records
from slmesh.platform.processes import command_of, lives, session_members
from slmesh.platform.state import MeshState

__all__ = ["FAULTS", "Fault", "Victim"]

_LOOP_S = 8.0
_LOOP_CHECK_S = 0.2
_SLOW_S = 8.0
_STOPPED_S, _RUNNING_S = 0.08, 0.02
"""A process that runs for a fifth of the time."""
_HOG_S = 60.0


class Victim:
    """The replica of one service.

    Args:
        state_dir: The mesh's state folder.
        service: The service; it has one replica.
        services_dir: Where the drill's services lie.
    """

    def __init__(self, state_dir: Path, service: str, services_dir: Path) -> None:
        self.service = service
        self.folder = services_dir / service
        self._state_dir = state_dir

    def pid(self) -> int:
        """Return the process that serves.

        Raises:
            Unavailable: There is none.
        """
        for record in read_records(self._state_dir):
            if record.service == self.service:
                return record.pid
        raise Unavailable(f"the service '{self.service}' has no replica")

    def every_pid(self) -> list[int]:
        """Return its processes, those that are starting among them."""
        session = MeshState(self._state_dir).read()["children"]["ray"]["session"]
        title = f"ray::ServeReplica:{self.service}:"
        return [pid for pid in session_members(session) if command_of(pid).startswith(title)]


class Fault:
    """One way to fail. Its methods block, so they are for a thread.

    Attributes:
        name: How the command line and the report call it.
    """

    name: str

    def inject(self, victim: Victim) -> float:
        """Do it, and return the monotonic second from which on the service may recover."""
        raise NotImplementedError

    def lift(self) -> None:
        """Undo what would stay."""


class Kill(Fault):
    """The process is killed."""

    name = "kill"

    def inject(self, victim: Victim) -> float:
        """See :class:`Fault`."""
        os.kill(victim.pid(), signal.SIGKILL)
        return time.monotonic()


class Hang(Fault):
    """The process does nothing any more, and its connections stay open."""

    name = "hang"

    def __init__(self) -> None:
        self._pid = 0

    def inject(self, victim: Victim) -> float:
        """See :class:`Fault`."""
        self._pid = victim.pid()
        os.kill(self._pid, signal.SIGSTOP)
        return time.monotonic()

    def lift(self) -> None:
        """Let it run on: if it was replaced, it ends by itself."""
        _send(self._pid, signal.SIGCONT)


class CrashLoop(Fault):
    """Every replica is killed as soon as it is there, for 8 s."""

    name = "crash-loop"

    def inject(self, victim: Victim) -> float:
        """See :class:`Fault`."""
        end_s = time.monotonic() + _LOOP_S
        while time.monotonic() < end_s:
            for pid in victim.every_pid():
                _send(pid, signal.SIGKILL)
            time.sleep(_LOOP_CHECK_S)
        return time.monotonic()


class Hog(Fault):
    """The process allocates memory until it reaches its own limit."""

    name = "hog"

    def inject(self, victim: Victim) -> float:
        """See :class:`Fault`; recovery counts from the end of the process.

        Raises:
            Unavailable: The process outlives its limit.
        """
        pid = victim.pid()
        start_hog(victim.folder)
        end_s = time.monotonic() + _HOG_S
        while lives(pid):
            if time.monotonic() > end_s:
                _send(pid, signal.SIGKILL)
                raise Unavailable(
                    f"the service '{victim.service}' was not ended at its memory limit",
                    reason="MEMORY_LIMIT_NOT_ENFORCED",
                )
            time.sleep(0.02)
        return time.monotonic()


class SlowDown(Fault):
    """The process runs for a fifth of the time, for 8 s."""

    name = "slow-down"

    def inject(self, victim: Victim) -> float:
        """See :class:`Fault`."""
        pid, end_s = victim.pid(), time.monotonic() + _SLOW_S
        try:
            while time.monotonic() < end_s:
                _send(pid, signal.SIGSTOP)
                time.sleep(_STOPPED_S)
                _send(pid, signal.SIGCONT)
                time.sleep(_RUNNING_S)
        finally:
            _send(pid, signal.SIGCONT)
        return time.monotonic()


FAULTS: dict[str, type[Fault]] = {
    kind.name: kind for kind in (Kill, Hang, CrashLoop, Hog, SlowDown)
}
"""Every fault by its name."""


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
