"""Every pod of a deployment has the key of the mesh and the same policies."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from slmesh.cli.app import app
from slmesh.deploy import DeployOptions, render
from slmesh.mesh.errors import FailedPrecondition, InvalidArgument
from slmesh.mesh.manifest import Manifest
from slmesh.mesh.settings import load_settings
from slmesh.policy.policy_book import load_policies

OPTIONS = DeployOptions(image="slmesh:test")
RULE = '@id("no-direct-calls") forbid (principal is Direct, action, resource);\n'
CLOSED = dataclasses.replace(OPTIONS, policy_files={"closed.cedar": RULE})
Object = dict[str, Any]


def pod_specs(objects: list[Object]) -> list[Object]:
    """Return every pod that a rendered object makes."""
    found: list[Object] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if "containers" in value and "volumes" in value:
                found.append(value)
            for item in value.values():
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)

    walk(objects)
    return found


def test_every_pod_mounts_the_key_as_a_secret_and_reads_it_there(manifests: list[Manifest]) -> None:
    objects = render(manifests, OPTIONS)
    pods = pod_specs(objects)
    assert len(pods) >= 3
    for spec in pods:
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        assert volumes["mesh-key"]["secret"]["secretName"] == "slmesh-mesh-key"
        mounts = {m["name"]: m for m in spec["containers"][0]["volumeMounts"]}
        assert mounts["mesh-key"]["readOnly"]
    for settings in config_maps(objects, "slmesh-settings-"):
        where = load_settings(settings["data"]).mesh_key
        assert where == Path(mounts["mesh-key"]["mountPath"]) / "mesh.key"


def config_maps(objects: list[Object], prefix: str) -> list[Object]:
    """Return the config maps whose name starts with a prefix."""
    found = [o for o in objects if o["kind"] == "ConfigMap"]
    return [o for o in found if o["metadata"]["name"].startswith(prefix)]


def test_policies_go_along_as_a_config_map_that_every_pod_mounts(manifests: list[Manifest]) -> None:
    objects = render(manifests, CLOSED)
    (policy,) = config_maps(objects, "slmesh-policy")
    assert policy["data"] == {"closed.cedar": RULE}
    for spec in pod_specs(objects):
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        assert volumes["policy"]["configMap"]["name"] == "slmesh-policy"
    for settings in config_maps(objects, "slmesh-settings-"):
        (folder,) = load_settings(settings["data"]).policy_path
        mounts = {m["name"]: m["mountPath"] for m in spec["containers"][0]["volumeMounts"]}
        assert str(folder) == mounts["policy"]


def test_without_policies_of_ones_own_nothing_is_mounted(manifests: list[Manifest]) -> None:
    objects = render(manifests, OPTIONS)
    assert config_maps(objects, "slmesh-policy") == []
    names = {volume["name"] for spec in pod_specs(objects) for volume in spec["volumes"]}
    assert "policy" not in names


def test_a_changed_policy_makes_new_pods(manifests: list[Manifest]) -> None:
    def annotations(options: DeployOptions) -> list[Any]:
        text = yaml.safe_dump(render(manifests, options))
        return [line for line in text.splitlines() if "-digest" in line]

    assert len(annotations(CLOSED)) >= 3
    changed = dataclasses.replace(CLOSED, policy_files={"closed.cedar": RULE + "// why\n"})
    assert not set(annotations(CLOSED)) & set(annotations(changed))


def test_both_sides_of_a_call_know_where_the_reasoner_is(manifests: list[Manifest]) -> None:
    remote = dataclasses.replace(
        OPTIONS, reasoner_base_url="https://models.example/v1", reasoner_model="m"
    )
    for settings in config_maps(render(manifests, remote), "slmesh-settings-"):
        assert load_settings(settings["data"]).reasoner_base_url == "https://models.example/v1"


def test_a_deployment_without_a_key_is_refused() -> None:
    with pytest.raises(InvalidArgument) as caught:
        DeployOptions(image="slmesh:test", mesh_key_secret="")
    assert caught.value.field == "mesh_key_secret"


def test_the_command_takes_the_policies_of_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLMESH_POLICY_PATH", str(tmp_path))
    (tmp_path / "closed.cedar").write_text(RULE)
    result = CliRunner().invoke(app, ["deploy", "render", "--image", "slmesh:test"])
    assert result.exit_code == 0, result.output
    (policy,) = config_maps(list(yaml.safe_load_all(result.stdout)), "slmesh-policy")
    assert policy["data"] == {"closed.cedar": RULE}
    (tmp_path / "closed.cedar").write_text("permit (")
    broken = CliRunner().invoke(app, ["deploy", "render", "--image", "slmesh:test"])
    assert isinstance(broken.exception, FailedPrecondition)
    assert "closed.cedar:1" in str(broken.exception)


def test_the_example_policies_are_valid_and_do_what_their_table_expects(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = repository / "infra" / "policy"
    book = load_policies(load_settings({}, policy_path=(folder,)))
    assert book.tenants
    monkeypatch.setenv("SLMESH_POLICY_PATH", str(folder))
    result = CliRunner().invoke(app, ["policy", "test"])
    assert result.exit_code == 0, result.output
