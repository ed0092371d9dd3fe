"""Signing a bundle and asking who signed it, by the command."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from tests.mesh.test_signature import write_pair, written
from tests.services import run_slmesh

pytest.importorskip("cryptography")


def test_a_bundle_is_signed_and_its_signer_is_shown(tmp_path: Path) -> None:
    written(tmp_path / "echo" / "0.1.0")
    private = write_pair(tmp_path, "release")
    slmesh = partial(run_slmesh, "models", folder=tmp_path, SLMESH_SERVICE_PATH=str(tmp_path))
    trusted = {"SLMESH_TRUSTED_KEYS": str(tmp_path / "trusted")}
    refused = slmesh("verify", "echo", **trusted)
    assert refused.returncode == 1
    assert "is not signed" in refused.stdout
    assert slmesh("sign", "echo", "--key", str(private)).returncode == 0
    assert "signed by release" in slmesh("verify", "echo", **trusted).stdout
