"""The README's blocks, run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.factory.own_file import rows_of_topics, write_csv

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(
    r"(?:<!-- file: (?P<file>\S+) -->\n)?```(?P<language>\w+)\n(?P<code>.*?)```", re.DOTALL
)
BLOCKS = [match.groupdict() for match in BLOCK.finditer(README.read_text(encoding="utf-8"))]
FILES = [block for block in BLOCKS if block["file"]]
PYTHON = [block["code"] for block in BLOCKS if block["language"] == "python" and not block["file"]]
SHELL = [block["code"] for block in BLOCKS if block["language"] == "sh"]


def run(command: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SLMESH_")}
    paths = {"SLMESH_CACHE_DIR": str(README.parent / ".slmesh" / "cache")}
    paths["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command,
        cwd=folder,
        env=clean | paths | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("code", PYTHON, ids=range(len(PYTHON)))
def test_a_python_block_runs_and_prints(code, tmp_path):
    done = run([sys.executable, "-W", "error", "-c", code], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_walk_through_adds_a_model_with_two_files(tmp_path):
    assert sorted(Path(block["file"]).name for block in FILES) == ["service.py", "service.yaml"]
    for block in FILES:
        path = tmp_path / block["file"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block["code"])
    (walk_through,) = [code for code in SHELL if "_PATH" in code and "slmesh new" not in code]
    done = run(["bash", "-euc", walk_through], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("shouted 1.00")
    assert '"name": "calm"' in done.stdout


def test_the_walk_through_makes_a_service_from_a_file(tmp_path):
    pytest.importorskip("sklearn")
    pytest.importorskip("torch")
    write_csv(tmp_path / "my.csv", rows_of_topics())
    (walk_through,) = [code for code in SHELL if "slmesh new" in code]
    done = run(["bash", "-euc", walk_through], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("delivery ")


def test_the_first_block_is_the_two_commands():
    assert [line.split("#")[0].strip() for line in SHELL[0].splitlines()] == [
        "make demo",
        "make test",
    ]


COMMANDS = [
    line for code in SHELL for line in code.splitlines() if line.startswith("slmesh ")
    and "--local" not in line and not line.startswith("slmesh new")
]  # fmt: skip


@pytest.mark.e2e
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_runs_against_a_mesh_that_is_up(command, running_mesh, tmp_path):
    done = run(["bash", "-euc", command], tmp_path, **running_mesh.environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)\)", README.read_text(encoding="utf-8")))
def test_a_link_leads_to_a_file(link):
    assert (README.parent / link).exists()
