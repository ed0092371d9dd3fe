"""The file in which Prometheus finds every process of a local mesh.

Replicas come and go on ports of their own choice, so ``file_sd`` is what lets Prometheus follow.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from slmesh.mesh.replica_record import ReplicaRecord
from slmesh.platform.state import write_json

__all__ = ["scrape_targets", "write_targets"]


def scrape_targets(records: Iterable[ReplicaRecord], router_metrics: str) -> list[dict[str, Any]]:
    """Return the target groups of ``file_sd``.

    Args:
        records: The replicas that live.
        router_metrics: ``host:port`` of the router's metrics; empty while there is none.
    """
    groups: list[dict[str, Any]] = [
        {
            "targets": [record.metrics_address],
            "labels": {"slmesh_service": record.service, "slmesh_pid": str(record.pid)},
        }
        for record in records
        if record.metrics_address
    ]
    if router_metrics:
        groups.append({"targets": [router_metrics], "labels": {"slmesh_service": "router"}})
    return groups


def write_targets(path: Path, groups: list[dict[str, Any]]) -> None:
    """Replace the file; Prometheus reads it again by itself."""
    write_json(path, groups)
