"""The reasoner under budgets: what a caller gets when there is one, little of one, and none."""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from pathlib import Path

import pytest
from google.rpc import error_details_pb2

from slmesh.api.route.v1 import route_pb2 as pb
from slmesh.mesh.context import RequestContext
from slmesh.mesh.errors import FailedPrecondition, ResourceExhausted, Unavailable


def write_budgets(folder: Path, text: str) -> Path:
    file = folder / "budgets.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def codes(decision: pb.Decision) -> list[str]:
    return [degradation.code for degradation in decision.degradations]


async def asked(mesh, text: str) -> pb.Decision:
    """Route a text that wants the reasoner; again when a busy machine lost a step."""
    for _ in range(5):
        decision = await mesh.route(text)
        if decision.HasField("budget"):
            return decision
        await asyncio.sleep(0.5)  # a breaker may have opened
    raise AssertionError("no request came as far as the reasoner")


async def test_an_answer_within_the_budget_says_how_it_stands(start_mesh, tmp_path):
    file = write_budgets(tmp_path, 'tenants: {"*": {requests: 10, tokens: 5000}}')
    mesh = await start_mesh(budgets=file)
    first = await mesh.route("unsure about this")
    assert first.path == pb.PATH_ESCALATED
    assert first.budget.outcome == pb.BUDGET_OUTCOME_GRANTED
    assert first.budget.expected_gain == pytest.approx(0.59, abs=0.005)
    second = await mesh.route("something else")
    assert second.budget.expected_gain == 1.0  # the small models have no answer
    (budget,) = second.budget.budgets
    assert (budget.scope, budget.requests, budget.tokens) == ("tenant:default", 1, 150)
    assert (budget.max_requests, budget.max_tokens) == (10, 5000)
    assert not budget.HasField("max_usd_micros")
    assert (await mesh.route("when does my card arrive")).HasField("budget") is False


async def test_a_used_up_budget_leaves_the_small_models_answer(start_mesh, tmp_path):
    mesh = await start_mesh(budgets=write_budgets(tmp_path, "tenants: {default: {requests: 1}}"))
    await mesh.route("unsure about this")
    decision = await mesh.route("unsure about this")
    assert decision.path == pb.PATH_SMALL
    assert decision.answer.text == "It is on its way."
    assert codes(decision) == ["BUDGET_EXHAUSTED"]
    assert (decision.budget.scope, decision.budget.quantity) == ("tenant:default", "requests")
    assert decision.cost.usd_micros == 0


async def test_without_an_answer_of_the_small_models_the_fallback_stands_in(start_mesh, tmp_path):
    mesh = await start_mesh(budgets=write_budgets(tmp_path, "tenants: {default: {requests: 0}}"))
    decision = await mesh.route("something else")
    assert decision.path == pb.PATH_FALLBACK
    assert decision.answer.text == "Later."
    assert codes(decision) == ["BUDGET_EXHAUSTED"]


async def test_a_flow_may_fail_instead_and_says_when_to_retry(start_mesh, tmp_path):
    file = write_budgets(tmp_path, "tenants: {default: {window_s: 3600, usd_micros: 1}}")
    mesh = await start_mesh(budgets=file, on_failure={"reasoner": "fallback, on_no_budget: fail"})
    with pytest.raises(ResourceExhausted) as caught:
        await mesh.route("unsure about this")
    error = caught.value
    assert error.reason == "BUDGET_EXHAUSTED"
    assert error.metadata["quantity"] == "usd_micros"
    assert error.retry_delay_s is not None
    assert 0 < error.retry_delay_s <= 3600
    failure = error_details_pb2.QuotaFailure()
    assert any(detail.Unpack(failure) for detail in error.to_status().details)
    assert failure.violations[0].subject == "tenant:default"


async def test_a_tenant_without_a_budget_gets_nothing_of_the_reasoner(start_mesh, tmp_path):
    mesh = await start_mesh(budgets=write_budgets(tmp_path, "tenants: {acme: {requests: 5}}"))
    decision = await mesh.route("something else")
    assert decision.path == pb.PATH_FALLBACK
    assert codes(decision) == ["BUDGET_NONE"]
    granted = await mesh.route("something else", context=RequestContext(tenant="acme"))
    assert granted.path == pb.PATH_ESCALATED


async def test_a_flow_has_a_budget_of_its_own(start_mesh, tmp_path):
    text = "tenants: {default: {requests: 9}}\nflows: {desk: {tokens: 100}}"
    mesh = await start_mesh(budgets=write_budgets(tmp_path, text))
    decision = await mesh.route("something else")
    assert (decision.budget.scope, decision.budget.quantity) == ("flow:desk", "tokens")


