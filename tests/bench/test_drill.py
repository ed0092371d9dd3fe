"""What a drill counts, how it asks, and how its services differ from the shipped ones."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from slmesh.api.route.v1 import route_pb2
from slmesh.bench.drill.accounting import Hit, quantile_ms, report
from slmesh.bench.drill.asking import judged
from slmesh.bench.drill.calls import Answer, Call, Outcome, Stream, run_load, saturation
from slmesh.bench.drill.drill import DrillOptions, run
from slmesh.bench.drill.faults import FAULTS
from slmesh.bench.drill.hog import is_shipped, start_hog, write_drilled_services
from slmesh.mesh.catalog import discover
from slmesh.mesh.errors import NotFound, Unavailable
from slmesh.mesh.settings import Settings


def calls(stream: str, times_ms: Sequence[float], outcome: Outcome = Outcome.CORRECT) -> list[Call]:
    return [
        Call(stream, 0.0, ms, outcome, "BROKEN" if outcome is Outcome.ERROR else "", f"{stream}{i}")
        for i, ms in enumerate(times_ms)
    ]


def hit(service: str, *found: list[Call], fault: str = "kill", recovered_s: float | None = 1.0):
    return Hit(
        fault=fault,
        service=service,
        calls=[call for part in found for call in part],
        recovered_s=recovered_s,
    )


ALL = frozenset(f"flow{i}" for i in range(200))
QUIET = [*calls("a", range(1, 101)), *calls("b", range(1, 101)), *calls("flow", [5.0] * 10)]


def counted(*hits: Hit, recorded: frozenset[str] = ALL):
    return report(QUIET, hits, flow="flow", recorded=recorded)


def missed(figures) -> list[str]:
    return [row["target"] for row in figures["targets"] if not row["kept"]]


def test_a_quantile_is_a_time_that_was_measured():
    assert quantile_ms(calls("a", range(1, 101)), 0.99) == 99
    assert quantile_ms(calls("a", [7.0]), 0.5) == 7
    assert quantile_ms(calls("a", [7.0], Outcome.ERROR), 0.5) is None


def test_a_drill_in_which_nothing_else_suffers_keeps_every_promise():
    figures = counted(hit("a", calls("b", range(1, 101)), calls("flow", [5.0])))
    assert missed(figures) == []
    (other,) = figures["others"]
    assert (other["service"], other["calls"], other["success"], other["p99_ratio"]) == (
        "b", 100, 1.0, 1.0,
    )  # fmt: skip


def test_the_service_that_is_hit_is_no_other_service():
    figures = counted(
        hit("a", calls("a", [1.0], Outcome.ERROR), calls("b", [1.0])),
        hit("b", calls("a", [1.0]), calls("b", [1.0], Outcome.ERROR)),
    )
    assert [(row["service"], row["calls"]) for row in figures["others"]] == [("a", 1), ("b", 1)]
    assert missed(figures) == []


@pytest.mark.parametrize(
    ("found", "target"),
    [
        (calls("b", [1.0], Outcome.ERROR), "calls of the other services that succeed"),
        (calls("b", [1.0], Outcome.LOST), "calls of the other services that succeed"),
        (calls("b", [149.0] * 2), "their p99 against no fault, at most 1.5x"),
        (calls("flow", [1.0], Outcome.WRONG), "flow answers neither correct nor marked degraded"),
        (calls("flow", [1.0], Outcome.ERROR), "requests of the flow that got an error"),
        (calls("flow", [1.0], Outcome.LOST), "requests without an answer or an error"),
    ],
)
def test_every_miss_is_told(found, target):
    assert missed(counted(hit("a", calls("b", [1.0] * 99), found))) == [target]


def test_a_degraded_answer_that_says_so_is_no_miss():
    figures = counted(hit("a", calls("b", [1.0]), calls("flow", [1.0], Outcome.DEGRADED)))
    assert missed(figures) == []
    assert [row["degraded"] for row in figures["flows"]] == [0, 1]


def test_an_answer_without_a_record_is_a_miss():
    figures = counted(hit("a", calls("b", [1.0])), recorded=ALL - {"flow3"})
    assert missed(figures) == ["decisions answered and not in the ledger"]


def test_a_service_that_stays_away_is_a_miss():
    figures = counted(hit("a", calls("b", [1.0]), recovered_s=None))
    assert missed(figures) == ["services that did not come back"]


def test_a_decision_is_judged_by_path_text_and_what_it_says_is_missing():
    answer = route_pb2.Answer(text="Yes.")
    expected = (int(route_pb2.PATH_SMALL), "Yes.")
    decision = route_pb2.Decision(path=route_pb2.PATH_SMALL, answer=answer)
    assert judged(decision, expected) is Outcome.CORRECT
    assert judged(decision, (expected[0], "No.")) is Outcome.WRONG
    other = route_pb2.Decision(path=route_pb2.PATH_ESCALATED, answer=answer)
    assert judged(other, expected) is Outcome.WRONG
    other.degradations.add()
    assert judged(other, expected) is Outcome.DEGRADED


async def loaded(ask: Callable[[int], Awaitable[Answer]], seconds: float = 0.5) -> list[Call]:
    found: list[Call] = []
    stop = asyncio.Event()
    running = asyncio.create_task(run_load([Stream("a", 100, ask, 1.0)], stop, found.append))
    await asyncio.sleep(seconds)
    stop.set()
    await running
    return found


async def test_a_service_that_hangs_is_asked_as_often_and_every_call_ends_once():
    started: list[int] = []

    async def ask(place: int) -> Answer:
        started.append(place)
        await asyncio.sleep(0.3)
        return Answer(Outcome.CORRECT)

    found = await loaded(ask)
    assert started == list(range(len(started)))  # none waits for another one
    assert len(started) > 5
    assert [call.outcome for call in found] == [Outcome.CORRECT] * len(started)


async def test_an_error_is_an_outcome_with_its_reason():
    async def ask(place: int) -> Answer:
        raise Unavailable("away", reason="AWAY")

    found = await loaded(ask, 0.1)
    assert {(call.outcome, call.reason) for call in found} == {(Outcome.ERROR, "AWAY")}


async def test_saturation_counts_answers_only():
    async def ask(place: int) -> Answer:
        await asyncio.sleep(0.01)
        if place % 2:
            raise Unavailable("away")
        return Answer(Outcome.CORRECT)

    stream = Stream("a", 1.0, ask, 1.0)
    assert 0 < await saturation(stream, in_flight=2, seconds=0.2) < 100


SHIPPED = {n: m for n, m in discover(Settings(service_path=())).items() if is_shipped(m)}


def test_a_drilled_service_is_the_shipped_one_but_for_its_class(tmp_path):
    write_drilled_services(tmp_path, SHIPPED.values())
    found = discover(Settings(service_path=(tmp_path,)))
    for name, manifest in SHIPPED.items():
        drilled = found[name]
        assert drilled.folder == tmp_path / name
        assert drilled.class_name == "Drilled"
        for key in ("contract", "model", "memory_mib", "threads", "options", "timeout_ms"):
            assert getattr(drilled, key) == getattr(manifest, key), (name, key)


def test_no_shipped_service_can_be_told_to_take_memory():
    for manifest in SHIPPED.values():
        assert "hog" not in (manifest.folder / "service.py").read_text(encoding="utf-8")
        assert not (manifest.folder / "hog").exists()


HOGGED = """
import sys
from pathlib import Path
from slmesh.bench.drill.hog import hogging
from slmesh.mesh.manifest import Manifest
from slmesh.mesh.memory_limit import limit_memory, resident_mib
from slmesh.mesh.service import Resources

