"""The alerts speak of metrics the mesh has, with labels those have."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Counter, Gauge, Histogram

from slmesh.mesh.metrics import Metrics
from slmesh.mesh.settings import Settings

FOLDER = Path(__file__).resolve().parents[2] / "infra" / "observability"
SUFFIXES = {Counter: ("_total",), Gauge: ("",), Histogram: ("_bucket", "_sum", "_count")}
FROM_PROMETHEUS = {"up": {"job", "instance"}}
ADDED_BY_PROMETHEUS = {"job", "instance", "le"}


def alerts() -> list[dict[str, Any]]:
    """Read every alert."""
    content = yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))
    return [rule for group in content["groups"] for rule in group["rules"]]


def exported() -> dict[str, set[str]]:
    """Return the labels of every time series the mesh exports, by its name."""
    metrics = [m for m in vars(Metrics()).values() if isinstance(m, tuple(SUFFIXES))]
    return {
        metric._name + suffix: set(metric._labelnames)
        for metric in metrics
        for suffix in SUFFIXES[type(metric)]
    }


each_alert = pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])


@each_alert
def test_an_alert_uses_series_and_labels_that_exist(alert: dict[str, Any]) -> None:
    known = exported() | FROM_PROMETHEUS
    expression = re.sub(r"\s+", " ", alert["expr"])
    names = set(re.findall(r"\b(slmesh_[a-z_]+|up)\b", expression))
    assert names
    assert names <= known.keys()
    labels = ADDED_BY_PROMETHEUS.union(*(known[name] for name in names))
    grouped = {
        label.strip()
        for found in re.findall(r"by \(([^)]*)\)", expression)
        for label in found.split(",")
    }
    matched = set(re.findall(r'([a-z_]+)(?:=~|!~|!=|=)"', expression))
    assert grouped | matched <= labels


@each_alert
def test_an_alert_says_what_happened_and_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"page", "ticket"}
    assert alert["annotations"].keys() == {"summary", "action"}
    shown = set(re.findall(r"\$labels\.([a-z]+)", alert["annotations"]["summary"]))
    kept = set(re.findall(r"by \(([a-z]+)", alert["expr"])) or {"instance", "job"}
    assert shown <= kept


@each_alert
def test_the_brackets_of_an_expression_match(alert: dict[str, Any]) -> None:
    for opening, closing in ("()", "[]", "{}"):
        assert alert["expr"].count(opening) == alert["expr"].count(closing)


def test_every_failure_of_a_service_has_an_alert() -> None:
    assert {alert["alert"] for alert in alerts()} >= {
        "ServiceDown",
        "ErrorRatioHigh",
        "LatencyOverBudget",
        "QueueNearlyFull",
    }


def test_prometheus_reads_the_alerts_and_the_list_of_targets() -> None:
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
    assert all((FOLDER / name).exists() for name in config["rule_files"])
    (job,) = config["scrape_configs"]
    (pattern,) = job["file_sd_configs"][0]["files"]
    assert Settings().state_dir.name in Path(pattern).parts
    assert any(f'job="{job["job_name"]}"' in alert["expr"] for alert in alerts())
