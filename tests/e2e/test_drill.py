"""The kill drill on a real mesh of the shipped services: quick, one fault of one service."""

from __future__ import annotations

import pytest
from tests.running_mesh import ROOT

from slmesh.bench.drill.drill import DrillOptions, run
from slmesh.mesh.settings import Settings

pytestmark = pytest.mark.e2e

TIMES = "their p99 against no fault, at most 1.5x"  # a machine that runs tests is no place for it


def test_a_service_that_takes_memory_hits_itself_and_nobody_else(tmp_path):
    settings = Settings(state_dir=tmp_path, cache_dir=ROOT / ".slmesh" / "cache")
    options = DrillOptions(calls=200, services=["triage"], faults=["hog"], saturation_s=1.0)
    found = run(settings, options)
    missed = [row for row in found["targets"] if not row["kept"] and row["target"] != TIMES]
    assert missed == [], found
    (recovery,) = found["recoveries"]
    assert recovery["problem"] == ""
    quiet, hit = found["flows"]
    assert quiet["correct"] == quiet["requests"] > 0
    assert hit["degraded"] > 0
    assert hit["correct"] + hit["degraded"] == hit["requests"]
    assert sum(row["calls"] for row in found["others"]) >= 200
