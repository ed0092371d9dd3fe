"""Follows one source of changes by long polling, through every way such a source fails.

The rules are those of Consul's blocking queries: an index that goes backwards is thrown away,
answers that come too fast are slowed down, and a source that fails is asked again with a jittered,
growing delay. It knows neither Consul nor what the answers mean.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from slmesh.mesh.errors import Internal, MeshError, Unavailable

__all__ = ["Backoff", "follow"]

_log = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")

_LEAST_INTERVAL_S = 0.1
"""Between two answers. Source: consul-template, which limits itself to the same rate."""


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """How long to wait after failures.

    Attributes:
        first_s: The longest wait after one failure.
        most_s: The longest wait ever.
    """

    first_s: float = 0.2
    most_s: float = 2.0

    def delay_s(self, failures: int, chance: float) -> float:
        """Return the wait after so many failures in a row.

        Args:
            failures: At least 1.
            chance: In [0, 1); spreads many clients that failed at the same moment.
        """
        longest = min(self.most_s, self.first_s * 2.0 ** min(failures - 1, 32))
        return longest * (0.5 + 0.5 * chance)


async def follow(
    query: Callable[[int], Awaitable[tuple[int, _Answer]]],
    on_answer: Callable[[_Answer], None],
    on_error: Callable[[MeshError], None],
    *,
    backoff: Backoff | None = None,
) -> None:
    """Ask for ever, until cancelled.

    Source: Consul, Blocking Queries, "Implementation details".

    Args:
        query: Takes an index, returns once something changed after it or a wait is over.
        on_answer: Gets every answer, changed or not.
        on_error: Gets every failure.
        backoff: How long to wait after failures.
    """
    delays = backoff or Backoff()
    index = failures = 0
    while True:
        try:
            answered, answer = await query(index)
            if answered < index:
                # What comes with an index that goes backwards may be less than was known.
                raise Unavailable("the source started over", reason="DISCOVERY_STARTED_OVER")
            on_answer(answer)
        except MeshError as error:
            on_error(error)
        except Exception:
            # A follower that dies would leave its last answer to grow old for ever.
            failure = Internal.with_id()
            _log.exception(
                "discovery.follower_failed", extra={"error_id": failure.metadata["errorId"]}
            )
            on_error(failure)
        else:
            # Asking with less than 1 would not block.
            index, failures = max(1, answered), 0
            await asyncio.sleep(_LEAST_INTERVAL_S)
            continue
        # The source may come back with a new, smaller index: asking with the old one would block.
        index, failures = 0, failures + 1
        await asyncio.sleep(delays.delay_s(failures, random.random()))
