"""Starting a mesh that runs until a signal, and ending one from another process."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from slmesh.mesh.errors import FailedPrecondition
from slmesh.mesh.settings import Settings
from slmesh.platform.processes import end_processes, lives, start_ticks
from slmesh.platform.state import MeshState
from slmesh.platform.supervisor import Progress, Supervisor

__all__ = ["Ended", "down", "up"]

_STOP_S = 15.0


def up(
    settings: Settings,
    *,
    services: Sequence[str] | None = None,
    on_progress: Callable[[Progress], None] = lambda step: None,
    on_settled: Callable[[Supervisor], None] = lambda mesh: None,
) -> None:
    """Run a mesh until SIGINT or SIGTERM; for the main thread of a process.

    Args:
        settings: The mesh's settings.
        services: The services to run; all that are found when None.
        on_progress: Is told every step.
        on_settled: Is called once, when every service is healthy or has failed.

    Raises:
        MeshError: The mesh cannot be started; nothing of it is left.
    """
    mesh = Supervisor(settings, services=services, on_progress=on_progress)
    before = {
        number: signal.signal(number, lambda *_: mesh.request_stop())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        with mesh:
            if not mesh.stopping:
                on_settled(mesh)
            mesh.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What :func:`down` did.

    Attributes:
        was_up: Whether a supervisor was there and ended the mesh itself.
        killed: Processes that a supervisor which is gone had left behind.
        took_s: Seconds it took.
    """

    was_up: bool
    killed: tuple[int, ...]
    took_s: float


def down(settings: Settings) -> Ended:
    """End the mesh of a state folder; other Ray clusters on the machine are left alone.

    Raises:
        FailedPrecondition: The supervisor is of another user.
    """
    started = time.monotonic()
    state = MeshState(settings.state_dir)
    was_up = state.is_held()
    known = state.read()
    if was_up:
        _ask_to_stop(state, int(known.get("pid", 0)))
    killed: list[int] = []
    for child in known.get("children", {}).values():
        if _is_same(child["session"], child["start_ticks"]):
            killed += end_processes(child["session"], grace_s=1.0)
    if not state.is_held():
        state.remove_short_dir()
        state.clear()
    took_s = round(time.monotonic() - started, 2)
    return Ended(was_up=was_up, killed=tuple(killed), took_s=took_s)


def _is_same(session: int, ticks: int) -> bool:
    """Return whether a session is still the one that was noted.

    Its id is not used again while it has a member, so only a head with another start tells it apart.
    """
    return session > 0 and start_ticks(session) in (0, ticks)


def _ask_to_stop(state: MeshState, pid: int) -> None:
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return
    except PermissionError:
        raise FailedPrecondition(
            f"the mesh belongs to another user (process {pid})", reason="NOT_YOUR_MESH"
        ) from None
    deadline = time.monotonic() + _STOP_S
    while state.is_held() and time.monotonic() < deadline:
        time.sleep(0.05)
    if state.is_held() and lives(pid):
        os.kill(pid, signal.SIGKILL)
        time.sleep(0.2)
