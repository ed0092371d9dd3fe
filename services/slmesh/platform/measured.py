"""What a process's metrics say about its requests: counts, and quantiles estimated from buckets.

A quantile of a histogram is known to lie in a bucket and no better; inside of it an even spread is
assumed, as Prometheus' ``histogram_quantile`` does.
"""

from __future__ import annotations

import math
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

__all__ = ["Requests", "quantile", "read_metrics", "requests_by_service"]

_TIMEOUT_S = 1.0


@dataclass
class Requests:
    """The requests of one service, summed over what was read.

    Attributes:
        codes: Finished requests by canonical code.
        buckets: Requests that took at most so many seconds, cumulated, by upper bound.
    """

    codes: Counter[str] = field(default_factory=Counter)
    buckets: Counter[float] = field(default_factory=Counter)

    @property
    def finished(self) -> int:
        """All finished requests."""
        return sum(self.codes.values())

    @property
    def errors(self) -> int:
        """Finished requests that were not answered with OK."""
        return self.finished - self.codes["OK"]

    def quantile_ms(self, share: float) -> float | None:
        """Return the time in milliseconds that a share of the requests took at most, estimated."""
        seconds = quantile(self.buckets, share)
        return None if seconds is None else round(seconds * 1e3, 3)


def read_metrics(address: str) -> str:
    """Return the metrics of the process at ``host:port``; empty when it does not answer."""
    try:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=_TIMEOUT_S) as response:
            return str(response.read().decode())
    except (OSError, urllib.error.URLError, ValueError):
        return ""


def requests_by_service(texts: Iterable[str]) -> dict[str, Requests]:
    """Return the requests of each service, over the metrics of all its processes."""
    found: dict[str, Requests] = {}
    for text in texts:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                requests = found.setdefault(sample.labels.get("service", ""), Requests())
                if sample.name == "slmesh_requests_total":
                    requests.codes[sample.labels["code"]] += int(sample.value)
                elif sample.name == "slmesh_request_seconds_bucket":
                    requests.buckets[float(sample.labels["le"])] += int(sample.value)
    found.pop("", None)
    return found


def quantile(buckets: Mapping[float, int], share: float) -> float | None:
    """Return a quantile of a cumulated histogram, in the unit of its bounds.

    Args:
        buckets: Cumulated counts by upper bound; the last bound is infinite.
        share: In [0, 1]: 0.5 is the median.

    Returns:
        The estimate, the highest finite bound when it lies above that, or None without a count.
    """
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds else 0
    if total == 0:
        return None
    wanted = share * total
    lower, below = 0.0, 0
    for bound in bounds:
        count = buckets[bound]
        if count >= wanted and count > below:
            if math.isinf(bound):
                return lower
            return lower + (bound - lower) * (wanted - below) / (count - below)
        lower, below = (bound, count) if not math.isinf(bound) else (lower, count)
    return lower
