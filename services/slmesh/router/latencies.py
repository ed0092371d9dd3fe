"""How long services took lately, and what of a deadline is therefore left for whom.

The time of a request is split by what is still to come: a step gets what is left less the usual time of
the required steps that wait for it. Steps that a flow can do without are left out first, and the
reasoner is asked only when its usual time is still there. Pure: time comes in as an argument.
"""

from __future__ import annotations

from slmesh.mesh.recent import RecentValues
from slmesh.router.flow import Flow, Step

__all__ = ["Latencies", "needed_after"]

_REMEMBERED = 200
"""Calls of a service that count: some minutes of quiet traffic, some seconds of busy."""

_FEWEST = 10
"""Below so many calls nothing is known of a service, and it may try."""

_LOOK_AGAIN = 10.0
"""After so many times its usual time without an answer, nothing is known of a service any longer: it
was left out for being slow, and as long as it is, nobody would notice that it no longer is."""


class Latencies:
    """The recent latencies of every service."""

    def __init__(self) -> None:
        self._recent: dict[str, RecentValues] = {}
        self._answered_s: dict[str, float] = {}

    def observe(self, service: str, seconds: float, now_s: float) -> None:
        """Take one call into account that was answered now, in monotonic seconds."""
        self._answered_s[service] = now_s
        recent = self._recent.get(service)
        if recent is None:
            recent = self._recent[service] = RecentValues(_REMEMBERED)
        recent.add(seconds)

    def medians_ms(self) -> dict[str, float]:
        """Return the median of every service that enough is known of, in ms."""
        found = {service: self.quantile(service, 0.5) * 1e3 for service in self._recent}
        return {service: median for service, median in found.items() if median > 0}

    def quantile(self, service: str, share: float) -> float:
        """Return the seconds that a share of the recent calls kept; 0 where too little is known.

        Args:
            service: The service.
            share: In [0, 1].
        """
        recent = self._recent.get(service)
        if recent is None or len(recent) < _FEWEST:
            return 0.0
        return recent[min(int(share * len(recent)), len(recent) - 1)]

    def too_slow(self, service: str, share: float, left_s: float, now_s: float) -> bool:
        """Return whether a service usually takes longer than what is left.

        Args:
            service: The service.
            share: Of its calls that count as usual, in [0, 1].
            left_s: What is left, in seconds.
            now_s: Monotonic seconds.
        """
        usual_s = self.quantile(service, share)
        if usual_s <= left_s:
            return False
        if now_s - self._answered_s[service] > _LOOK_AGAIN * usual_s:
            del self._recent[service]
            return False
        return True


def needed_after(step: Step, flow: Flow, latencies: Latencies) -> float:
    """Return the seconds that required steps after this one usually take: the longest chain of them.

    Args:
        step: The step.
        flow: Its flow.
        latencies: What is known.
    """
    followers = flow.followers[step.name]
    return max((_chain(one, flow, latencies) for one in followers), default=0.0)


def _chain(step: Step, flow: Flow, latencies: Latencies) -> float:
    own = 0.0 if step.on_failure == "skip" else latencies.quantile(step.service, 0.5)
    return own + needed_after(step, flow, latencies)
