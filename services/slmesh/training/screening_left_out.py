"""Measures how many injections of a public source are found by a guard that has trained without it.

It trains as the shipped bundle is trained, once for each source, so it takes minutes; nothing of it
is shipped but the figures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from slmesh.slm.guard.injection import DOCUMENT, USER
from slmesh.training.screening import Features, fitted_tiers
from slmesh.training.screening_data import Example, Window
from slmesh.training.screening_report import interval
from slmesh.training.screening_thresholds import best_of_texts, threshold

__all__ = ["found_without"]

_LEFT = "left out"
_LEFT_OUT = {"jailbreak_prompts": USER, "purplellama_injection": USER, "bipia": DOCUMENT}
"""Public sources of injections, and the head whose figure is told."""


def found_without(
    examples: Sequence[Example],
    cuts: Sequence[Window],
    features: Features,
    numbers: Mapping[str, Any],
    say: Callable[[str], None],
) -> dict[str, dict[str, float]]:
    """Return for each public source the share of its injections found by a model without them.

    Thresholds are set as for the shipped model, and as there a text is found when a window of it
    reaches the threshold of either tier. What is hidden in other writings is not looked for.

    Args:
        examples: Training and validation rows; the injections of a source are counted in both.
        cuts: Their windows.
        features: Of the windows, row for row.
        numbers: Of the recipe.
        say: Told of each source.

    Returns:
        By source: ``n``, ``flagged`` with its 95 % Wilson interval ``low`` to ``high``, and
        ``linear``, the share that the first tier alone finds.
    """
    found: dict[str, dict[str, float]] = {}
    for source, head in _LEFT_OUT.items():
        say(f"training without {source}")
        kept = [
            replace(example, split=_LEFT)
            if example.source == source and example.injected is not None
            else example
            for example in examples
        ]
        flagged: dict[str, set[int]] = {}
        left: set[int] = set()
        for tier, _, scores in fitted_tiers(kept, cuts, features, head, numbers):
            best = best_of_texts(kept, cuts, head, scores)
            left = {index for index in best if kept[index].split == _LEFT}
            judged = {index: score for index, score in best.items() if index not in left}
            lowest = threshold(kept, judged, numbers["false_positive_rate"])
            flagged[tier] = {index for index in left if best[index] >= lowest}
        hits = len(flagged["linear"] | flagged["encoder"])
        low, high = interval(hits, len(left))
        found[source] = {
            "n": len(left),
            "flagged": hits / len(left),
            "low": low,
            "high": high,
            "linear": len(flagged["linear"]) / len(left),
        }
        say(f"without {source}: {hits} of {len(left)} found")
    return found
