"""How long a mesh takes to be up, and a local one to give its first answer."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slmesh.bench.machine import machine
from slmesh.mesh.catalog import discover
from slmesh.mesh.errors import Unavailable
from slmesh.mesh.settings import Settings, child_environment
from slmesh.platform.ports import free_ports
from slmesh.platform.supervisor import Progress, Supervisor

__all__ = ["TARGETS", "run"]

TARGETS = {"up_s": 45.0, "local_first_answer_s": 3.0}
"""What the project promises, at most, with compiled models."""

_FIRST_ANSWER = """
import time; started = time.perf_counter()
import asyncio, json, sys
from slmesh import Mesh
from slmesh.api.classify.v1 import classify_pb2
async def first():
    async with Mesh.local() as mesh:
        request = classify_pb2.ClassifyRequest(text="I lost my card")
        return await mesh.classify(sys.argv[1], request, timeout_s=60)
answer = asyncio.run(first())
print(json.dumps({"seconds": time.perf_counter() - started, "torch": "torch" in sys.modules,
                  "tier": answer.provenance.tier}))
"""


def run(
    settings: Settings, *, rounds: int = 3, on_progress: Callable[[str], None] = lambda step: None
) -> dict[str, Any]:
    """Start a mesh of every service beside whatever runs, and a local mesh a few times.

    Args:
        settings: Where services, models and the cache are; ports and state are the benchmark's own.
        rounds: Local meshes to start, each in a new process.
        on_progress: Is told every step.
    """
    router_port, ingress_port = free_ports(2)
    with tempfile.TemporaryDirectory(prefix="slmesh-bench-") as folder:
        own = settings.with_values(
            state_dir=Path(folder),
            router_port=router_port,
            ingress_port=ingress_port,
            ingress_address="",
        )

        def tell(step: Progress) -> None:
            on_progress(f"{step.elapsed_s:6.1f} s {step.subject} {step.state}")

        with Supervisor(own, on_progress=tell) as mesh:
            timings = mesh.timings_s
            states = {name: state["state"] for name, state in mesh.services.items()}
    classifiers = [name for name, m in discover(settings).items() if m.contract == "classify"]
    local = [_first_answer(settings, classifiers[0]) for _ in range(rounds)] if classifiers else []
    return {
        "machine": machine(),
        "up_s": max(timings.values()),
        "timings_s": timings,
        "services": states,
        "local_service": classifiers[0] if classifiers else "",
        "local_first_answer_s": _median([answer["seconds"] for answer in local]),
        "local_imports_torch": any(answer["torch"] for answer in local),
        "local_tier": local[0]["tier"] if local else "",
        "targets": TARGETS,
    }


def _median(values: list[float]) -> float | None:
    return round(statistics.median(values), 2) if values else None


def _first_answer(settings: Settings, service: str) -> dict[str, Any]:
    """Return what one new process needed from its start of Python code to its first answer."""
    done = subprocess.run(
        [sys.executable, "-c", _FIRST_ANSWER, service],
        env=child_environment(settings),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Unavailable(f"the local mesh did not answer: {done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
