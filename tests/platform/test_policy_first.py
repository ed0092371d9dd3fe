"""A mesh with a wrong policy or key does not start: nothing would be allowed to talk."""

from __future__ import annotations

import pytest
from tests.services import settings_for, write_service

from slmesh.mesh.errors import FailedPrecondition
from slmesh.platform.state import MeshState
from slmesh.platform.supervisor import Supervisor


@pytest.fixture
def settings(tmp_path):
    write_service(tmp_path, "echo")
    return settings_for(tmp_path, policy_path=(tmp_path,), mesh_key=tmp_path / "key")


@pytest.mark.parametrize(
    ("policy", "key", "reason"),
    [
        pytest.param("permit (", "k" * 64, "INVALID_POLICY", id="policy"),
        pytest.param("// nothing more", "short", "MESH_KEY_UNUSABLE", id="key"),
    ],
)
def test_nothing_is_started_and_the_folder_is_free_again(settings, tmp_path, policy, key, reason):
    (tmp_path / "x.cedar").write_text(policy)
    (tmp_path / "key").write_text(key)
    mesh = Supervisor(settings, services=["echo"])
    with pytest.raises(FailedPrecondition) as caught:
        mesh.start()
    assert caught.value.reason == reason
    assert not MeshState(settings.state_dir).is_held()
