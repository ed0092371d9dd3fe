"""Counts and quantiles out of Prometheus' text."""

import math

import pytest

from slmesh.mesh.metrics import Metrics, MetricsServer
from slmesh.platform.measured import Requests, quantile, read_metrics, requests_by_service


@pytest.mark.parametrize(
    ("buckets", "share", "expected"),
    [
        pytest.param({}, 0.5, None, id="nothing"),
        pytest.param({1.0: 0, math.inf: 0}, 0.5, None, id="no-count"),
        pytest.param({1.0: 10, 2.0: 10, math.inf: 10}, 0.5, 0.5, id="inside-the-first"),
        pytest.param({1.0: 0, 2.0: 10, math.inf: 10}, 0.5, 1.5, id="inside-the-second"),
        pytest.param({1.0: 5, 2.0: 10, math.inf: 10}, 0.5, 1.0, id="on-a-bound"),
        pytest.param({1.0: 5, 2.0: 5, math.inf: 10}, 0.99, 2.0, id="above-the-last"),
        pytest.param({1.0: 99, 2.0: 100, math.inf: 100}, 0.99, 1.0, id="p99"),
    ],
)
def test_a_quantile_is_estimated_within_its_bucket(buckets, share, expected):
    assert quantile(buckets, share) == expected


@pytest.fixture
def metrics():
    found = Metrics()
    for code, count in (("OK", 8), ("INTERNAL", 1), ("UNAVAILABLE", 1)):
        found.requests.labels("intent", "Classify", code).inc(count)
    for _ in range(10):
        found.request_seconds.labels("intent", "Classify").observe(0.004)
    return found


def test_requests_are_read_from_a_metrics_port(metrics):
    server = MetricsServer.start(metrics, "127.0.0.1")
    text = read_metrics(f"127.0.0.1:{server.port}")
    server.close()
    requests = requests_by_service([text])["intent"]
    assert (requests.finished, requests.errors) == (10, 2)
    assert 3 <= requests.quantile_ms(0.5) <= 5


def test_replicas_of_one_service_are_added_up(metrics):
    server = MetricsServer.start(metrics, "127.0.0.1")
    text = read_metrics(f"127.0.0.1:{server.port}")
    server.close()
    assert requests_by_service([text, text])["intent"].finished == 20


def test_a_process_that_is_gone_has_no_metrics():
    assert read_metrics("127.0.0.1:1") == ""


def test_no_request_has_no_quantile():
    assert Requests().quantile_ms(0.5) is None
