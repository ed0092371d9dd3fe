"""Finds and ends the processes of a session: everything that one process started, however deep.

Ray's workers put themselves into process groups of their own and outlive a killed parent for a while,
but they stay in the session of the process that started Ray. Read from ``/proc``: where there is
none, nothing is found and Ray's own clean-up has to do.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "ProcessMemory",
    "command_of",
    "end_processes",
    "lives",
    "memory_of",
    "session_members",
    "start_ticks",
]

_PROC = Path("/proc")


@dataclass(frozen=True)
class ProcessMemory:
    """Memory of one process, in MiB.

    Attributes:
        rss_mib: Resident: shared pages count in every process that has them.
        pss_mib: Proportional: a shared page counts once over all processes. A sum needs this one.
    """

    rss_mib: float
    pss_mib: float


def session_members(session: int) -> list[int]:
    """Return the processes of a session that live, zombies left out."""
    found = []
    for entry in _PROC.glob("[0-9]*"):
        fields = _stat(int(entry.name))
        if fields and fields[0] not in ("Z", "X") and int(fields[3]) == session:
            found.append(int(entry.name))
    return sorted(found)


def lives(pid: int) -> bool:
    """Return whether a process exists and is no zombie."""
    fields = _stat(pid)
    return bool(fields) and fields[0] not in ("Z", "X")


def start_ticks(pid: int) -> int:
    """Return when a process started, in clock ticks since boot; 0 when it is gone.

    A process id and this together name one process for good: ids are used again.
    """
    fields = _stat(pid)
    return int(fields[19]) if fields else 0


def command_of(pid: int) -> str:
    """Return the command line of a process, or what it calls itself; empty when it is gone."""
    with contextlib.suppress(OSError):
        raw = (_PROC / str(pid) / "cmdline").read_bytes()
        return raw.replace(b"\0", b" ").decode(errors="replace").strip()
    return ""


def memory_of(pid: int) -> ProcessMemory | None:
    """Return the memory of a process, or None when it is gone or may not be read."""
    with contextlib.suppress(OSError):
        text = (_PROC / str(pid) / "smaps_rollup").read_text(encoding="ascii")
        kib = {
            line.split(":")[0]: float(line.split()[1])
            for line in text.splitlines()[1:]
            if line.endswith("kB")
        }
        return ProcessMemory(kib["Rss"] / 1024, kib["Pss"] / 1024)
    return None


def end_processes(session: int, *, grace_s: float) -> list[int]:
    """End every process of a session, kindly first.

    Args:
        session: The session's id: the process id of the one that began it.
        grace_s: Seconds between SIGTERM and SIGKILL.

    Returns:
        The processes that had to be ended.
    """
    found = session_members(session)
    _send(found, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while session_members(session) and time.monotonic() < deadline:
        time.sleep(0.05)
    deadline = time.monotonic() + 2.0
    while (left := session_members(session)) and time.monotonic() < deadline:
        # in rounds: a process may start another one while it is being ended
        _send(left, signal.SIGKILL)
        time.sleep(0.05)
    return found


def _send(pids: Iterable[int], number: signal.Signals) -> None:
    # itself last: who ends its own session must live until the others are told
    for pid in sorted(pids, key=lambda pid: pid == os.getpid()):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _stat(pid: int) -> list[str]:
    """Return the fields of a process from its state on: state, parent, group, session."""
    with contextlib.suppress(OSError):
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        return text.rpartition(")")[2].split()
    return []
