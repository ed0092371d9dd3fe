"""What a running mesh takes in memory, process by process.

Resident size counts shared pages in every process; the proportional size counts them once, so only
that one may be added up.
"""

from __future__ import annotations

from typing import Any

from slmesh.bench.machine import machine
from slmesh.mesh.errors import Unavailable
from slmesh.mesh.replica_record import read_records
from slmesh.mesh.settings import Settings
from slmesh.platform.processes import command_of, memory_of, session_members
from slmesh.platform.state import MeshState

__all__ = ["TARGETS", "name_of", "run"]

TARGETS = {"mesh_pss_mib": 5 * 1024, "slm_replica_rss_mib": 300}
"""What the project promises, at most: the whole mesh, and a replica of a small model."""


def run(settings: Settings) -> dict[str, Any]:
    """Measure the mesh that is up in the settings' state folder.

    Raises:
        Unavailable: No mesh is up there.
    """
    state = MeshState(settings.state_dir)
    if not state.is_held():
        raise Unavailable("no mesh is up to measure: start one with `slmesh up`")
    known = state.read()
    replicas = {record.pid: record for record in read_records(settings.state_dir)}
    sessions = [child["session"] for child in known["children"].values()]
    pids = [known["pid"], *(pid for session in sessions for pid in session_members(session))]
    rows = []
    for pid in dict.fromkeys(pids):
        memory = memory_of(pid)
        if memory is None:
            continue
        record = replicas.get(pid)
        rows.append(
            {
                "pid": pid,
                "what": f"replica {record.service}" if record else name_of(pid),
                "contract": record.contract if record else "",
                "rss_mib": round(memory.rss_mib, 1),
                "pss_mib": round(memory.pss_mib, 1),
            }
        )
    rows.sort(key=lambda row: -row["pss_mib"])
    small = [row["rss_mib"] for row in rows if row["contract"] not in ("", "reason")]
    return {
        "machine": machine(),
        "mesh_pss_mib": round(sum(row["pss_mib"] for row in rows), 1),
        "mesh_rss_mib": round(sum(row["rss_mib"] for row in rows), 1),
        "slm_replica_rss_mib": max(small, default=0.0),
        "processes": rows,
        "targets": TARGETS,
    }


def name_of(pid: int) -> str:
    """Return what a process is, without the paths of this machine."""
    words = command_of(pid).split()
    if not words:
        return "unknown"
    if words[0].startswith("ray::"):
        return words[0]
    modules = [word for word in words if word.startswith("slmesh.")]
    if modules:
        return modules[-1]
    scripts = [word.rsplit("/", 1)[-1] for word in words if word.endswith(".py")]
    return scripts[0] if scripts else words[0].rsplit("/", 1)[-1]
