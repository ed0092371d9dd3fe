"""Who signed a bundle, with real keys: what is trusted, and what is refused and why."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.services import write_service

from slmesh.mesh.bundle import Bundle, write_bundle
from slmesh.mesh.catalog import find_manifest, required_bundle
from slmesh.mesh.errors import FailedPrecondition
from slmesh.mesh.settings import Settings, load_settings
from slmesh.mesh.signature import SIGNATURE_FILE, check_signature, sign_bundle

ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
rsa = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.rsa")
serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")

CONTENT = {
    "name": "echo",
    "version": "0.1.0",
    "contract": "classify/v1",
    "label_set": {"labels": ["a", "b"]},
    "tiers": ["linear"],
}


def written(folder: Path, **values: object) -> Bundle:
    return write_bundle(folder, CONTENT | values, {"x": np.zeros(2)}, {"card.md": "card"})


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return written(tmp_path / "models" / "echo" / "0.1.0")


def write_pair(folder: Path, name: str) -> Path:
    """Write a private key beside, and its public half into, the folder of trusted keys."""
    key = ed25519.Ed25519PrivateKey.generate()
    private = folder / f"{name}-private.pem"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    (folder / "trusted").mkdir(exist_ok=True)
    (folder / "trusted" / f"{name}.pem").write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return private


def test_a_signed_bundle_names_its_signer(bundle, tmp_path):
    write_pair(tmp_path, "others")
    sign_bundle(bundle, write_pair(tmp_path, "release"))
    assert check_signature(bundle, tmp_path / "trusted") == "release"


def test_signing_changes_no_digest(bundle, tmp_path):
    sign_bundle(bundle, write_pair(tmp_path, "release"))
    assert written(bundle.folder).digest == bundle.digest


def test_an_unsigned_bundle_is_refused(bundle, tmp_path):
    write_pair(tmp_path, "release")
    with pytest.raises(FailedPrecondition, match=r"is not signed.*models sign") as caught:
        check_signature(bundle, tmp_path / "trusted")
    assert caught.value.reason == "BUNDLE_NOT_SIGNED"


def test_a_signature_of_somebody_else_is_refused(bundle, tmp_path):
    private = write_pair(tmp_path, "stranger")
    (tmp_path / "trusted" / "stranger.pem").unlink()
    write_pair(tmp_path, "release")
    sign_bundle(bundle, private)
    with pytest.raises(FailedPrecondition, match=r"by none of the trusted keys \(release\)"):
        check_signature(bundle, tmp_path / "trusted")


def test_a_bundle_changed_after_it_was_signed_is_refused(bundle, tmp_path):
    sign_bundle(bundle, write_pair(tmp_path, "release"))
    changed = written(bundle.folder, thresholds={"switch": 0.5})
    with pytest.raises(FailedPrecondition, match="was changed since") as caught:
        check_signature(changed, tmp_path / "trusted")
    assert caught.value.reason == "SIGNATURE_REFUSED"


def test_a_signature_moved_to_another_bundle_is_refused(bundle, tmp_path):
    path = sign_bundle(bundle, write_pair(tmp_path, "release"))
    other = written(tmp_path / "models" / "echo" / "0.2.0", version="0.2.0")
    signature = json.loads(path.read_text()) | {"digest": other.digest}
    (other.folder / SIGNATURE_FILE).write_text(json.dumps(signature))
    with pytest.raises(FailedPrecondition, match="by none of the trusted keys"):
        check_signature(other, tmp_path / "trusted")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("not json", id="no-json"),
        pytest.param("[]", id="a-list"),
        pytest.param('{"digest": "sha256:1"}', id="no-signature"),
        pytest.param('{"digest": "sha256:1", "signature": "?"}', id="no-base64"),
    ],
)
def test_a_broken_signature_is_refused(bundle, tmp_path, content):
    write_pair(tmp_path, "release")
    (bundle.folder / SIGNATURE_FILE).write_text(content)
    with pytest.raises(FailedPrecondition, match="cannot be read"):
        check_signature(bundle, tmp_path / "trusted")


def test_a_folder_without_keys_trusts_nobody(bundle, tmp_path):
    with pytest.raises(FailedPrecondition, match=r"no \*\.pem file"):
        check_signature(bundle, tmp_path)


def test_a_key_of_another_kind_is_refused(bundle, tmp_path):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    path = tmp_path / "rsa.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    with pytest.raises(FailedPrecondition, match="not an Ed25519 key"):
        sign_bundle(bundle, path)


def test_a_file_that_is_no_key_is_refused(bundle, tmp_path):
    (tmp_path / "key.pem").write_text("hello")
    with pytest.raises(FailedPrecondition, match="no private key"):
        sign_bundle(bundle, tmp_path / "key.pem")


def service_settings(tmp_path: Path, trusted: Path | None) -> Settings:
    write_service(tmp_path / "services", "echo", model="echo")
    paths = (tmp_path / "services", tmp_path / "models")
    return Settings(service_path=paths, state_dir=tmp_path / "state", trusted_keys=trusted)


def test_a_service_loads_a_trusted_bundle_and_refuses_an_unsigned_one(bundle, tmp_path):
    private = write_pair(tmp_path, "release")
    settings = service_settings(tmp_path, tmp_path / "trusted")
    manifest = find_manifest("echo", settings)
    with pytest.raises(FailedPrecondition, match="is not signed"):
        required_bundle(manifest, settings)
    sign_bundle(bundle, private)
    assert required_bundle(manifest, settings) is not None


def test_without_trusted_keys_nobody_asks_for_a_signature(bundle, tmp_path):
    settings = service_settings(tmp_path, None)
    assert required_bundle(find_manifest("echo", settings), settings) is not None


def test_the_setting_is_a_folder_from_the_environment():
    assert load_settings({"SLMESH_TRUSTED_KEYS": "/keys"}).trusted_keys == Path("/keys")
