"""What an answer of the reasoner takes from a budget, and what a budget allows in a window."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Amount", "Limit"]


@dataclass(frozen=True)
class Amount:
    """Requests, tokens (prompt and output together) and money, in millionths of a US dollar."""

    requests: int = 0
    tokens: int = 0
    usd_micros: int = 0

    def __add__(self, other: Amount) -> Amount:
        """Return the sum."""
        return Amount(
            self.requests + other.requests,
            self.tokens + other.tokens,
            self.usd_micros + other.usd_micros,
        )

    def __sub__(self, other: Amount) -> Amount:
        """Return the difference."""
        return Amount(
            self.requests - other.requests,
            self.tokens - other.tokens,
            self.usd_micros - other.usd_micros,
        )


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What may be spent in one window. A quantity that is left out is not limited.

    Attributes:
        window_s: The length of a window in seconds; windows begin at multiples of it since 1970,
            UTC. A day when left out.
        requests: Answers of the reasoner.
        tokens: Prompt and output tokens together.
        usd_micros: Money, in millionths of a US dollar.
        concurrent: Answers under way at the same time.
    """

    window_s: int = 86_400
    requests: int | None = None
    tokens: int | None = None
    usd_micros: int | None = None
    concurrent: int | None = None

    @property
    def unlimited(self) -> bool:
        """Whether no quantity is limited, so that there is nothing to count."""
        return (self.requests, self.tokens, self.usd_micros, self.concurrent) == (None,) * 4

    def exceeded(self, total: Amount) -> str:
        """Return the first quantity of which ``total`` is more than is allowed, or ""."""
        for name in ("requests", "tokens", "usd_micros"):
            allowed = getattr(self, name)
            if allowed is not None and getattr(total, name) > allowed:
                return name
        return ""

    def payable(self, used: Amount, mean: Amount) -> float:
        """Return how many answers of a mean size the rest pays for; infinity without a limit."""
        counts = [
            (allowed - getattr(used, name)) / max(getattr(mean, name), 1)
            for name in ("requests", "tokens", "usd_micros")
            if (allowed := getattr(self, name)) is not None
        ]
        return max(0.0, min(counts, default=float("inf")))
