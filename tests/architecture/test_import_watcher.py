"""The watcher of imports sees what it is there to see."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

WATCHER = Path(__file__).with_name("import_watcher.py")


@pytest.mark.parametrize(
    ("source", "finding"),
    [
        pytest.param("open('left.txt', 'w').close()", "written", id="file"),
        pytest.param(
            "import socket\nsocket.socket().bind(('127.0.0.1', 0))", "connected", id="socket"
        ),
        pytest.param(
            "import threading\nthreading.Thread(target=int).start()", "started", id="thread"
        ),
        pytest.param("import os\nos.environ.get('HOME')", "environment_reads", id="reads"),
        pytest.param("import os\nos.environ['LEFT'] = '1'", "environment_changes", id="changes"),
        pytest.param("raise ValueError('broken')", "failed", id="failure"),
    ],
)
def test_a_module_that_acts_is_found(source: str, finding: str, tmp_path: Path) -> None:
    report = watch(source, tmp_path)
    assert report.pop(finding)
    innocent = {key for key in report if not key.startswith("logging")}
    assert not any(report[key] for key in innocent)


def test_a_logging_handler_is_found(tmp_path: Path) -> None:
    report = watch("import logging\nlogging.basicConfig()", tmp_path)
    assert report["logging_before"] != report["logging_after"]


def watch(source: str, folder: Path) -> dict[str, object]:
    """Import one module under the watcher."""
    (folder / "acting.py").write_text(source)
    order = {"sources": str(folder), "heavy": [], "light": [], "all": ["acting"], "foreign": []}
    process = subprocess.run(
        [sys.executable, "-I", "-B", str(WATCHER)],
        input=json.dumps(order),
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=60,
        check=True,
    )
    report: dict[str, object] = json.loads(process.stdout.splitlines()[-1])
    return report
