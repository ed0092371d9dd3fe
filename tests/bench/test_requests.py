"""Measuring requests: quantiles, what a side adds, calls that come when they are due."""

from __future__ import annotations

import asyncio
import json
import time

import aiohttp
import pytest

from slmesh.bench import latency_budget, router_cost
from slmesh.bench.chains import child
from slmesh.bench.flow_calls import _stages
from slmesh.bench.latency_budget import BUDGET_MS, Outcome, figures, within
from slmesh.bench.llm_gateway import DIRECT, LITELLM, REASONER, ROUTER, compared
from slmesh.bench.open_load import send_at
from slmesh.bench.quantiles import added, median_row, quantile, row_of
from slmesh.mesh.catalog import discover
from slmesh.mesh.settings import load_settings
from slmesh.router.flow_book import load_flows


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 50), (0.99, 99), (0.999, 100), (1.0, 100), (0.001, 1)]
)
def test_a_quantile_is_a_measured_value(share: float, expected: int) -> None:
    assert quantile(list(range(100, 0, -1)), share) == expected


def test_of_one_value_every_quantile_is_that_value() -> None:
    assert row_of([3.5]) == {"p50_ms": 3.5, "p99_ms": 3.5}


def test_what_a_side_adds_is_the_median_of_the_rounds() -> None:
    floor = [{"p50_ms": 10.0}, {"p50_ms": 50.0}, {"p50_ms": 12.0}]
    rows = [{"p50_ms": 11.0}, {"p50_ms": 80.0}, {"p50_ms": 14.0}]
    assert added(rows, floor) == {"p50_ms": 2.0}
    assert median_row(rows) == {"p50_ms": 14.0}


async def test_both_sides_are_called_as_often_and_go_first_in_turns() -> None:
    called: list[str] = []

    async def one(place: int) -> None:
        called.append("one")

    async def other(place: int) -> None:
        called.append("other")

    times = await router_cost._in_turns({"one": one, "other": other}, 4)
    assert [len(found) for found in times.values()] == [4, 4]
    assert called[::2] == ["other", "one", "other", "one"]


async def test_calls_come_when_they_are_due_and_wait_for_nobody() -> None:
    now = most = 0

    async def call(place: int) -> int:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.2)
        now -= 1
        return place

    sent = await send_at(100, 0.5, call)
    assert [answer for answer, _ in sent] == list(range(len(sent)))
    assert 20 < len(sent) < 90
    assert most > 5


async def test_a_client_that_falls_behind_counts_the_time_it_lost() -> None:
    async def call(place: int) -> None:
        if place == 0:
            time.sleep(0.3)  # as a client without a processor

    sent = await send_at(200, 0.4, call)
    assert max(elapsed_ms for _, elapsed_ms in sent[1:]) > 100


def test_shares_count_what_was_late_refused_or_incomplete() -> None:
    def outcome(elapsed_ms: float, **changed: object) -> Outcome:
        values = {"answered": True, "small": True, "whole": True, "codes": ()} | changed
        return Outcome(elapsed_ms, **values)

    found = figures(
        [
            outcome(10.0),
            outcome(BUDGET_MS + 1.0),
            outcome(20.0, answered=False, whole=False, codes=("DEADLINE_EXCEEDED",)),
            outcome(30.0, whole=False, codes=("triage NO_TIME", "passages NO_TIME")),
            outcome(40.0, small=False, whole=False, codes=("NO_ANSWER_FOUND",)),
        ]
    )
    assert found["in_time"] == 0.6
    assert found["late_or_failed"] == 2
    assert found["need_no_escalation"] == 4
    assert found["undegraded"] == 0.5
    assert found["p50_ms"] == 30.0
    assert found["p999_ms"] == BUDGET_MS + 1.0
    assert found["missing"]["DEADLINE_EXCEEDED"] == 1


def test_a_flow_within_a_budget_has_no_step_that_may_take_longer() -> None:
    shipped = {
        "name": "support",
        "latency_budget_ms": 20000,
        "steps": [
            {"name": "a", "timeout_ms": 2000},
            {"name": "b", "timeout_ms": 20},
            {"name": "c"},
        ],
        "reasoner": {"service": "reasoner"},
    }
    found = within(shipped, "hurried", 150)
    assert [step["timeout_ms"] for step in found["steps"]] == [150, 20, 150]
    assert found["latency_budget_ms"] == 150
    assert found["name"] == "hurried"
    assert "reasoner" not in found
    assert shipped["steps"][0]["timeout_ms"] == 2000


def test_the_flow_is_measured_as_it_is_shipped() -> None:
    settings = load_settings({})
    services = discover(settings)
    flow = load_flows(settings, services)[latency_budget.FLOW]
    stages = [sorted(step.name for step in stage) for stage in _stages(flow)]
    assert stages == [["guard"], ["entities", "intent", "passages", "triage"]]


def test_ours_is_compared_with_what_litellm_adds() -> None:
    def row(p50_ms: float, p99_ms: float, per_second: float) -> dict[int, dict[str, float]]:
        one = {"p50_ms": p50_ms, "p99_ms": p99_ms, "per_second": 1e3 / p50_ms}
        return {1: one, 32: {"p50_ms": 9.0, "p99_ms": 9.0, "per_second": per_second}}

    found = compared(
        {
            DIRECT: row(20, 22, 900),
            LITELLM: row(28, 40, 200),
            ROUTER: row(24, 31, 400),
            REASONER: row(22.5, 27, 500),
        }
    )
    assert found["added"][LITELLM] == {"p50_ms": 8.0, "p99_ms": 18.0}
    assert found["added_p50_to_litellm"] == 0.5
    assert found["added_p99_to_litellm"] == 0.5
    assert found["router_share_ms"] == 1.5
    assert found["router_share_of_litellm"] == 0.188
    assert found["throughput_to_litellm"] == 2.0


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_the_server_behind_all_answers_the_same_whole_and_streamed(streamed: bool) -> None:
    with child(["slmesh.bench.chat_server", "5"]) as server:
        url = f"http://{server['address']}/v1/chat/completions"
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, json={"stream": streamed}) as response,
        ):
            answer = (await response.read()).decode()
    if streamed:
        lines = [line.removeprefix("data: ") for line in answer.split("\n\n") if line]
        assert lines.pop() == "[DONE]"
        choices = [json.loads(line)["choices"] for line in lines]
        text = "".join(one[0]["delta"].get("content", "") for one in choices if one).strip()
        assert json.loads(lines[-1])["usage"]["total_tokens"] > 0
    else:
        text = json.loads(answer)["choices"][0]["message"]["content"]
    assert text.startswith("You can change the PIN")
    assert text.endswith("any day .")


def test_litellm_is_pinned_by_hash() -> None:
    from importlib.resources import files

    text = files("slmesh.bench.peers").joinpath("litellm.requirements.txt").read_text()
    pinned = [line for line in text.splitlines() if "==" in line]
    assert text.count("--hash=sha256:") == len(pinned) > 50
    assert any(line.startswith("litellm==") for line in pinned)
