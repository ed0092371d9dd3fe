"""Starts a mesh, watches it and stops it: Ray in one process, the router in another.

The supervisor imports neither, so it outlives both: what ends by itself is started again, with what
it left behind cleared first. Its own death ends them (see ``tether``). Progress is told to a callback.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from slmesh.mesh.catalog import discover
from slmesh.mesh.errors import FailedPrecondition, NotFound, Unavailable
from slmesh.mesh.manifest import Manifest
from slmesh.mesh.naming import suggestion
from slmesh.mesh.replica_record import failures, read_records
from slmesh.mesh.settings import Settings
from slmesh.platform.children import Child, ClusterChild, RegistrarChild, RouterChild
from slmesh.platform.ports import pick_serve_ports, require_free
from slmesh.platform.processes import start_ticks
from slmesh.platform.serve_flags import FALLBACK_NOTICE, haproxy_binary
from slmesh.platform.state import MeshState
from slmesh.platform.targets import scrape_targets, write_targets
from slmesh.policy.mesh_key import mesh_key
from slmesh.policy.policy_book import load_policies

__all__ = ["Progress", "Supervisor"]

_log = logging.getLogger(__name__)

_TICK_S = 0.2
_TARGETS_PERIOD_S = 2.0
_FIRST_RESTART_S = 0.5
_STABLE_S = 60.0
"""A child that ran for so long is started again at once, however often it has ended before."""
_LONGEST_RESTART_S = 30.0
_MOST_FAILED_STARTS = 3


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One step of a mesh's life, for whoever shows it.

    Attributes:
        subject: What it is about: ``ray``, ``serve``, ``router``, or a service's name.
        state: ``starting``, ``healthy``, ``recovering``, ``failed``, ``stopped`` or ``notice``.
        message: Why, where there is a why.
        elapsed_s: Seconds since the start of the mesh.
    """

    subject: str
    state: str
    message: str = ""
    elapsed_s: float = 0.0


@dataclass(frozen=True)
class _Restart:
    """When a child is started again (None: it was), and the pause before that, in seconds."""

    at: float | None
    delay_s: float


