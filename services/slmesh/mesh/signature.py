"""Signs bundles and checks who signed them: Ed25519 over the digest of the whole bundle.

A signature is a file beside ``bundle.json``; it is not of the files the digest covers, so signing
changes no bundle. Whom to trust is a folder of public keys in PEM files. Needs the package
``cryptography``, and only where bundles are signed or signatures are asked for.
"""

from __future__ import annotations

import base64
import json
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slmesh.mesh.bundle import Bundle
from slmesh.mesh.errors import FailedPrecondition

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

__all__ = ["SIGNATURE_FILE", "check_signature", "sign_bundle"]

SIGNATURE_FILE = "signature.json"

_CONTEXT = "slmesh bundle v1"
"""Stands before what is signed, so that the signature means nothing anywhere else."""


def sign_bundle(bundle: Bundle, private_key: Path) -> Path:
    """Sign a bundle and write the signature beside it; an older one is replaced.

    Args:
        bundle: A verified bundle.
        private_key: PEM file with an Ed25519 private key, not encrypted.

    Returns:
        The file written.

    Raises:
        FailedPrecondition: The key cannot be read or is of another kind.
    """
    serialization = _cryptography("hazmat.primitives.serialization")
    ed25519 = _cryptography("hazmat.primitives.asymmetric.ed25519")
    try:
        key = serialization.load_pem_private_key(private_key.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise _refused(f"{private_key} is no private key that can be read: {error}") from error
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise _refused(f"{private_key} is not an Ed25519 key; make one with `openssl genpkey`")
    content = {
        "algorithm": "ed25519",
        "digest": bundle.digest,
        "signature": base64.b64encode(key.sign(_signed(bundle))).decode(),
    }
    path = bundle.folder / SIGNATURE_FILE
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def check_signature(bundle: Bundle, trusted_keys: Path) -> str:
    """Return the name of the trusted key that signed a bundle: its file without the suffix.

    Args:
        bundle: A verified bundle.
        trusted_keys: Folder of ``*.pem`` files, each with an Ed25519 public key.

    Raises:
        FailedPrecondition: The bundle is not signed, not as it is now, or by nobody who is trusted;
            or there is no key to trust.
    """
    invalid: type[Exception] = _cryptography("exceptions").InvalidSignature
    named = f"bundle '{bundle.name}' {bundle.version}"
    keys = _trusted(trusted_keys)
    path = bundle.folder / SIGNATURE_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        signature = base64.b64decode(content["signature"], validate=True)
        digest = content["digest"]
    except FileNotFoundError:
        raise _refused(
            f"{named} is not signed, and only signed ones are trusted here (trusted_keys): sign it"
            " with `slmesh models sign`",
            reason="BUNDLE_NOT_SIGNED",
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _refused(f"{named}: its signature cannot be read: {error!r}") from error
    if digest != bundle.digest:
        raise _refused(
            f"{named} was signed as {digest} and is {bundle.digest}: it was changed since; sign it"
            " again if the change is right"
        )
    for name, key in keys.items():
        try:
            key.verify(signature, _signed(bundle))
        except invalid:
            continue
        return name
    raise _refused(f"{named} is signed by none of the trusted keys ({', '.join(keys)})")


def _trusted(folder: Path) -> dict[str, Ed25519PublicKey]:
    serialization = _cryptography("hazmat.primitives.serialization")
    ed25519 = _cryptography("hazmat.primitives.asymmetric.ed25519")
    keys: dict[str, Ed25519PublicKey] = {}
    for path in sorted(folder.glob("*.pem")):
        try:
            key = serialization.load_pem_public_key(path.read_bytes())
        except (OSError, ValueError) as error:
            raise _refused(f"trusted_keys: {path} is no public key: {error}") from error
        if not isinstance(key, ed25519.Ed25519PublicKey):
            raise _refused(f"trusted_keys: {path} is not an Ed25519 key")
        keys[path.stem] = key
    if not keys:
        raise _refused(f"trusted_keys: there is no *.pem file in {folder}")
    return keys


def _signed(bundle: Bundle) -> bytes:
    # the digest alone would do; name and version say at once what somebody put his name to
    return "\n".join((_CONTEXT, bundle.name, bundle.version, bundle.digest)).encode()


def _cryptography(module: str) -> Any:
    try:
        return import_module(f"cryptography.{module}")
    except ImportError:
        raise FailedPrecondition(
            "signatures need the package cryptography: pip install 'slmesh[sign]'",
            reason="EXTRA_NOT_INSTALLED",
        ) from None


def _refused(message: str, reason: str = "SIGNATURE_REFUSED") -> FailedPrecondition:
    return FailedPrecondition(message, reason=reason)
