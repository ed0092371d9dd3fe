"""What a replica writes into the state folder: that it runs, and why it does not.

The files are how ``slmesh status`` and Prometheus find replicas without asking Ray. A replica that is
killed cannot remove its file, so a reader checks that the process lives.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from slmesh.mesh.errors import Internal, MeshError
from slmesh.mesh.manifest import Manifest

__all__ = [
    "ReplicaRecord",
    "failures",
    "forget_failure",
    "has_run_before",
    "read_records",
    "record_failure",
    "remember_run",
]

_log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class ReplicaRecord:
    """One replica, as its run file tells.

    Attributes:
        state_dir: The mesh's state folder; not written.
        service: The service's name.
        contract: The service's contract.
        pid: The replica's process.
        started: When the process began to load, in seconds since 1970.
        made_of: A digest of the manifest: what the service is made of.
        metrics_address: ``host:port`` of the metrics.
        model: The bundle's name; empty without one.
        version: The bundle's version.
        digest: The bundle's digest.
    """

    state_dir: Path
    service: str
    contract: str
    pid: int
    started: float = field(default_factory=time.time)
    made_of: str = ""
    metrics_address: str = ""
    model: str = ""
    version: str = ""
    digest: str = ""

    @classmethod
    def of_this_process(cls, state_dir: Path, manifest: Manifest) -> ReplicaRecord:
        """Return the record of a replica in this process."""
        made_of = hashlib.sha256(repr(manifest).encode()).hexdigest()[:12]
        return cls(
            state_dir=state_dir,
            service=manifest.name,
            contract=manifest.contract,
            pid=os.getpid(),
            made_of=made_of,
        )

    @property
    def log_path(self) -> Path:
        """The replica's log."""
        return self.state_dir / "logs" / f"{self.service}-{self.pid}.log"

    @property
    def path(self) -> Path:
        """The run file."""
        return _folder(self.state_dir, "replicas") / f"{self.service}-{self.pid}.json"

    def write(self) -> None:
        """Write the run file."""
        values = asdict(self)
        del values["state_dir"]
        _write(self.path, values)

    def remove(self) -> None:
        """Remove the run file."""
        self.path.unlink(missing_ok=True)


def read_records(state_dir: Path, *, remove_dead: bool = False) -> list[ReplicaRecord]:
    """Return the records of replicas whose process lives.

    Args:
        state_dir: The state folder.
        remove_dead: Whether the files of dead replicas are removed.
    """
    found = []
    for path in sorted(_folder(state_dir, "replicas").glob("*.json")):
        values = _read(path)
        if values is None:
            continue
        record = ReplicaRecord(state_dir=state_dir, **values)
        if _lives(record.pid):
            found.append(record)
        elif remove_dead:
            path.unlink(missing_ok=True)
    return found


def record_failure(
    record: ReplicaRecord, error: Exception, event: str = "load failed"
) -> MeshError:
    """Write down why a service does not serve, and return it as what callers are told."""
    problem = error if isinstance(error, MeshError) else Internal.with_id()
    _log.error(
        event,
        exc_info=error,
        extra={
            "service": record.service,
            "reason": problem.reason,
            "error": problem.message,
            "error_id": problem.metadata.get("errorId", ""),
        },
    )
    shown = problem.message
    if problem is not error:
        shown = f"{type(error).__name__}: {error} ({problem.message})"
    path = _failure_path(record)
    before = _read(path) or {}
    _write(
        path,
        {
            "service": record.service,
            "reason": problem.reason,
            "message": shown,
            "time": time.time(),
            "attempts": before.get("attempts", 0) + 1,
        },
    )
    return problem


def forget_failure(record: ReplicaRecord) -> None:
    """Remove what :func:`record_failure` wrote."""
    _failure_path(record).unlink(missing_ok=True)


def failures(state_dir: Path) -> dict[str, dict[str, Any]]:
    """Return the failures of services that have not loaded since, by service."""
    every = (_read(path) for path in _folder(state_dir, "failures").glob("*.json"))
    return {str(values["service"]): values for values in every if values}


def remember_run(record: ReplicaRecord) -> None:
    """Note that this service, as it is made, has run."""
    _write(_run_path(record), {"made_of": record.made_of})


def has_run_before(record: ReplicaRecord) -> bool:
    """Return whether this service, as it is made, has run in the life of this state folder."""
    return (_read(_run_path(record)) or {}).get("made_of") == record.made_of


def _failure_path(record: ReplicaRecord) -> Path:
    return _folder(record.state_dir, "failures") / f"{record.service}.json"


def _run_path(record: ReplicaRecord) -> Path:
    return _folder(record.state_dir, "loaded") / f"{record.service}.json"


def _folder(state_dir: Path, name: str) -> Path:
    return state_dir / "run" / name


def _write(path: Path, values: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(f".{os.getpid()}.new")
    new.write_text(json.dumps(values), encoding="utf-8")
    new.replace(path)  # a reader sees the old file or the new one, never half


def _read(path: Path) -> dict[str, Any] | None:
    with contextlib.suppress(OSError, ValueError):
        values = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(values, dict):
            return values
    return None


def _lives(pid: int) -> bool:
    # a zombie has ended too, though its id is still taken
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except OSError:
        if Path("/proc/self").exists():
            return False
        try:
            os.kill(pid, 0)
        except OSError:
            return False
        return True
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")
