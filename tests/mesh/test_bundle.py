"""Bundles: verified before use, refused with the file and both digests."""

from __future__ import annotations

import json

import numpy as np
import pytest

from slmesh.mesh.bundle import find_bundle, load_bundle, write_bundle
from slmesh.mesh.errors import FailedPrecondition, NotFound

CONTENT = {
    "name": "toy",
    "version": "0.1.0",
    "contract": "classify/v1",
    "label_set": {"labels": ["b", "a"]},
    "tiers": ["linear"],
}


def write(folder, **changes):
    return write_bundle(
        folder, CONTENT | changes, {"w": np.arange(4, dtype=np.float16)}, {"card.md": "# toy\n"}
    )


def test_a_bundle_survives_the_disk(tmp_path):
    bundle = write(tmp_path / "toy" / "0.1.0")
    assert bundle.labels == ("b", "a")
    assert bundle.tensors()["w"].tolist() == [0, 1, 2, 3]
    assert bundle.provenance("s", "linear").digest == bundle.digest


def test_an_array_keeps_its_rows_whatever_its_order_in_memory(tmp_path):
    array = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    bundle = write_bundle(tmp_path / "b", CONTENT, {"w": array}, {})
    assert bundle.tensors()["w"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_the_label_set_revision_follows_the_set_and_not_its_order(tmp_path):
    one = write(tmp_path / "1")
    two = write(tmp_path / "2", label_set={"labels": ["a", "b"]})
    three = write(tmp_path / "3", label_set={"labels": ["a", "b", "c"]})
    assert one.label_set_revision == two.label_set_revision != three.label_set_revision


@pytest.mark.parametrize("name", ["weights.safetensors", "card.md"])
def test_a_changed_file_is_refused_with_both_digests(tmp_path, name):
    bundle = write(tmp_path / "b")
    path = tmp_path / "b" / name
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(FailedPrecondition) as caught:
        load_bundle(tmp_path / "b")
    assert caught.value.reason == "DIGEST_MISMATCH"
    assert caught.value.metadata["file"] == name
    assert caught.value.metadata["expected"] == bundle.content["files"][name]
    assert caught.value.metadata["found"] != caught.value.metadata["expected"]


def test_a_missing_file_is_refused_by_name(tmp_path):
    write(tmp_path / "b")
    (tmp_path / "b" / "card.md").unlink()
    with pytest.raises(FailedPrecondition, match=r"card\.md is missing"):
        load_bundle(tmp_path / "b")


def edited(folder, **changes):
    path = folder / "bundle.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_changed_number_in_the_manifest_is_refused(tmp_path):
    write(tmp_path / "b", thresholds={"accept": 0.5})
    edited(tmp_path / "b", thresholds={"accept": 0.1})
    with pytest.raises(FailedPrecondition, match="expected sha256"):
        load_bundle(tmp_path / "b")


def test_a_file_outside_the_folder_is_refused(tmp_path):
    write(tmp_path / "b")
    edited(tmp_path / "b", files={"../secret": "sha256:0"})
    with pytest.raises(FailedPrecondition, match="not a file of the bundle"):
        load_bundle(tmp_path / "b")


def test_a_bundle_of_another_format_is_refused(tmp_path):
    write(tmp_path / "b")
    edited(tmp_path / "b", format=2)
    with pytest.raises(FailedPrecondition, match="format 2"):
        load_bundle(tmp_path / "b")


def test_the_newest_version_is_found_by_number_and_not_by_letter(tmp_path):
    for version in ("0.9.0", "0.10.0", "0.2.0"):
        write(tmp_path / "toy" / version, version=version)
    assert find_bundle("toy", [tmp_path]).name == "0.10.0"
    assert find_bundle("toy@0.2.0", [tmp_path]).name == "0.2.0"


@pytest.mark.parametrize(
    ("reference", "message"),
    [("tou", "did you mean 'toy'"), ("toy@0.1.1", "did you mean '0.1.0'")],
)
def test_an_unknown_bundle_suggests_the_nearest(tmp_path, reference, message):
    write(tmp_path / "toy" / "0.1.0")
    with pytest.raises(NotFound, match=message):
        find_bundle(reference, [tmp_path])
