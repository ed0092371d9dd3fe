"""Seals what a policy decided on, so that the next hop can trust it: HMAC-SHA256 with the mesh's key.

A seal is three parts with dots between them: a version, the facts in lines and then in base64, and the
code over both in hexadecimal. It is for one target and a short time. It says nothing about the text
of the call, so whoever can read a call can send another text under its seal until it expires.
"""

from __future__ import annotations

import binascii
import hmac
from typing import NamedTuple

from slmesh.mesh.errors import PermissionDenied

__all__ = ["Facts", "Sealer"]

_VERSION = "1"


class Facts(NamedTuple):
    """What a seal proves.

    Attributes:
        decision_id: The router's decision the call belongs to.
        tenant: Who is served.
        flow: The flow the data belongs to.
        classes: The classes of the data, sorted.
        redacted: Whether the text is redacted.
        revision: The revision of the policy the sender has asked.
        target: The service the call is for.
        expiry_s: When the seal ends, in seconds since the epoch.
    """

    decision_id: str
    tenant: str
    flow: str
    classes: tuple[str, ...]
    redacted: bool
    revision: str
    target: str
    expiry_s: int


class Sealer:
    """Seals facts and opens seals.

    Args:
        key: The mesh's key.
    """

    def __init__(self, key: bytes) -> None:
        self._keyed = hmac.new(key, digestmod="sha256")

    def seal(self, facts: Facts) -> str:
        """Return the seal of some facts.

        Raises:
            ValueError: A fact has a line break in it, which none can have that came by metadata.
        """
        decision_id, tenant, flow, classes, redacted, revision, target, expiry_s = facts
        lines = (
            decision_id,
            tenant,
            flow,
            ",".join(classes),
            "redacted" if redacted else "",
            revision,
            target,
            str(expiry_s),
        )
        values = "\n".join(lines)
        if values.count("\n") != len(lines) - 1:
            raise ValueError("a line break in a fact would make another fact of it")
        signed = f"{_VERSION}.{_encoded(values)}"
        return f"{signed}.{self._code(signed)}"

    def open(self, seal: str, target: str, now_s: float) -> Facts:
        """Return the facts of a seal.

        Args:
            seal: As it came.
            target: The service the call is for.
            now_s: Seconds since the epoch.

        Raises:
            PermissionDenied: It was not made with this key, is for another target, or is too old.
        """
        signed, _, code = seal.rpartition(".")
        # as bytes: compare_digest takes no text beyond ASCII
        genuine = hmac.compare_digest(self._code(signed).encode(), code.encode())
        if not genuine or not signed.startswith(f"{_VERSION}."):
            raise PermissionDenied(
                "the policy context of the call was not sealed by this mesh",
                reason="POLICY_CONTEXT_INVALID",
            )
        lines = _decoded(signed[len(_VERSION) + 1 :]).split("\n")
        facts = Facts(
            lines[0],
            lines[1],
            lines[2],
            tuple(lines[3].split(",")),
            lines[4] == "redacted",
            lines[5],
            lines[6],
            int(lines[7]),
        )
        if facts.target != target:
            raise PermissionDenied(
                "the policy context of the call is for another service",
                reason="POLICY_CONTEXT_MISDIRECTED",
            )
        if now_s > facts.expiry_s:
            raise PermissionDenied(
                "the policy context of the call has expired", reason="POLICY_CONTEXT_EXPIRED"
            )
        return facts

    def _code(self, signed: str) -> str:
        # not `hmac.digest`: that gives the interpreter away, and a busy thread keeps it for longer
        # than the whole hop takes
        code = self._keyed.copy()
        code.update(signed.encode())
        return code.hexdigest()


def _encoded(text: str) -> str:
    return binascii.b2a_base64(text.encode(), newline=False).decode()


def _decoded(text: str) -> str:
    return binascii.a2b_base64(text).decode()
