"""Prices of engines and services, as a file declares them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.services import settings_for

from slmesh.mesh.errors import FailedPrecondition
from slmesh.mesh.manifest import Manifest
from slmesh.router.cost import Price
from slmesh.router.prices import prices_of


def reasoner(name="reasoner", **options):
    return Manifest(name=name, contract="reason", class_name="R", options=options)


SERVICES = {
    "reasoner": reasoner(),
    "hosted": reasoner("hosted", base_url="http://10.0.0.1/v1", model="m"),
    "intent": Manifest(name="intent", contract="classify", class_name="I"),
}
GOOD = """\
usd_per: {EUR: 1.25}
engines:
  onnx: {input_per_mtok: 0, output_per_mtok: 0.04, currency: EUR}
  openai: {input_per_mtok: 0.15, output_per_mtok: 0.6}
"""


def read(folder: Path, text: str, services=None):
    file = folder / "prices.yaml"
    file.write_text(text)
    return prices_of(settings_for(folder, prices=file), services or SERVICES).of_service


def test_each_reasoner_has_the_price_of_its_engine_in_millionths_of_a_dollar(tmp_path):
    assert read(tmp_path, GOOD) == {
        "reasoner": Price(0, 50_000),
        "hosted": Price(150_000, 600_000),
    }


def test_a_services_own_price_stands_above_that_of_its_engine(tmp_path):
    own = "services:\n  hosted: {input_per_mtok: 2.5, output_per_mtok: 10}\n"
    assert read(tmp_path, GOOD + own)["hosted"] == Price(2_500_000, 10_000_000)


def test_without_a_file_the_settings_price_all(tmp_path):
    settings = settings_for(tmp_path, price_prompt_usd_micros_per_mtok=7)
    assert prices_of(settings, SERVICES).of_service["hosted"] == Price(7, 600_000)


WRONG = [
    pytest.param("onnx:", "onxx:", r":3: no engine 'onxx'.*onnx", id="unknown-engine"),
    pytest.param("0.15", "-1", r":4: input_per_mtok must be in \[0, 1,000,000\]", id="negative"),
    pytest.param("0.15", "cheap", r":4: .*must be a number", id="no-number"),
    pytest.param("EUR}", "EUX}", r":3: 'usd_per' has no rate for EUX.*EUR", id="no-rate"),
    pytest.param("1.25", "0", r":1: must be above 0 US dollars", id="rate"),
    pytest.param("EUR: 1", "Euro: 1", r":1: 'Euro' must be another currency's", id="no-currency"),
    pytest.param("input_per_mtok: 0.15, ", "", r":4: .*input_per_mtok.* is missing", id="missing"),
    pytest.param("currency", "curency", r":3: unknown key.*currency", id="unknown-key"),
]


@pytest.mark.parametrize(("old", "new", "words"), WRONG)
def test_a_wrong_price_is_refused_with_its_line(tmp_path, old, new, words):
    with pytest.raises(FailedPrecondition, match=rf"prices.yaml{words}"):
        read(tmp_path, GOOD.replace(old, new))


def test_a_reasoner_without_a_price_is_refused(tmp_path):
    text = GOOD[: GOOD.index("  openai")]
    with pytest.raises(FailedPrecondition, match=r"no price for service 'hosted'.*'openai'"):
        read(tmp_path, text)


async def test_decisions_budgets_and_the_counterfactual_use_it(start_mesh, tmp_path):
    prices = tmp_path / "prices.yaml"
    prices.write_text("services: {reasoner: {input_per_mtok: 1000, output_per_mtok: 10000}}")
    budgets = tmp_path / "budgets.yaml"
    budgets.write_text('tenants: {"*": {usd_micros: 100000000}}')
    mesh = await start_mesh(prices=prices, budgets=budgets)
    for _ in range(10):
        first = await mesh.route("unsure about this")
        if not first.degradations:
            break
    assert first.cost.usd_micros == 120 * 1000 + 30 * 10000
    assert first.all_llm_cost.usd_micros > 30 * 10000
    second = await mesh.route("unsure about this")
    spent = second.budget.budgets[0].usd_micros - first.budget.budgets[0].usd_micros
    assert spent == first.cost.usd_micros
