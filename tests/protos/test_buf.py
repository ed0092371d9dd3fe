"""The contracts keep their style, and no change to them breaks a client that is already built."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PROTOS = REPOSITORY / "protos"
BASELINE = PROTOS / "baseline.binpb"
RENAMED_FIELD = ("slmesh/api/classify/v1/classify.proto", "string text = 1", "string body = 1")
RENUMBERED_FIELD = ("slmesh/api/score/v1/score.proto", "scales = 2", "scales = 7")
RETYPED_FIELD = ("slmesh/api/types/v1/span.proto", "int32 end = 2", "int64 end = 2")
RENAMED_RPC = ("slmesh/api/guard/v1/guard.proto", "rpc Screen(", "rpc Inspect(")
NEW_FIELD = (
    "slmesh/api/types/v1/span.proto",
    "int32 end = 2;",
    "int32 end = 2;\n  // Line is the number of the line, from 1.\n  int32 line = 3;",
)


def run_buf(*arguments: str | Path, cache: Path) -> subprocess.CompletedProcess[str]:
    """Run buf as a developer does, with its cache in a folder of the test."""
    installed = Path(sys.executable).with_name("buf")
    program = str(installed) if installed.exists() else shutil.which("buf")
    assert program, "buf is missing: install the development extra (package buf-bin)"
    return subprocess.run(
        [program, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "BUF_CACHE_DIR": str(cache)},
        timeout=60,
        check=False,
    )


def edited_copy(folder: Path, edit: tuple[str, str, str]) -> Path:
    """Copy the contracts into a folder and replace one piece of text in one of them."""
    name, before, after = edit
    copy = folder / "protos"
    shutil.copytree(PROTOS, copy)
    source = (copy / name).read_text()
    assert before in source, f"{name} has no {before!r} to edit"
    (copy / name).write_text(source.replace(before, after))
    return copy


def test_the_contracts_pass_the_lint_rules(tmp_path: Path) -> None:
    result = run_buf("lint", PROTOS, cache=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_contracts_are_compatible_with_the_committed_baseline(tmp_path: Path) -> None:
    result = run_buf("breaking", PROTOS, "--against", BASELINE, cache=tmp_path)
    assert result.returncode == 0, (
        "these changes break clients; keep the old element, or rewrite the baseline with\n"
        "`buf build protos --exclude-source-info -o protos/baseline.binpb` in a commit that says "
        f"why:\n{result.stdout}{result.stderr}"
    )


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(RENAMED_FIELD, id="renamed-field"),
        pytest.param(RENUMBERED_FIELD, id="renumbered-field"),
        pytest.param(RETYPED_FIELD, id="retyped-field"),
        pytest.param(RENAMED_RPC, id="renamed-rpc"),
    ],
)
def test_a_breaking_edit_is_refused(edit: tuple[str, str, str], tmp_path: Path) -> None:
    copy = edited_copy(tmp_path, edit)
    result = run_buf("breaking", copy, "--against", BASELINE, cache=tmp_path / "cache")
    assert result.returncode == 100, result.stdout + result.stderr
    assert edit[0] in result.stdout


def test_a_new_field_is_compatible(tmp_path: Path) -> None:
    copy = edited_copy(tmp_path, NEW_FIELD)
    result = run_buf("breaking", copy, "--against", BASELINE, cache=tmp_path / "cache")
    assert result.returncode == 0, result.stdout + result.stderr


def test_an_image_built_twice_has_the_same_bytes(tmp_path: Path) -> None:
    images = [tmp_path / "first.binpb", tmp_path / "second.binpb"]
    for image in images:
        result = run_buf(
            "build", PROTOS, "--exclude-source-info", "-o", image, cache=tmp_path / "cache"
        )
        assert result.returncode == 0, result.stderr
    assert images[0].read_bytes() == images[1].read_bytes()