async def test_a_repeat_spends_once(start_mesh, tmp_path):
    mesh = await start_mesh(budgets=write_budgets(tmp_path, "tenants: {default: {requests: 9}}"))
    request_id = str(uuid.uuid4())
    await asyncio.gather(
        *(mesh.route("unsure about this", request_id=request_id) for _ in range(8))
    )
    decision = await mesh.route("something else")
    assert decision.budget.budgets[0].requests == 1


async def test_another_router_and_a_restart_know_what_was_spent(start_mesh, tmp_path):
    file = write_budgets(tmp_path, "tenants: {default: {requests: 1}}")
    first = await start_mesh(budgets=file)
    assert (await first.route("something else")).path == pb.PATH_ESCALATED
    second = await start_mesh(budgets=file)
    assert codes(await second.route("something else")) == ["BUDGET_EXHAUSTED"]


async def test_sixty_four_at_once_get_what_there_is(start_mesh, tmp_path):
    mesh = await start_mesh(
        budgets=write_budgets(tmp_path, "tenants: {default: {requests: 5}}"), max_in_flight=200
    )
    decisions = await asyncio.gather(
        *(mesh.route("something else", timeout_s=30) for _ in range(64))
    )
    granted = [one.budget.outcome == pb.BUDGET_OUTCOME_GRANTED for one in decisions]
    assert sum(granted) == 5
    last = await asked(mesh, "something else")
    assert last.budget.outcome == pb.BUDGET_OUTCOME_EXHAUSTED
    assert last.budget.budgets[0].requests == 5


async def test_what_is_not_known_is_not_spent(start_mesh, tmp_path):
    broken = tmp_path / "not-a-database.sqlite3"
    broken.write_bytes(b"no database" * 1000)
    mesh = await start_mesh(
        budgets=write_budgets(tmp_path, "tenants: {default: {requests: 5}}"),
        ledger_url=f"sqlite:///{broken}",
    )
    decision = await mesh.route("something else")
    assert decision.path == pb.PATH_FALLBACK
    assert codes(decision) == ["BUDGET_UNAVAILABLE"]


async def test_a_failed_answer_gives_its_budget_back(start_mesh, tmp_path):
    mesh = await start_mesh(budgets=write_budgets(tmp_path, "tenants: {default: {requests: 9}}"))
    await mesh.route("something else reasoner:down")
    decision = await mesh.route("something else")
    assert decision.budget.budgets[0].requests == 0


async def test_an_answer_that_broke_off_is_paid_for_also_where_the_flow_fails(start_mesh, tmp_path):
    file = write_budgets(tmp_path, "tenants: {default: {requests: 9}}")
    mesh = await start_mesh(budgets=file, on_failure={"reasoner": "fail"})
    with pytest.raises(Unavailable):
        await mesh.route("something else reasoner:cut")
    decision = await mesh.route("something else")
    assert decision.budget.budgets[0].requests == 1


async def test_a_wrong_file_of_budgets_is_refused_with_its_line(start_mesh, tmp_path):
    file = write_budgets(tmp_path, "tenants:\n  acme: {request: 5}\n")
    with pytest.raises(
        FailedPrecondition, match=r"budgets.yaml:2: unknown key 'request'.*requests"
    ):
        await start_mesh(budgets=file)


async def test_a_drained_budget_is_kept_for_those_that_gain_more(start_mesh, tmp_path):
    now_s = time.time()
    window_s = int(now_s / math.ceil(now_s / (366 * 86_400)))  # a window that has just begun
    limit = f"{{requests: 40, window_s: {window_s}}}"
    mesh = await start_mesh(budgets=write_budgets(tmp_path, f"tenants: {{default: {limit}}}"))
    for _ in range(24):
        await asked(mesh, "something else")  # gains 1
    kept = await asked(mesh, "unsure about this")  # gains 0.59
    assert codes(kept) == ["BUDGET_KEPT"]
    assert kept.answer.text == "It is on its way."
    assert kept.budget.least_gain > kept.budget.expected_gain
    assert (await asked(mesh, "something else")).path == pb.PATH_ESCALATED


async def test_without_a_file_the_default_tenant_has_a_budget_and_nobody_else(start_mesh):
    mesh = await start_mesh(budgets=None)
    decision = await asked(mesh, "something else")
    (budget,) = decision.budget.budgets
    assert (budget.scope, budget.max_usd_micros) == ("tenant:default", 10_000_000)
    other = await mesh.route("something else", context=RequestContext(tenant="acme"))
    assert codes(other) == ["BUDGET_NONE"]


async def test_a_budget_without_a_limit_limits_nobody_and_counts_nothing(start_mesh, tmp_path):
    file = write_budgets(tmp_path, 'tenants: {"*": {}}')
    mesh = await start_mesh(budgets=file)
    context = RequestContext(tenant="acme")
    for _ in range(2):
        decision = await mesh.route("something else", context=context)
        assert decision.budget.outcome == pb.BUDGET_OUTCOME_GRANTED
        assert not decision.budget.budgets
