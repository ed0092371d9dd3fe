"""Serves changed flows without a restart, and goes on with the old version of one that is wrong.

A request holds the flow it began with, so none is dropped or changes its rules half-way. Every version
that was served is kept in the state folder, so that it can be brought back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from slmesh.mesh.background import end, repeat
from slmesh.mesh.errors import MeshError, NotFound
from slmesh.mesh.file_stamp import Stamp, stamp_of
from slmesh.mesh.metrics import Metrics
from slmesh.mesh.naming import suggestion
from slmesh.mesh.settings import Settings
from slmesh.router.flow import Flow
from slmesh.router.flow_book import FlowBook, flow_files, load_flow

__all__ = ["FlowWatch", "kept_versions", "roll_back"]

_log = logging.getLogger(__name__)

_INTERVAL_S = 1.0
_KEPT = 5
"""Versions of a flow that are kept, the one that is served among them."""


class FlowWatch:
    """Looks at the files of flows, and puts what is right into the book.

    Args:
        settings: Where flows are, and the state folder.
        contracts: The contract of every service, by name.
        book: The flows that are served.
        metrics: Where reloads and stale flows are counted.
        on_health: Is told whether every flow is served as it is written.
        medians_ms: Returns how long services usually take, as far as that is known.
        interval_s: Seconds between two looks.
    """

    def __init__(
        self,
        settings: Settings,
        contracts: Mapping[str, str],
        book: FlowBook,
        metrics: Metrics,
        *,
        on_health: Callable[[bool], None] = lambda healthy: None,
        medians_ms: Callable[[], Mapping[str, float]] = dict,
        interval_s: float = _INTERVAL_S,
    ) -> None:
        self._settings = settings
        self._contracts = dict(contracts)
        self._book = book
        self._metrics = metrics
        self._on_health = on_health
        self._medians_ms = medians_ms
        self._interval_s = interval_s
        self._stamps: dict[str, Stamp] = {}
        self._wrong: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Keep the versions that are served now, and begin to look."""
        files = await asyncio.to_thread(flow_files, self._settings)
        self._stamps = {name: stamp_of(file) for name, file in files.items()}
        for flow in self._book:
            await asyncio.to_thread(_keep, self._settings, flow, files[flow.name])
        self._on_health(True)
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop to look."""
        task, self._task = self._task, None
        if task is not None:
            await end(task)

    async def look(self) -> None:
        """Look once; files that did not change since the last look are not read."""
        try:
            files = await asyncio.to_thread(flow_files, self._settings)
        except MeshError as error:
            _log.error("flows cannot be looked at", extra={"reason": error.reason})
            return
        stamps = {name: stamp_of(file) for name, file in files.items()}
        changed = [name for name, stamp in stamps.items() if stamp != self._stamps.get(name)]
        gone = set(self._stamps) - set(stamps)
        self._stamps = stamps
        for name in gone:
            self._book.remove(name)
            self._wrong.discard(name)
            _log.info("flow is gone", extra={"flow": name})
        for name in changed:
            await self._take(name, files[name])
        if changed or gone:
            self._on_health(not self._wrong)

    async def _take(self, name: str, file: Path) -> None:
        try:
            medians_ms = self._medians_ms()
            flow = await asyncio.to_thread(load_flow, file, self._contracts, medians_ms)
        except MeshError as error:
            self._wrong.add(name)
            self._metrics.flow_reloads.labels(name, "refused").inc()
            self._metrics.flow_stale.labels(name).set(1)
            _log.error(
                "a changed flow is wrong; the version before is still served",
                extra={"flow": name, "error": error.message},
            )
            return
        self._wrong.discard(name)
        self._metrics.flow_stale.labels(name).set(0)
        if self._book.put(flow):
            await asyncio.to_thread(_keep, self._settings, flow, file)
            self._metrics.flow_reloads.labels(name, "served").inc()
            _log.info("flow is served", extra={"flow": name, "revision": flow.revision})

    async def _run(self) -> None:
        await asyncio.sleep(self._interval_s)
        await repeat(self.look, self._interval_s, _log, "flows cannot be looked at")


def kept_versions(settings: Settings, name: str) -> list[Path]:
    """Return the files of the versions of a flow that were served here, the latest first."""
    folder = settings.state_dir / "flows" / name
    return sorted(folder.glob("*.yaml"), key=lambda file: -file.stat().st_mtime_ns)


def roll_back(settings: Settings, name: str) -> tuple[Path, Path]:
    """Put the version of a flow that was served before in the place of its file.

    Returns:
        The version that was brought back, and the file that was written.

    Raises:
        NotFound: There is no such flow, or no version before.
    """
    files = flow_files(settings)
    if name not in files:
        raise NotFound(
            f"no flow '{name[:64]}'{suggestion(name[:64], files)}", reason="FLOW_NOT_FOUND"
        )
    file = files[name]
    now = file.read_bytes()
    for version in kept_versions(settings, name):
        if version.read_bytes() != now:
            fresh = file.with_suffix(".new")
            shutil.copyfile(version, fresh)
            fresh.replace(file)
            version.touch()
            return version, file
    raise NotFound(f"no version of flow '{name}' before this one", reason="VERSION_NOT_FOUND")


def _keep(settings: Settings, flow: Flow, file: Path) -> None:
    folder = settings.state_dir / "flows" / flow.name
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{flow.revision.removeprefix('sha256:')[:12]}.yaml"
    with contextlib.suppress(OSError):  # it was written again meanwhile; the next look keeps that
        fresh = target.with_suffix(".new")
        shutil.copyfile(file, fresh)
        fresh.replace(target)
        target.touch()
    for old in kept_versions(settings, flow.name)[_KEPT:]:
        old.unlink(missing_ok=True)
