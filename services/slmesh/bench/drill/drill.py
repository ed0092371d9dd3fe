"""Runs a drill: a mesh of its own, its undisturbed figures, then one fault of one service at a time.

The flow and every small service are called all the while, together at a share of what the machine can
do. The reasoner fails like the others, and is asked by the flow only: a language model that is called
for itself takes a core, and would be all that is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from slmesh.bench.chains import echo_settings, must_be_healthy
from slmesh.bench.drill.accounting import Hit, report
from slmesh.bench.drill.asking import FLOW, FLOW_TIMEOUT_S, FlowAnswers, asking_service, probing
from slmesh.bench.drill.calls import Call, Outcome, Stream, run_load, saturation
from slmesh.bench.drill.faults import FAULTS, Victim
from slmesh.bench.drill.hog import is_shipped, write_drilled_services
from slmesh.bench.machine import machine
from slmesh.bench.recorded import recorded_decisions
from slmesh.mesh.catalog import discover
from slmesh.mesh.client import Mesh
from slmesh.mesh.errors import MeshError, NotFound, Unavailable
from slmesh.mesh.manifest import Manifest
from slmesh.mesh.naming import suggestion
from slmesh.mesh.settings import Settings
from slmesh.platform.supervisor import Supervisor

__all__ = ["DrillOptions", "run"]

_TIMEOUT_S = 5.0
_PROBE_PAUSE_S = 0.2
_IN_FLIGHT = 16
_LONGEST_RECOVERY_S = 90.0
_SHIP_S = 60.0
_STEADY = 5
"""Correct flow answers in a row before the next fault, with a pause between them."""


@dataclass(frozen=True, kw_only=True)
class DrillOptions:
    """What a drill does.

    Attributes:
        calls: Direct calls without a fault, and during each fault over all services it hits.
        load: The share of the flow's saturation that flow and direct calls take together, in (0, 1].
        services: The services that fail, by name; all shipped ones when empty.
        faults: What is done to them, names of ``FAULTS``; all when empty.
        saturation_s: Seconds in which the saturation is sought.
    """

    calls: int = 5000
    load: float = 0.25
    services: Sequence[str] = ()
    faults: Sequence[str] = ()
    saturation_s: float = 6.0


def run(
    settings: Settings,
    options: DrillOptions,
    *,
    on_progress: Callable[[str], None] = lambda step: None,
) -> dict[str, Any]:
    """Run a drill and return its figures; see :func:`slmesh.bench.drill.accounting.report`.

    Args:
        settings: Where models and the cache are; folder, ports and services are the drill's own.
        options: What to do.
        on_progress: Is told every step.

    Raises:
        NotFound: There is no such service or fault.
        MeshError: The mesh does not start, or does not come back from a fault.
    """
    shipped = {
        name: manifest
        for name, manifest in discover(settings.with_values(service_path=())).items()
        if is_shipped(manifest)
    }
    services = _known(options.services, shipped, "service")
    faults = _known(options.faults, FAULTS, "fault")
    started_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="slmesh-drill-") as name:
        folder = Path(name) / "services"
        write_drilled_services(folder, shipped.values())
        own = echo_settings(
            settings, Path(name) / "state", service_path=(folder,), ledger_url="", budgets=None
        )
        on_progress("start a mesh of the shipped services")
        with Supervisor(own, services=list(shipped)) as mesh:
            must_be_healthy(mesh)
            drill = _Drill(own, folder, shipped, options, on_progress)
            found = asyncio.run(drill.run(services, faults))
    return {
        "machine": machine(),
        **found,
        "took_s": round(time.monotonic() - started_s, 1),
    }


def _known(names: Sequence[str], every: dict[str, Any], what: str) -> list[str]:
    for name in names:
        if name not in every:
            raise NotFound(
                f"no {what} '{name}' to drill{suggestion(name, every)}",
                reason=f"{what.upper()}_NOT_FOUND",
            )
    return list(names or every)


class _Drill:
    def __init__(
        self,
        settings: Settings,
        services_dir: Path,
        shipped: dict[str, Manifest],
        options: DrillOptions,
        on_progress: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._services_dir = services_dir
        self._asked = {n: m for n, m in shipped.items() if m.contract != "reason"}
        self._shipped = shipped
        self._options = options
        self._tell = on_progress
        self._flow_per_second = 0.0
        self._direct_per_second = 0.0

    async def run(self, services: Sequence[str], faults: Sequence[str]) -> dict[str, Any]:
        settings = self._settings
        ingress = f"{settings.host}:{settings.ingress_port}"
        async with (
            Mesh.connect(settings.router_address, settings=settings) as router,
            Mesh.connect(ingress, settings=settings) as direct,
        ):
            self._direct = direct
            self._flow = FlowAnswers(router)
            await self._flow.learn()
            saturated = await self._choose_rates()
            undisturbed = await self._undisturbed()
            hits = [
                await self._hit(fault, service, len(services))
                for fault in faults
                for service in services
            ]
            every = itertools.chain(undisturbed, *(hit.calls for hit in hits))
            answered = {call.decision_id for call in every if call.decision_id}
            recorded = await recorded_decisions(settings, FLOW, answered, _SHIP_S)
        return {
            "flow_per_second_at_saturation": round(saturated, 1),
            "load": self._options.load,
            "flow_per_second": round(self._flow_per_second, 2),
            "direct_per_second": round(self._direct_per_second, 2),
            **report(undisturbed, hits, flow=FLOW, recorded=recorded),
        }

    async def _choose_rates(self) -> float:
        """Give flow and direct calls half of the load each; return the flow's saturation."""
        flow = Stream(FLOW, math.inf, self._flow.ask, FLOW_TIMEOUT_S)
        await saturation(flow, in_flight=_IN_FLIGHT, seconds=1.0)  # warm
        saturated = await saturation(flow, in_flight=_IN_FLIGHT, seconds=self._options.saturation_s)
        self._flow_per_second = self._options.load * saturated / 2
        # a flow calls so many services, and a direct call is the cheaper one: no router
        self._direct_per_second = self._flow_per_second * 5
        self._tell(
            f"{saturated:.0f} {FLOW} requests/s at saturation; {self._flow_per_second:.1f} of them"
            f" and {self._direct_per_second:.1f} direct calls/s are asked"
        )
        return saturated

    def _streams(self, victim: str = "") -> list[Stream]:
        streams = [Stream(FLOW, self._flow_per_second, self._flow.ask, FLOW_TIMEOUT_S)]
        others = [name for name in self._asked if name != victim]
        for name in others:
            ask = asking_service(self._direct, self._asked[name], _TIMEOUT_S)
            rate = self._direct_per_second / len(others)
            streams.append(Stream(name, rate, ask, _TIMEOUT_S))
        return streams

    async def _undisturbed(self) -> list[Call]:
        self._tell(f"{self._options.calls} direct calls without a fault")
        load = _Load(self._streams(), self._options.calls)
        async with load:
            await load.enough.wait()
        return load.calls

    async def _hit(self, fault_name: str, service: str, hits: int) -> Hit:
        """Do one fault of one service under load, until it is back and enough calls were made."""
        fault = FAULTS[fault_name]()
        victim = Victim(self._settings.state_dir, service, self._services_dir)
        problem, recovered_s = "", None
        load = _Load(self._streams(service), math.ceil(self._options.calls / hits))
        try:
            await self._until_steady()
        except Unavailable as error:
            # what was measured before is worth more than an error
            self._tell(f"{fault_name} of {service}: left out, {error}")
            return Hit(
                fault=fault_name, service=service, calls=(), recovered_s=None, problem=str(error)
            )
        async with load:
            try:
                since_s = await asyncio.to_thread(fault.inject, victim)
                recovered_s = await self._recovery(service, since_s)
                await load.enough.wait()
            except (MeshError, OSError) as error:
                problem = f"{fault_name} of {service}: {error}"
            finally:
                await asyncio.to_thread(fault.lift)
        calls = load.calls
        shown = "not back" if recovered_s is None else f"back after {recovered_s:.1f} s"
        self._tell(f"{fault_name} of {service}: {shown}, {len(calls)} calls {problem}")
        return Hit(
            fault=fault_name,
            service=service,
            calls=calls,
            recovered_s=recovered_s,
            problem=problem,
        )

    async def _recovery(self, service: str, since_s: float) -> float | None:
        """Ask a service until it answers; returns the seconds that took, or None."""
        probe = probing(self._direct, self._shipped[service])
        while time.monotonic() < since_s + _LONGEST_RECOVERY_S:
            try:
                await probe()
            except MeshError:
                await asyncio.sleep(_PROBE_PAUSE_S)
            else:
                return time.monotonic() - since_s
        return None

    async def _until_steady(self) -> None:
        """Wait until the flow answers as it does without a fault.

        Raises:
            Unavailable: It does not come to that.
        """
        end_s = time.monotonic() + _LONGEST_RECOVERY_S
        correct = 0
        while correct < _STEADY:
            if time.monotonic() > end_s:
                raise Unavailable("the flow does not answer as it did before the fault")
            with contextlib.suppress(MeshError):
                answer = await self._flow.ask(correct)
                correct = correct + 1 if answer.outcome is Outcome.CORRECT else 0
            await asyncio.sleep(_PROBE_PAUSE_S)


class _Load:
    """Load for as long as a block runs, and until what is under way then has ended.

    Attributes:
        calls: Every call that has ended.
        enough: Is set when so many direct calls have.
    """

    def __init__(self, streams: Sequence[Stream], direct_calls: int) -> None:
        self.calls: list[Call] = []
        self.enough = asyncio.Event()
        self._streams = streams
        self._left = direct_calls
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(run_load(self._streams, self._stop, self._ended))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._stop.set()
        await self._task

    def _ended(self, call: Call) -> None:
        self.calls.append(call)
        if call.stream != FLOW:
            self._left -= 1
            if self._left <= 0:
                self.enough.set()
