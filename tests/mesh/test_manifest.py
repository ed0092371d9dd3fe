"""What service.yaml may say."""

from __future__ import annotations

import pytest

from slmesh.mesh.errors import FailedPrecondition
from slmesh.mesh.manifest import load_manifest

GOOD = "name: intent\ncontract: classify\nclass: Intent\n"


def load(tmp_path, text):
    path = tmp_path / "service.yaml"
    path.write_text(text)
    return load_manifest(path)


def test_three_keys_are_enough(tmp_path):
    manifest = load(tmp_path, GOOD)
    assert (manifest.name, manifest.class_name, manifest.replicas) == ("intent", "Intent", 1)
    assert manifest.folder == tmp_path.resolve()


WRONG = [
    pytest.param(
        GOOD + "replica: 2\n", "unknown key 'replica'; did you mean 'replicas'", id="typo"
    ),
    pytest.param("contract: classify\nclass: X\n", "the key 'name' is missing", id="no-name"),
    pytest.param("name: a\ncontract: classify\n", "the key 'class' is missing", id="no-class"),
    pytest.param(
        "name: a\ncontract: clasify\nclass: X\n", "did you mean 'classify'", id="unknown-contract"
    ),
    pytest.param("name: A_b\ncontract: classify\nclass: X\n", "DNS label", id="bad-name"),
    pytest.param(GOOD + "replicas: two\n", "must be int, is str", id="wrong-type"),
    pytest.param(GOOD + "replicas: true\n", "must be int, is bool", id="bool-is-no-number"),
    pytest.param(GOOD + "replicas: 0\n", "replicas must be at least 1", id="zero-replicas"),
    pytest.param(GOOD + "cpus: 0\n", "above 0", id="no-cpus"),
    pytest.param(GOOD + "zone: extrnal\n", "did you mean 'external'", id="unknown-zone"),
    pytest.param("- a\n", "not a mapping", id="a-list"),
    pytest.param("name: [\n", "service.yaml", id="not-yaml"),
    pytest.param(GOOD + "class_name: X\n", "unknown key 'class_name'", id="python-name"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_a_wrong_manifest_says_what_is_wrong(tmp_path, text, message):
    with pytest.raises(FailedPrecondition, match="(?s)" + message) as caught:
        load(tmp_path, text)
    assert "service.yaml" in caught.value.message


def test_it_has_few_keys(tmp_path):
    with pytest.raises(FailedPrecondition) as caught:
        load(tmp_path, GOOD + "zzzzzzzz: 1\n")
    assert len(caught.value.message.split("there are: ")[1].split(",")) <= 17
