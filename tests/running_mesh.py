"""One real mesh for the whole test session: Ray, Serve, HAProxy, the router, and every service.

Beside the shipped services it runs those of ``tests/mesh_services.py``, which do as they are told.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.mesh_services import write_services
from tests.ports import free_ports
from tests.trace_collector import TraceCollector

from slmesh.mesh.replica_record import read_records
from slmesh.mesh.settings import Settings
from slmesh.platform.supervisor import Progress, Supervisor
from slmesh.router.flow_book import flow_files

ROOT = Path(__file__).resolve().parents[1]


def write_patient_flows(folder: Path) -> None:
    """Write the shipped flows, with ten times the time: the machine runs other tests as well."""
    folder.mkdir()
    for name, file in flow_files(Settings(flow_path=())).items():
        text = re.sub(r"(_ms: \d+)", r"\g<1>0", file.read_text(encoding="utf-8"))
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")


def settings_on_free_ports(state_dir: Path, services: Path) -> Settings:
    """Return settings of a mesh that gets in nobody's way and uses the compiled models there are."""
    router_port, ingress_port = free_ports(2)
    return Settings(
        state_dir=state_dir,
        cache_dir=ROOT / ".slmesh" / "cache",
        service_path=(services,),
        router_port=router_port,
        ingress_port=ingress_port,
        router_address=f"127.0.0.1:{router_port}",
    )


@dataclass
class RunningMesh:
    """A mesh that runs.

    Attributes:
        settings: Its settings.
        supervisor: What keeps it.
        collector: Where its spans arrive.
        steps: Every step it told, in order.
        marks: Where the writer leaves a mark for each closed stream.
    """

    settings: Settings
    supervisor: Supervisor
    collector: TraceCollector
    marks: Path
    steps: list[Progress] = field(default_factory=list)

    @property
    def ingress(self) -> str:
        """Where services answer directly."""
        return f"127.0.0.1:{self.settings.ingress_port}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a process that uses this mesh."""
        return self.settings.to_environment()

    def pid(self, service: str) -> int:
        """Return the process of a service with one replica; 0 when there is none."""
        records = read_records(self.settings.state_dir)
        return next((record.pid for record in records if record.service == service), 0)

    def kill(self, service: str) -> int:
        """Kill a service's replica without a word, and return its process id."""
        pid = self.pid(service)
        os.kill(pid, signal.SIGKILL)
        return pid

    async def until_replaced(self, service: str, pid: int, timeout_s: float) -> None:
        """Wait until another process serves."""
        deadline = time.monotonic() + timeout_s
        while self.pid(service) in (0, pid):
            assert time.monotonic() < deadline, f"{service} did not come back"
            await asyncio.sleep(0.1)


@contextmanager
def run_mesh(folder: Path) -> Iterator[RunningMesh]:
    """Run a mesh with all its state under a folder."""
    (marks := folder / "marks").mkdir()
    write_services(folder / "services", marks)
    write_patient_flows(folder / "flows")
    steps: list[Progress] = []
    with TraceCollector() as collector:
        settings = settings_on_free_ports(folder / "state", folder / "services").with_values(
            trace_exporter=collector.endpoint, flow_path=(folder / "flows",)
        )
        with Supervisor(settings, on_progress=steps.append) as supervisor:
            yield RunningMesh(settings, supervisor, collector, marks, steps)
