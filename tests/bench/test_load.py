"""Measuring calls: what is counted, in turns, over real servers without Ray."""

from __future__ import annotations

from slmesh.bench.chains import bare_chain
from slmesh.bench.hop import BARE, FALLBACK, INGRESS, MESH, MESH_OFF, SERVE, ratios
from slmesh.bench.load import Measured, measure
from slmesh.bench.machine import machine
from slmesh.bench.memory import name_of


async def test_two_bare_hops_are_measured():
    with bare_chain("bare") as target:
        results = await measure([target], rounds=2, calls=5, seconds=0.1, in_flight=4)
    medians = results["bare"].medians()
    assert 0 < medians["p50_ms"] <= medians["p99_ms"]
    assert medians["per_second"] > 10
    assert len(results["bare"].p50_ms) == 2, "the first round warms up and does not count"


def test_a_result_is_the_median_of_its_rounds():
    measured = Measured(p50_ms=[1, 9, 2], p99_ms=[5, 4, 3], per_second=[100, 300, 200])
    assert measured.medians() == {"p50_ms": 2, "p99_ms": 4, "per_second": 200}


def test_ratios_are_those_that_are_promised():
    figures = {
        BARE: (1.0, 1000.0),
        MESH: (1.9, 600.0),
        MESH_OFF: (1.5, 700.0),
        SERVE: (9.0, 150.0),
        INGRESS: (1.0, 900.0),
        FALLBACK: (2.0, 450.0),
    }
    chains = {name: {"p50_ms": p50, "per_second": rate} for name, (p50, rate) in figures.items()}
    assert ratios(chains) == {
        "p50_to_bare_off": 1.5,
        "p50_to_bare_shipped": 1.9,
        "throughput_to_serve": 4.0,
        "throughput_to_bare": 0.6,
        "p50_without_haproxy": 2.0,
        "throughput_without_haproxy": 0.5,
    }


def test_a_machine_tells_what_figures_depend_on():
    assert {"cores", "load_average", "python", "ray", "grpcio"} <= set(machine())


def test_a_process_is_named_without_the_paths_of_the_machine():
    import os

    assert "/" not in name_of(os.getpid())
