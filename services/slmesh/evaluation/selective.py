"""How many LLM calls a classifier saves, and how often what it answers itself is right.

A text that the classifier is surer of than a threshold costs no call; an abstention always does. The
threshold comes from validation texts, the figures from others. The LLM is an oracle that replays the
right labels, so only the classifier's own answers can be wrong. It calls no model and reads no file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from slmesh.budgets.simulation import Traffic
from slmesh.mesh.errors import InvalidArgument
from slmesh.tiers.calibration import least_share

__all__ = ["Saved", "curve", "least_sure", "saved", "saved_calls", "sure_enough_for"]

_CURVE_POINTS = 200


@dataclass(frozen=True)
class Saved:
    """What one threshold saves.

    Attributes:
        threshold: The least probability of an answer that stands.
        removed: Share of the calls that are not made, in [0, 1].
        precision: Share of right answers among those texts, in [0, 1]; 1 when there are none.
        least_precision: Its one-sided 95 % lower bound.
        accuracy: Share of all texts that is right in the end, with the oracle's.
    """

    threshold: float
    removed: float
    precision: float
    least_precision: float
    accuracy: float


def saved(traffic: Traffic, threshold: float) -> Saved:
    """Return what a threshold saves.

    Args:
        traffic: At least one text; a probability of 0 is an abstention.
        threshold: In (0, 1].
    """
    stands = traffic.probability >= threshold
    answered, total = int(stands.sum()), len(stands)
    right = int(traffic.right[stands].sum())
    return Saved(
        threshold,
        answered / total,
        right / answered if answered else 1.0,
        least_share(right, answered),
        1.0 - (answered - right) / total,
    )


def least_sure(validation: Traffic, target: float, texts: int) -> float:
    """Return the threshold that saves most calls while the answers can be shown to be right enough.

    A precision just at the target on validation texts would be shown by no other sample: half of them
    come out below, and a bound lies lower still. So a threshold counts if `texts` texts of which the
    same shares are answered, and right, would have a lower bound that reaches the target.

    Args:
        validation: Texts the classifier was not trained on.
        target: Least precision of the lower bound, in (0, 1).
        texts: How many the bound will be taken over, >= 1.

    Raises:
        InvalidArgument: No threshold reaches it.
    """
    scale = texts / len(validation.probability)
    order = np.argsort(-validation.probability, kind="stable")
    sorted_probability = validation.probability[order]
    right = np.cumsum(validation.right[order])
    # a threshold takes all texts of its probability, so only the last of equal ones is a cut
    cuts = np.flatnonzero(np.diff(sorted_probability, append=-1.0) < 0)
    for cut in cuts[::-1].tolist():
        threshold = float(sorted_probability[cut])
        if threshold <= 0.0:  # an abstention is no answer
            continue
        answered = max(1, round((cut + 1) * scale))
        # rounded down: a bound that is reached by rounding up would not be reached
        if least_share(int(right[cut] / (cut + 1) * answered), answered) >= target:
            return threshold
    raise InvalidArgument(
        f"no threshold reaches a precision of {target:g} that {texts} texts could show",
        reason="TARGET_NOT_REACHED",
    )


def sure_enough_for(validation: Traffic, share: float) -> float:
    """Return the highest threshold that saves at least a share of the calls.

    Args:
        validation: Texts the classifier was not trained on.
        share: Of the calls, in (0, 1].

    Raises:
        InvalidArgument: So many texts are not answered at all.
    """
    falling = np.sort(validation.probability)[::-1]
    threshold = float(falling[math.ceil(share * len(falling)) - 1])
    if threshold <= 0.0:
        raise InvalidArgument(
            f"a share of {share:g} of the texts is not answered", reason="TARGET_NOT_REACHED"
        )
    return threshold


def curve(traffic: Traffic) -> list[Saved]:
    """Return what thresholds save, by rising threshold: texts' probabilities, evenly spread."""
    found = np.unique(traffic.probability[traffic.probability > 0.0])
    spread = found[:: -(-len(found) // _CURVE_POINTS)]
    return [saved(traffic, threshold) for threshold in spread.tolist()]


def saved_calls(
    validation: Traffic, traffic: Traffic, precisions: Sequence[float], shares: Sequence[float]
) -> list[dict[str, Any]]:
    """Choose thresholds on validation texts and measure them on others.

    Args:
        validation: What thresholds are chosen on.
        traffic: What they are measured on.
        precisions: Targets of :func:`least_sure`.
        shares: Targets of :func:`sure_enough_for`.

    Returns:
        For each target ``chosen_for`` (``precision`` or ``removed``), ``target``, and the fields of
        :class:`Saved` for ``validation`` and for ``test``.
    """
    texts = len(traffic.probability)
    chosen = [("precision", p, least_sure(validation, p, texts)) for p in precisions]
    chosen += [("removed", share, sure_enough_for(validation, share)) for share in shares]
    return [
        {
            "chosen_for": what,
            "target": target,
            "validation": asdict(saved(validation, threshold)),
            "test": asdict(saved(traffic, threshold)),
        }
        for what, target, threshold in chosen
    ]
