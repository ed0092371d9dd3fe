"""Keeps a scarce reasoner for the requests where it is expected to change the answer most.

A request that a flow wants to escalate has an *expected gain*: the probability that the answer of the
small models is wrong, 1 - p, and 1 where they have no answer. First come, first served spends a short
budget on whatever comes early. The pacer asks how many such requests are still to come in the window,
D, and how many answers the rest of the budget pays for, R. While R >= D everything may be escalated;
when R < D, only gains above the (1 - R/D) quantile of recent gains are. This is the
certainty-equivalent policy of the online knapsack problem: it needs no knowledge of arrivals beyond
their number, and corrects itself at every request, because R and D are read anew.

D is the smaller of two estimates, less one standard deviation, because holding back what could have
been paid for is lost, while a threshold that was too low is corrected by the next request:

- what is left of the last window's demand, while this window has seen less than that;
- rate x time left, the rate being the mean of a gamma distribution over Poisson arrivals that counts
  the last window as one window already seen. Its predictive variance is that of the negative
  binomial distribution, m + m^2 / n for a mean m from n requests seen.

Without a last window, demand is taken to be what the budget pays for, so a first window starts as
first come, first served. models/LOG.md has what else was tried; ``slmesh budgets simulate`` measures.

It is pure: it knows no clock, no database and no flow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from slmesh.mesh.recent import RecentValues

__all__ = ["Pace", "Pacer"]

_REMEMBERED = 512
"""Gains of which the quantile is taken: enough for one in 50, few enough to follow a changed mix."""

_FEWEST = 20
"""Below so many gains a quantile says nothing, and everything may be escalated."""


@dataclass(frozen=True)
class Pace:
    """What the budget allows at one moment.

    Attributes:
        least_gain: The smallest expected gain that is worth an answer of the reasoner, in [0, 1]; 0
            when everything may be escalated.
        payable: Answers that the rest of the budget pays for, R.
        expected: Requests still to come that would be escalated, with care, D; this one counts.
    """

    least_gain: float
    payable: float
    expected: float


class Pacer:
    """Remembers the gains of recent requests. It counts nothing: routers share their counts."""

    def __init__(self) -> None:
        self._gains = RecentValues(_REMEMBERED)

    def observe(self, gain: float) -> None:
        """Take one request into account that would be escalated, whatever becomes of it.

        Args:
            gain: Its expected gain, in [0, 1].
        """
        self._gains.add(gain)

    def pace(self, elapsed: float, payable: float, seen: int, last_demand: int | None) -> Pace:
        """Return what the budget allows.

        Args:
            elapsed: The part of the window that is over, in [0, 1].
            payable: Answers that the rest of the budget pays for, >= 0.
            seen: Requests of this window that would have been escalated, this one among them.
            last_demand: Those of the window before; None when nothing is known of it.
        """
        expected = _expected(elapsed, payable, seen, last_demand)
        if payable >= expected or len(self._gains) < _FEWEST:
            return Pace(0.0, payable, expected)
        place = round((1.0 - payable / expected) * (len(self._gains) - 1))
        return Pace(self._gains[place], payable, expected)


def _expected(elapsed: float, payable: float, seen: int, last_demand: int | None) -> float:
    left = 1.0 - elapsed
    last = payable / max(left, 1e-9) if last_demand is None else float(last_demand)
    mean = (last + seen) / (1.0 + elapsed) * left
    if last_demand is not None and seen < last_demand:
        mean = min(mean, float(last_demand - seen))
    deviation = math.sqrt(mean + mean * mean / max(last + seen, 1.0))
    return max(1.0, mean - deviation)
