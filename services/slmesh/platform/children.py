"""The two processes a supervisor keeps: Ray's driver and the router.

A child tells its events on standard output, one JSON object a line, and logs to standard error. Each
is the head of a session, so that everything it started is found and ended with it.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from slmesh.mesh.manifest import Manifest
from slmesh.mesh.settings import Settings, child_environment
from slmesh.platform.cluster_options import ClusterOptions
from slmesh.platform.ports import ServePorts
from slmesh.platform.processes import end_processes
from slmesh.platform.serve_flags import cluster_environment
from slmesh.platform.state import MeshState

__all__ = ["Child", "ClusterChild", "RegistrarChild", "RouterChild"]

Events = queue.Queue[tuple["Child", dict[str, Any]]]


class Child:
    """A process that can be started again and again.

    Args:
        name: Its name in logs and progress.
        log_path: Where its standard error goes.
        events: Where its events go.
        grace_s: Seconds it has to end by itself after SIGTERM.
    """

    def __init__(self, name: str, log_path: Path, events: Events, grace_s: float) -> None:
        self.name = name
        self.starts = 0
        self._log_path = log_path
        self._events = events
        self._grace_s = grace_s
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._started = 0.0

    @property
    def pid(self) -> int:
        """The process, which is also the id of its session; 0 before the first start."""
        return self._process.pid if self._process else 0

    def command(self) -> Sequence[str]:
        """Return the arguments of Python: a module and the module's own."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """Return the environment to run it in."""
        raise NotImplementedError

    def start(self) -> None:
        """Start the process."""
        self._log_path.parent.mkdir(parents=True, exist_ok=True)
        self.starts += 1
        self._started = time.monotonic()
        with self._log_path.open("a", encoding="utf-8") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *self.command()],
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self._process = process
        self._reader = threading.Thread(target=self._read, args=(process,), daemon=True)
        self._reader.start()

    def is_running(self) -> bool:
        """Return whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def ran_s(self) -> float:
        """Return the seconds since the last start."""
        return time.monotonic() - self._started

    def clean_up(self) -> str:
        """End what a dead process left behind, and return why it may have ended."""
        if self._process is None:
            return ""
        end_processes(self._process.pid, grace_s=0.5)
        last = _last_line(self._log_path)
        why = f": {last}" if last else ""
        return f"it ended with status {self._process.returncode}{why}; see {self._log_path}"

    def stop(self) -> None:
        """End the process and all it started."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(self._grace_s)
            except subprocess.TimeoutExpired:
                process.kill()
        end_processes(process.pid, grace_s=0.5)
        process.wait()
        if self._reader is not None:
            self._reader.join(1.0)

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                event = _parsed(line)
                if event is not None:
                    self._events.put((self, {"event": "line", **event}))


class ClusterChild(Child):
    """Ray, Serve and the services.

    Args:
        settings: The mesh's settings.
        state: The mesh's state folder.
        manifests: The services to deploy.
        ports: What Serve opens.
        haproxy: Whether there is a HAProxy.
        events: Where events go.
    """

    def __init__(
        self,
        settings: Settings,
        state: MeshState,
        manifests: Sequence[Manifest],
        ports: ServePorts,
        *,
        haproxy: bool,
        events: Events,
    ) -> None:
        super().__init__("ray", state.logs_dir / "cluster.log", events, grace_s=8.0)
        self._settings = settings
        self._state = state
        self._ports = ports
        self._haproxy = haproxy
        self._short_dir = Path()
        self._services = [manifest.name for manifest in manifests]

    def start(self) -> None:
        """Start Ray in an empty folder."""
        self._short_dir = self._state.make_short_dir()
        super().start()

    def command(self) -> Sequence[str]:
        """See :class:`Child`."""
        options = ClusterOptions(
            services=self._services,
            short_dir=str(self._short_dir),
            http_port=self._ports.http,
            supervisor=os.getpid(),
        )
        return ["slmesh.platform.cluster", json.dumps(asdict(options))]

    def environment(self) -> dict[str, str]:
        """See :class:`Child`."""
        flags = cluster_environment(
            self._settings, self._ports, self._short_dir, haproxy=self._haproxy
        )
        return child_environment(self._settings, flags)


class RouterChild(Child):
    """The router.

    Args:
        settings: The mesh's settings.
        state: The mesh's state folder.
        events: Where events go.
    """

    def __init__(self, settings: Settings, state: MeshState, *, events: Events) -> None:
        super().__init__("router", state.logs_dir / "router.log", events, grace_s=5.0)
        self._settings = settings

    def command(self) -> Sequence[str]:
        """See :class:`Child`."""
        return ["slmesh.platform.tether", str(os.getpid()), "slmesh.router"]

    def environment(self) -> dict[str, str]:
        """See :class:`Child`."""
        return child_environment(self._settings)

    def address(self, event: dict[str, Any]) -> str:
        """Return where the router serves, from the line it prints when it does."""
        return str(event.get("address") or f"{self._settings.host}:{self._settings.router_port}")


class RegistrarChild(Child):
    """What tells Consul of the services.

    Args:
        settings: The mesh's settings.
        state: The mesh's state folder.
        services: The services to tell of.
        events: Where events go; it has none.
    """

    def __init__(
        self, settings: Settings, state: MeshState, services: Sequence[str], *, events: Events
    ) -> None:
        super().__init__("registrar", state.logs_dir / "registrar.log", events, grace_s=3.0)
        self._settings = settings
        self._services = services

    def command(self) -> Sequence[str]:
        """See :class:`Child`."""
        module = "slmesh.platform.registrar"
        return ["slmesh.platform.tether", str(os.getpid()), module, *self._services]

    def environment(self) -> dict[str, str]:
        """See :class:`Child`."""
        return child_environment(self._settings)


def _last_line(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None
