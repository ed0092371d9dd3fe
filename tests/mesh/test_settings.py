"""Settings and the one place that reads the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from slmesh.mesh.errors import FailedPrecondition
from slmesh.mesh.settings import Settings, load_settings


def test_code_stands_above_the_environment_and_that_above_the_default():
    environment = {"SLMESH_ROUTER_PORT": "7000", "SLMESH_HOST": "0.0.0.0"}
    settings = load_settings(environment, host="::1")
    assert (settings.host, settings.router_port, settings.ingress_port) == ("::1", 7000, 50052)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("SLMESH_ROUTER_PRT", "1", "did you mean 'SLMESH_ROUTER_PORT'"),
        ("SLMESH_ROUTER_PORT", "many", "must be int, is 'many'"),
        ("SLMESH_BOUNDARY_INSTRUMENTS", "perhaps", "must be bool"),
    ],
)
def test_a_wrong_variable_fails_at_start(name, text, message):
    with pytest.raises(FailedPrecondition, match=message):
        load_settings({name: text})


def test_a_child_process_loads_the_same_settings(tmp_path):
    sent = Settings(
        state_dir=tmp_path / "state",
        service_path=(tmp_path / "a", tmp_path / "b"),
        router_port=7001,
        boundary_instruments=False,
        consul_token="secret",
    )
    assert load_settings(sent.to_environment()) == sent


def test_the_cache_lies_in_the_state_folder_unless_set():
    assert load_settings({"SLMESH_STATE_DIR": "/s"}).cache_dir == Path("/s/cache")
    assert load_settings({"SLMESH_CACHE_DIR": "/c"}).cache_dir == Path("/c")


def test_secrets_are_not_printed():
    assert "hush" not in repr(Settings(consul_token="hush", reasoner_api_key="hush"))