class Supervisor:
    """One mesh on this machine.

    Use it as a context manager: it is up inside of it. A thread of its own watches the mesh; the
    callback is called from that thread.

    Args:
        settings: The mesh's settings.
        services: The names of the services to run; all that are found when None.
        on_progress: Is told every step.
        with_router: Whether the router runs; a mesh without one serves by its ingress alone.
        with_haproxy: Whether HAProxy is used where there is one; False measures its absence.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        services: Sequence[str] | None = None,
        on_progress: Callable[[Progress], None] = lambda step: None,
        with_router: bool = True,
        with_haproxy: bool = True,
    ) -> None:
        self.settings = settings
        self.state = MeshState(settings.state_dir)
        self._manifests = _chosen(settings, services)
        self._on_progress = on_progress
        self._with_router = with_router
        self._haproxy = with_haproxy and haproxy_binary() is not None
        self._events: queue.Queue[tuple[Child, dict[str, Any]]] = queue.Queue()
        self._children: list[Child] = []
        self._services: dict[str, dict[str, Any]] = {}
        self._router: dict[str, Any] = {}
        self._timings: dict[str, float] = {}
        self._restarts: dict[Child, _Restart] = {}
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._failure: Exception | None = None
        self._thread: threading.Thread | None = None
        self._started = 0.0

    def __enter__(self) -> Self:
        """Start the mesh and wait until every service is healthy or has failed."""
        self.start()
        try:
            self.wait_until_settled()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the mesh."""
        self.stop()

    @property
    def services(self) -> dict[str, dict[str, Any]]:
        """The state of every service, as last seen."""
        with self._changed:
            return {name: dict(state) for name, state in self._services.items()}

    @property
    def timings_s(self) -> dict[str, float]:
        """Seconds from the start until each part was first there."""
        with self._changed:
            return dict(self._timings)

    def start(self) -> None:
        """Start everything; returns at once.

        Raises:
            FailedPrecondition: The mesh is up already, a port is in use, or the policy is wrong.
        """
        settings = self.settings
        self._started = time.monotonic()
        self.state.acquire()
        try:
            self.state.clear()
            # both are for every process, so what is wrong with them is told before any starts
            load_policies(settings)
            mesh_key(settings)
            if self._with_router:
                require_free(settings.host, settings.router_port, "SLMESH_ROUTER_PORT")
            require_free(settings.host, settings.ingress_port, "SLMESH_INGRESS_PORT")
            ports = pick_serve_ports()
            if not self._haproxy:
                self._tell("serve", "notice", FALLBACK_NOTICE)
            self._services = {
                manifest.name: {"state": "starting", "running": 0, "message": ""}
                for manifest in self._manifests
            }
            cluster = ClusterChild(
                settings,
                self.state,
                self._manifests,
                ports,
                haproxy=self._haproxy,
                events=self._events,
            )
            self._children = [cluster]
            if self._with_router:
                self._children.append(RouterChild(settings, self.state, events=self._events))
            if settings.discovery == "consul":
                self._children.append(
                    RegistrarChild(settings, self.state, list(self._services), events=self._events)
                )
        except BaseException:
            self.state.release()
            raise
        self._thread = threading.Thread(target=self._run, name="slmesh-supervisor", daemon=True)
        self._thread.start()

    def wait_until_settled(self, timeout_s: float = 300.0) -> None:
        """Wait until the router serves and every service is healthy or has failed.

        Raises:
            Unavailable: It takes longer than the timeout.
            FailedPrecondition: A part cannot be started at all.
        """
        with self._changed:
            if not self._changed.wait_for(self._settled, timeout_s):
                waiting = [n for n, s in self._services.items() if s["state"] == "starting"]
                raise Unavailable(
                    f"the mesh is not up after {timeout_s:g} s; still waiting for"
                    f" {', '.join(waiting) or 'the router'}; see the logs in {self.state.logs_dir}"
                )
        if self._failure is not None:
            raise self._failure

    def wait(self) -> None:
        """Wait until :meth:`stop` is called, from a signal handler or another thread."""
        self._stopping.wait()

    def stop(self) -> None:
        """Stop everything and leave nothing behind; calling it again does nothing."""
        self._stopping.set()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def request_stop(self) -> None:
        """Ask the mesh to stop, from a signal handler: it only sets a flag."""
        self._stopping.set()

    @property
    def stopping(self) -> bool:
        """Whether the mesh was asked to stop."""
        return self._stopping.is_set()

    def _settled(self) -> bool:
        if self._failure is not None or self._stopping.is_set():
            return True
        router_is_there = not self._with_router or bool(self._router)
        states = {state["state"] for state in self._services.values()}
        return router_is_there and not states & {"starting", "recovering"}

    def _run(self) -> None:
        next_targets = 0.0
        try:
            for child in self._children:
                child.start()
            self._write()
            while not self._stopping.is_set():
                with contextlib.suppress(queue.Empty):
                    child, event = self._events.get(timeout=_TICK_S)
                    self._take(child, event)
                self._mind_children()
                if time.monotonic() >= next_targets:
                    next_targets = time.monotonic() + _TARGETS_PERIOD_S
                    self._write_targets()
        except Exception as error:
            _log.exception("supervisor failed")
            self._fail(error)
        finally:
            self._end()

    def _end(self) -> None:
        threads = [threading.Thread(target=child.stop) for child in self._children]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.state.remove_short_dir()
        self.state.clear()
        self.state.release()
        self._tell("mesh", "stopped")
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()

    def _take(self, child: Child, event: dict[str, Any]) -> None:
        kind = event.pop("event")
        if isinstance(child, RouterChild):
            with self._changed:
                self._router = event
                self._timings.setdefault("router", self._elapsed())
                self._tell_waiting()
            self._tell("router", "healthy", f"serves on {child.address(event)}")
        elif kind == "stage":
            with self._changed:
                self._timings.setdefault(event["stage"], self._elapsed())
                self._tell_waiting()
            self._tell(event["stage"], "healthy")
        elif kind == "service":
            self._take_service(event.pop("service"), event)

    def _take_service(self, name: str, state: dict[str, Any]) -> None:
        if state["state"] == "failed":
            why = failures(self.state.state_dir).get(name)
            if why:
                state["message"] = str(why["message"])
        before = self._services.get(name, {}).get("state")
        if before != state["state"] or state["state"] == "failed":
            self._tell(name, state["state"], state["message"])
        with self._changed:
            self._services[name] = state
            if state["state"] == "healthy":
                self._timings.setdefault(name, self._elapsed())
                if all(s["state"] == "healthy" for s in self._services.values()):
                    self._timings.setdefault("all_services", self._elapsed())
            self._tell_waiting()

    def _tell_waiting(self) -> None:
        self._write()  # first: whoever waits may look at the file
        self._changed.notify_all()

    def _mind_children(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if child.is_running():
                continue
            restart = self._restarts.get(child)
            if restart is None or restart.at is None:
                delay_s = _FIRST_RESTART_S
                if restart is not None and child.ran_s() < _STABLE_S:
                    delay_s = min(2 * restart.delay_s, _LONGEST_RESTART_S)
                self._restarts[child] = _Restart(now + delay_s, delay_s)
                self._lost(child)
            elif now >= restart.at:
                self._restarts[child] = _Restart(None, restart.delay_s)
                self._tell(child.name, "starting", "again")
                child.start()
                self._write()

    def _lost(self, child: Child) -> None:
        """Clear what a child left behind, and tell what is gone with it."""
        why = child.clean_up()
        self._tell(child.name, "recovering", why)
        if isinstance(child, RouterChild):
            never_served, self._router = not self._router, {}
        elif isinstance(child, ClusterChild):
            never_served = "serve" not in self._timings
            for name in list(self._services):
                self._take_service(name, {"state": "recovering", "running": 0, "message": why})
        else:
            return  # Consul hears nothing for a while; the mesh itself goes on
        if never_served and child.starts >= _MOST_FAILED_STARTS:
            self._fail(FailedPrecondition(f"{child.name} does not start: {why}"))

    def _fail(self, error: Exception) -> None:
        with self._changed:
            self._failure = error
            self._stopping.set()
            self._changed.notify_all()

    def _elapsed(self) -> float:
        return round(time.monotonic() - self._started, 2)

    def _tell(self, subject: str, state: str, message: str = "") -> None:
        _log.info("mesh", extra={"service": subject, "state": state, "reason": message})
        self._on_progress(
            Progress(subject=subject, state=state, message=message, elapsed_s=self._elapsed())
        )

    def _write(self) -> None:
        settings = self.settings
        self.state.write(
            {
                "pid": os.getpid(),
                "host": settings.host,
                "ingress": f"{settings.host}:{settings.ingress_port}",
                "router": self._router,
                "children": {
                    child.name: {"session": child.pid, "start_ticks": start_ticks(child.pid)}
                    for child in self._children
                },
                "services": self._services,
                "timings_s": self._timings,
            }
        )

    def _write_targets(self) -> None:
        records = read_records(self.state.state_dir, remove_dead=True)
        metrics = str(self._router.get("metrics_address", ""))
        write_targets(self.state.targets_path, scrape_targets(records, metrics))


def _chosen(settings: Settings, names: Sequence[str] | None) -> list[Manifest]:
    found = discover(settings)
    for name in names or ():
        if name not in found:
            raise NotFound(
                f"no service '{name}'{suggestion(name, found)}", reason="SERVICE_NOT_FOUND"
            )
    return [found[name] for name in (found if names is None else names)]
