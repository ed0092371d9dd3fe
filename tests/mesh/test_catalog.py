"""Finding services: the package, the service path, entry points."""

from __future__ import annotations

import sys

import pytest
from tests.services import settings_for, write_service

from slmesh.mesh.catalog import discover, find_manifest, open_service
from slmesh.mesh.errors import FailedPrecondition, NotFound


def test_the_packages_own_services_are_found_without_a_list(tmp_path):
    found = discover(settings_for(tmp_path))
    assert {"intent", "assistant", "entities", "passages", "guard", "triage"} <= set(found)
    assert found["reasoner"].contract == "reason"


def test_a_service_in_the_service_path_is_found(tmp_path):
    write_service(tmp_path, "mine")
    assert find_manifest("mine", settings_for(tmp_path)).folder == (tmp_path / "mine").resolve()


def test_a_users_service_stands_above_the_packages_own(tmp_path):
    write_service(tmp_path, "intent")
    assert discover(settings_for(tmp_path))["intent"].class_name == "Echo"


def test_two_services_of_one_name_in_one_folder_are_refused(tmp_path):
    write_service(tmp_path, "one")
    second = write_service(tmp_path, "two")
    (second / "service.yaml").write_text("name: one\ncontract: classify\nclass: Echo\n")
    with pytest.raises(FailedPrecondition, match="has a service 'one' too"):
        discover(settings_for(tmp_path))


def test_an_unknown_service_suggests_the_nearest(tmp_path):
    with pytest.raises(NotFound, match="did you mean 'intent'"):
        find_manifest("intnt", settings_for(tmp_path))


def test_an_entry_point_brings_a_package_of_services(tmp_path, monkeypatch):
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    assert "plugged" not in discover(settings_for(tmp_path / "none"))
    # installed while the process runs
    plugin = site / "slmesh_plugin"
    write_service(plugin, "plugged")
    (plugin / "__init__.py").write_text("raise RuntimeError('finding must not import')\n")
    info = site / "slmesh_plugin-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: slmesh-plugin\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[slmesh.services]\nplugin = slmesh_plugin\n")
    assert "plugged" in discover(settings_for(tmp_path / "none"))


def test_a_misspelt_class_suggests_the_nearest(tmp_path):
    write_service(tmp_path, "mine", class_name="Ech")
    with pytest.raises(FailedPrecondition, match="did you mean 'Echo'"):
        open_service(find_manifest("mine", settings_for(tmp_path)), settings_for(tmp_path))


def test_a_service_without_code_is_refused(tmp_path):
    (write_service(tmp_path, "mine") / "service.py").unlink()
    with pytest.raises(FailedPrecondition, match=r"no service\.py"):
        open_service(find_manifest("mine", settings_for(tmp_path)), settings_for(tmp_path))


def test_a_missing_model_is_named(tmp_path):
    write_service(tmp_path, "mine", model="nothing-like-it")
    with pytest.raises(NotFound, match="no model 'nothing-like-it'"):
        open_service(find_manifest("mine", settings_for(tmp_path)), settings_for(tmp_path))


def test_the_environment_sets_the_reasoners_engine(tmp_path):
    settings = settings_for(tmp_path, reasoner_engine="openai", reasoner_model="some-model")
    options = discover(settings)["reasoner"].options
    assert (options["engine"], options["model"]) == ("openai", "some-model")
