"""Follows the files of policy and key, and goes on with the policy before where a new one is wrong.

A change is taken when two looks in a row have seen the same files: a policy that is half written may
be valid and allow more than the whole one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from slmesh.mesh.background import end, repeat
from slmesh.mesh.errors import MeshError
from slmesh.mesh.metrics import Metrics
from slmesh.mesh.settings import Settings
from slmesh.policy.judge import Judge
from slmesh.policy.policy_book import load_policies, policy_stamps

if TYPE_CHECKING:
    from slmesh.policy.gate import PolicyGate

__all__ = ["PolicyWatch"]

_log = logging.getLogger(__name__)

_INTERVAL_S = 1.0


class PolicyWatch:
    """Looks at the files of a policy, and gives the gate what is right.

    Args:
        gate: What decides by the policy.
        settings: They say where its files are.
        metrics: Where reloads and a stale policy are counted.
        on_health: Is told whether the policy is in force as it is written.
        interval_s: Seconds between two looks.
    """

    def __init__(
        self,
        gate: PolicyGate,
        settings: Settings,
        metrics: Metrics,
        *,
        on_health: Callable[[bool], None] = lambda healthy: None,
        interval_s: float = _INTERVAL_S,
    ) -> None:
        self._gate = gate
        self._settings = settings
        self._metrics = metrics
        self._on_health = on_health
        self._interval_s = interval_s
        self._seen: object = None
        self._taken: object = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to look; what has changed since the gate was opened is taken too."""
        self._metrics.policy_stale.set(0)
        self._on_health(True)
        looking = repeat(self.look, self._interval_s, _log, "the policy cannot be looked at")
        self._task = asyncio.create_task(looking)

    async def close(self) -> None:
        """Stop to look."""
        task, self._task = self._task, None
        if task is not None:
            await end(task)

    async def look(self) -> None:
        """Look once; files that did not change are not read."""
        self._gate.look_at_keys()
        stamps = await asyncio.to_thread(policy_stamps, self._settings)
        settled, self._seen = stamps == self._seen, stamps
        if not settled or stamps == self._taken:
            return
        self._taken = stamps
        try:
            judge = await asyncio.to_thread(self._read)
        except (MeshError, OSError, ValueError) as error:  # a file may go while it is read
            self._metrics.policy_reloads.labels("refused").inc()
            self._metrics.policy_stale.set(1)
            self._on_health(False)
            _log.error(
                "a changed policy is wrong; the one before is still in force",
                extra={"error": str(error), "revision": self._gate.judge.revision},
            )
            return
        self._metrics.policy_stale.set(0)
        self._on_health(True)
        if judge.revision != self._gate.judge.revision:
            self._gate.judge = judge
            self._metrics.policy_reloads.labels("taken").inc()
            _log.info("policy is in force", extra={"revision": judge.revision})

    def _read(self) -> Judge:
        return Judge(load_policies(self._settings), self._gate.judge.targets)