class Plain:
    def load(self, resources):
        pass

manifest = Manifest(name="plain", contract="score", class_name="Plain", folder=Path(sys.argv[1]))
limit_memory(round(resident_mib()) + 100, lambda: print("reached", flush=True))
hogging(Plain)().load(Resources(manifest, None, Path(), 1))
print("loaded", flush=True)
sys.stdin.read()
"""


def test_a_hog_takes_memory_until_its_own_limit_ends_it(tmp_path):
    os.mkfifo(tmp_path / "hog")
    with pytest.raises(OSError, match="No such device"):
        start_hog(tmp_path)  # nobody waits
    process = subprocess.Popen(
        [sys.executable, "-c", HOGGED, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "loaded\n"
        end_s = time.monotonic() + 60
        while True:
            try:
                start_hog(tmp_path)
                break
            except OSError:
                assert time.monotonic() < end_s
                time.sleep(0.01)
        assert process.stdout.readline() == "reached\n"
        assert process.wait(60) == 137


class Sleeper:
    """A replica's process, as far as a fault from outside sees it."""

    service = "sleeper"

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def pid(self) -> int:
        return self.process.pid

    def every_pid(self) -> list[int]:
        return [self.process.pid]


@pytest.fixture
def sleeper():
    with subprocess.Popen(["sleep", "60"]) as process:
        yield Sleeper(process)
        process.kill()


def becomes(pid: int, *, stopped: bool) -> bool:
    """Wait until a process is stopped, or runs: a signal takes effect a moment after it was sent."""
    stat = Path(f"/proc/{pid}/stat")
    for _ in range(6000):
        if (stat.read_text(encoding="ascii").rpartition(")")[2].split()[0] == "T") is stopped:
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("name", ["kill", "crash-loop"])
def test_a_killed_process_is_gone(name, sleeper):
    FAULTS[name]().inject(sleeper)
    assert sleeper.process.wait(60) == -signal.SIGKILL


def test_a_hanging_process_is_there_and_runs_when_the_fault_is_lifted(sleeper):
    fault = FAULTS["hang"]()
    fault.inject(sleeper)
    assert becomes(sleeper.pid(), stopped=True)
    fault.lift()
    assert becomes(sleeper.pid(), stopped=False)


def test_a_slowed_process_runs_again_afterwards(sleeper):
    FAULTS["slow-down"]().inject(sleeper)
    assert becomes(sleeper.pid(), stopped=False)


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (DrillOptions(services=["triag"]), "did you mean 'triage'"),
        (DrillOptions(faults=["hogs"]), "did you mean 'hog'"),
    ],
)
def test_what_is_not_there_is_told_before_a_mesh_is_started(options, wanted):
    with pytest.raises(NotFound, match=wanted):
        run(Settings(), options)
