"""Signing a bundle and asking who signed it, by the command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.mesh.test_signature import write_pair, written

pytest.importorskip("cryptography")


def test_a_bundle_is_signed_and_its_signer_is_shown(tmp_path: Path) -> None:
    written(tmp_path / "echo" / "0.1.0")
    private = write_pair(tmp_path, "release")
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SLMESH_")}
    clean["SLMESH_SERVICE_PATH"] = str(tmp_path)

    def slmesh(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "slmesh.cli", "models", *arguments],
            env=clean | environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )

    trusted = {"SLMESH_TRUSTED_KEYS": str(tmp_path / "trusted")}
    refused = slmesh("verify", "echo", **trusted)
    assert refused.returncode == 1
    assert "is not signed" in refused.stdout
    assert slmesh("sign", "echo", "--key", str(private)).returncode == 0
    assert "signed by release" in slmesh("verify", "echo", **trusted).stdout
