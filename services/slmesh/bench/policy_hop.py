"""What the policy costs a hop: sealing and asking where it leaves, opening and asking where it arrives.

Every decision is another one, as under real traffic, so that nothing but the rulings is remembered;
the first hop of each kind pays for Cedar, and is in the figure.
"""

from __future__ import annotations

import statistics
import time
import uuid
from dataclasses import replace
from typing import Any

from slmesh.bench.machine import machine
from slmesh.mesh.catalog import discover
from slmesh.mesh.context import RequestContext
from slmesh.mesh.settings import Settings
from slmesh.policy import PolicyGate, open_gate

__all__ = ["TARGET_US", "run"]

TARGET_US = 50.0
"""What the project promises: at most so many microseconds for a hop, both ends together."""


def run(settings: Settings, *, rounds: int = 7, hops: int = 5000) -> dict[str, Any]:
    """Measure hops of the shipped policy and return the figures, in microseconds for a hop.

    Args:
        settings: The settings; they say which policy.
        rounds: Rounds that count; each starts with nothing remembered.
        hops: Hops of a round.
    """
    services = discover(settings)
    departures, arrivals, processor, directs = [], [], [], []
    for _ in range(rounds):
        gate = open_gate(settings, services, in_process=True)
        contexts = [
            RequestContext(
                service=name,
                decision_id=str(uuid.uuid4()),
                flow="support",
                data_classes=("confidential", "personal"),
            ).within(60)
            for name in (*services,) * (hops // len(services))
        ]
        began, cpu = time.perf_counter(), time.process_time()
        sealed = [gate.depart(context) for context in contexts]
        left = time.perf_counter()
        _arrive(gate, sealed)
        done = time.perf_counter()
        processor.append((time.process_time() - cpu) / len(contexts) * 1e6)
        departures.append((left - began) / len(contexts) * 1e6)
        arrivals.append((done - left) / len(contexts) * 1e6)
        direct = [replace(context, flow="", decision_id="") for context in contexts]
        began = time.perf_counter()
        _arrive(gate, direct)
        directs.append((time.perf_counter() - began) / len(contexts) * 1e6)
    total = [one + other for one, other in zip(departures, arrivals, strict=True)]
    return {
        "machine": machine(),
        "rounds": rounds,
        "hops": hops,
        "departure_us": round(statistics.median(departures), 1),
        "arrival_us": round(statistics.median(arrivals), 1),
        "direct_arrival_us": round(statistics.median(directs), 1),
        "hop_us": round(statistics.median(total), 1),
        "hop_processor_us": round(statistics.median(processor), 1),
        "worst_round_us": round(max(total), 1),
        "target_us": TARGET_US,
    }


def _arrive(gate: PolicyGate, contexts: list[RequestContext]) -> None:
    admit = {name: gate.arrival(name) for name in gate.judge.targets}
    for context in contexts:
        admit[context.service](context)
