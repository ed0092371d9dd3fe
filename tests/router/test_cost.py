"""What decisions cost, and the estimate of what the reasoner alone would have cost."""

from __future__ import annotations

import pytest

from slmesh.api.reason.v1.reason_pb2 import ReasonRequest, Usage
from slmesh.router.cost import CostEstimator, Price, Prices
from slmesh.router.flow import Flow, Reasoner

PRICE = Price(150_000, 600_000)
PRICES = Prices({"r": PRICE})


def flow(name="f", **values):
    reasoner = Reasoner(service="r", instruction="i" * 100, expected_output_tokens=50)
    return Flow(
        name=name, description="d", owner="o", data_classes=("public",), latency_budget_ms=1,
        steps=(), **({"reasoner": reasoner} | values),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("prompt", "output", "micros"),
    [(0, 0, 0), (1_000_000, 0, 150_000), (0, 1_000_000, 600_000), (120, 30, 36), (3, 0, 0)],
)
def test_the_price_is_tokens_times_prices(prompt, output, micros):
    assert PRICE.cost(prompt, output).usd_micros == micros


def test_without_a_reasoner_nothing_would_have_been_spent():
    assert CostEstimator(PRICES).all_llm(flow(reasoner=None), "text").usd_micros == 0


def test_before_any_answer_the_declared_length_and_four_characters_a_token_count():
    cost = CostEstimator(PRICES).all_llm(flow(), "t" * 300)
    assert (cost.prompt_tokens, cost.output_tokens) == (100, 50)


def test_real_answers_move_the_estimate():
    estimator = CostEstimator(PRICES)
    request = ReasonRequest(instruction="i" * 100, text="t" * 300)
    for _ in range(50):
        estimator.learn(flow(), request, Usage(prompt_tokens=200, output_tokens=20))
    assert estimator.characters_per_token == pytest.approx(2.0, abs=0.05)
    cost = estimator.all_llm(flow(), "t" * 300)
    assert cost.prompt_tokens == pytest.approx(200, abs=5)
    assert cost.output_tokens == 25  # 50 answers of 20 tokens, and 10 of the 50 that are expected


def test_the_length_of_answers_is_learnt_per_flow():
    estimator = CostEstimator(PRICES)
    request = ReasonRequest(instruction="i", text="t")
    estimator.learn(flow("a"), request, Usage(prompt_tokens=1, output_tokens=6))
    assert estimator.all_llm(flow("a"), "t").output_tokens == 46
    assert estimator.all_llm(flow("b"), "t").output_tokens == 50


def test_the_length_of_an_answer_that_was_given_is_known():
    usage = Usage(prompt_tokens=500, output_tokens=7)
    cost = CostEstimator(PRICES).all_llm(flow(), "t" * 300, usage)
    assert (cost.prompt_tokens, cost.output_tokens) == (100, 7)


def test_an_engine_that_counts_no_tokens_teaches_nothing():
    estimator = CostEstimator(PRICES)
    estimator.learn(flow(), ReasonRequest(instruction="i", text="t"), Usage())
    assert estimator.characters_per_token == 4.0
