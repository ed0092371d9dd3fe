"""Importing a module of the mesh does nothing but define names.

One clean process imports them all under an audit hook. What the third-party packages do at their
own import is not ours, so the process imports those first.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.architecture.source_tree import SOURCES, SourceModule, is_within

WATCHER = Path(__file__).with_name("import_watcher.py")
HEAVY = ("torch", "transformers", "ray", "sklearn")
Report = dict[str, Any]


@pytest.fixture(scope="module")
def report(mesh_modules: list[SourceModule], tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Import everything in a process of its own and return what it saw."""
    names = [m.name for m in mesh_modules if m.path.stem != "__main__"]
    light = [n for n in names if n in {"slmesh", "slmesh.mesh"} or is_within(n, "slmesh.slm")]
    foreign = {n for m in mesh_modules for n, _ in m.imports() if not is_within(n, "slmesh")}
    order = {"sources": str(SOURCES), "heavy": HEAVY, "light": light, "all": names}
    folder = tmp_path_factory.mktemp("empty")
    process = subprocess.run(
        [sys.executable, "-I", "-B", str(WATCHER)],
        input=json.dumps({**order, "foreign": sorted(foreign)}),
        capture_output=True,
        text=True,
        cwd=folder,
        env={"PATH": os.defpath, "HOME": str(folder), "TMPDIR": str(folder)},
        timeout=300,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    found: Report = json.loads(process.stdout.splitlines()[-1])
    return found


def test_every_module_can_be_imported(report: Report) -> None:
    assert report["failed"] == {}


def test_a_small_model_needs_no_heavy_package(report: Report) -> None:
    assert report["heavy_for_light"] == [], "slmesh, slmesh.mesh and slmesh.slm must import fast"


def test_an_import_writes_no_file(report: Report) -> None:
    assert report["written"] == []


def test_an_import_opens_no_connection(report: Report) -> None:
    assert report["connected"] == []


def test_an_import_starts_no_process_and_no_thread(report: Report) -> None:
    assert report["started"] == []


def test_an_import_does_not_read_the_environment(report: Report) -> None:
    assert report["environment_reads"] == []


def test_an_import_does_not_change_the_environment(report: Report) -> None:
    assert report["environment_changes"] == []


def test_an_import_does_not_touch_the_root_logger(report: Report) -> None:
    assert report["logging_before"] == report["logging_after"]
