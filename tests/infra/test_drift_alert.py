"""The drift alarm over a service that was made here, asked what it was made for, and something else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from tests.factory.own_file import rows_of_topics, write_csv

from slmesh.api.classify.v1.classify_pb2 import ClassifyRequest
from slmesh.factory.new_model import Order, make_service
from slmesh.mesh.catalog import find_manifest
from slmesh.mesh.context import RequestContext
from slmesh.mesh.host import ServiceHost
from slmesh.mesh.metrics import Metrics
from slmesh.mesh.settings import Settings
from slmesh.weights.fetch import silent

pytest.importorskip("sklearn")

ALERTS = Path(__file__).resolve().parents[2] / "infra" / "observability" / "alerts.yml"
ELSEWHERE = [
    f"{verb} {thing} {when}"
    for verb in ("play", "translate", "what is the weather in", "set an alarm for", "tell me about")
    for thing in ("paris", "some jazz", "the news", "monday", "my sister", "football", "hello")
    for when in ("now", "tomorrow", "tonight", "at noon", "next week", "in spanish")
]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    home = tmp_path_factory.mktemp("drift")
    file = write_csv(home / "my.csv", rows_of_topics())
    order = Order("topics", "classify", file, home / "services", backbone="")
    make_service(order, home / "cache", silent, lambda findings: None)
    return Settings(service_path=(home / "services",), state_dir=home / "state")


def threshold() -> float:
    """Return what the alarm's expression compares the largest score of a service with."""
    content = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))
    rules = {rule["alert"]: rule["expr"] for group in content["groups"] for rule in group["rules"]}
    found = re.fullmatch(
        r"max by \(service\) \(slmesh_drift_score\) > ([0-9.]+)", rules["InputsDrift"]
    )
    assert found is not None
    return float(found[1])


async def exported(settings: Settings, texts: list[str]) -> float:
    """Return the gauge of a service that was asked some texts, as Prometheus would read it."""
    metrics = Metrics()
    host = ServiceHost(find_manifest("topics", settings), settings, metrics, None)
    await host.start()
    try:
        for text in texts:
            await host._answer_one(ClassifyRequest(text=text), RequestContext())
        value = metrics.registry.get_sample_value("slmesh_drift_score", {"service": "topics"})
    finally:
        await host.close()
    assert value is not None
    return value


async def test_the_alarm_stays_quiet_on_what_the_model_was_made_for(settings):
    texts = [text for text, _ in rows_of_topics()]
    assert await exported(settings, texts) < threshold()


async def test_the_alarm_fires_on_something_else(settings):
    assert await exported(settings, ELSEWHERE) > threshold()


async def test_the_alarm_fires_when_half_is_something_else(settings):
    texts = [text for text, _ in rows_of_topics()][::2]
    assert await exported(settings, texts + ELSEWHERE[: len(texts)]) > threshold()
