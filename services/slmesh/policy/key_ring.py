"""The keys of a mesh while one takes the place of another: one seals, and the others still open.

A process that is running follows its key's file. A sender may see the new key first: a seal that no
key opens makes the receiver look at the files before it refuses.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator

from slmesh.mesh.errors import FailedPrecondition, PermissionDenied
from slmesh.mesh.file_stamp import stamp_of
from slmesh.mesh.settings import Settings
from slmesh.policy.mesh_key import accepted_key, key_files, mesh_key
from slmesh.policy.seal import Facts, Sealer

__all__ = ["KEY_OVERLAP_S", "KeyRing"]

_log = logging.getLogger(__name__)

KEY_OVERLAP_S = 120.0
"""How long seals of the key before count: a process takes a second to see the new one, and a seal
lasts half a minute longer than its call, which is a minute and a half for one without a deadline."""

_FORGED = "POLICY_CONTEXT_INVALID"


class KeyRing:
    """Seals with the key of the mesh, and opens what any key that counts has sealed.

    Args:
        settings: They say where the keys are.
        now_s: Seconds since the epoch.

    Raises:
        FailedPrecondition: A key cannot be used.
    """

    def __init__(self, settings: Settings, *, now_s: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._now_s = now_s
        self._before: tuple[Sealer, float] | None = None
        mesh_key(settings)  # made now where there is none
        self._stamps = self._stamp()
        self._key = mesh_key(settings)
        self._sealer = Sealer(self._key)
        self._accepted = self._read_accepted()

    def seal(self, facts: Facts) -> str:
        """Return the seal of some facts, see :meth:`Sealer.seal`."""
        return self._sealer.seal(facts)

    def open(self, seal: str, target: str, now_s: float) -> Facts:
        """Return the facts of a seal, see :meth:`Sealer.open`."""
        try:
            return self._sealer.open(seal, target, now_s)
        except PermissionDenied as error:
            denied = error
        if denied.reason == _FORGED:
            self.look()
            for sealer in self._opening(now_s):
                try:
                    return sealer.open(seal, target, now_s)
                except PermissionDenied as error:
                    if error.reason != _FORGED:
                        raise
        raise denied

    def look(self) -> None:
        """Read the keys again if a file has changed; one that cannot be used changes nothing."""
        stamps = self._stamp()
        if stamps == self._stamps:
            return
        self._stamps = stamps
        try:
            key, accepted = mesh_key(self._settings), self._read_accepted()
        except FailedPrecondition as error:
            _log.error("a changed key cannot be used", extra={"error": error.message})
            return
        self._accepted = accepted
        if key != self._key:
            self._before = (self._sealer, self._now_s() + KEY_OVERLAP_S)
            self._key, self._sealer = key, Sealer(key)
            _log.info("the mesh has a new key")

    def _opening(self, now_s: float) -> Iterator[Sealer]:
        yield self._sealer
        if self._before is not None and now_s <= self._before[1]:
            yield self._before[0]
        if self._accepted is not None:
            yield self._accepted

    def _read_accepted(self) -> Sealer | None:
        key = accepted_key(self._settings)
        return None if key is None else Sealer(key)

    def _stamp(self) -> object:
        return tuple(map(stamp_of, key_files(self._settings)))
