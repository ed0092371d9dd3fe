"""The wheel alone, in an empty environment: no Ray, no torch, no checkout, and an answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(ROOT)],
        check=True,
        timeout=300,
    )
    (built,) = folder.glob("slmesh-*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    home = tmp_path_factory.mktemp("venv")
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*install, str(wheel)], check=True, timeout=600)
    return python


def test_the_wheel_carries_services_and_bundles(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "slmesh/slm/intent/service.yaml" in names
    assert any(name.startswith("slmesh/bundles/intent/") for name in names)
    assert "slmesh/py.typed" in names


def test_the_wheel_is_small(wheel):
    assert wheel.stat().st_size < 40 * 2**20


def run(python: Path, folder: Path, code: str) -> str:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("SLMESH_", "PYTHON"))}
    done = subprocess.run(
        [str(python), "-W", "error", "-c", code],
        cwd=folder,
        env=clean,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_answers_from_the_bundles_of_the_wheel(python, tmp_path):
    code = """
import json, sys, time
started = time.perf_counter()
import slmesh
from slmesh.api.classify.v1.classify_pb2 import ClassifyRequest
with slmesh.Blocking(slmesh.Mesh.local()) as mesh:
    answer = mesh.classify("intent", ClassifyRequest(text="My card has not arrived yet"))
    seconds = time.perf_counter() - started
heavy = {"ray", "torch", "transformers"} & set(sys.modules)
print(json.dumps([answer.labels.labels[0].name, answer.provenance.tier, seconds, sorted(heavy)]))
"""
    label, tier, seconds, heavy = json.loads(run(python, tmp_path, code))
    assert label == "card_arrival"
    assert tier == "linear"
    assert heavy == []
    assert seconds < 30  # a bound against a hang; `slmesh bench startup` measures


@pytest.mark.parametrize("package", ["ray", "torch", "transformers"])
def test_heavy_packages_are_not_installed(python, tmp_path, package):
    found = run(python, tmp_path, f"import importlib.util as u; print(u.find_spec({package!r}))")
    assert found.strip() == "None"


def test_a_flow_runs_from_the_wheel(python, tmp_path):
    code = """
import slmesh
from slmesh.api.route.v1.route_pb2 import RouteRequest
with slmesh.Blocking(slmesh.Mesh.local()) as mesh:
    decision = mesh.route(RouteRequest(flow="support", text="How do I change my PIN?")).decision
    print(decision.answer.text)
"""
    assert run(python, tmp_path, code).strip()


def test_the_command_says_which_extra_is_missing(python, tmp_path):
    done = subprocess.run(
        [str(python.parent / "slmesh"), "up"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "pip install 'slmesh[mesh,reasoner]'" in done.stderr
