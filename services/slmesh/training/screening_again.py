"""Works on a guard's bundle that is there already: measures it, calibrates it, or trains a part anew.

What is not made anew stays as it is, and so do the figures that only training can tell of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from slmesh.mesh.bundle import Bundle
from slmesh.slm.guard.injection import HEADS, InjectionModel
from slmesh.tiers.encoder import SentenceEncoder
from slmesh.training.publish import bare_content, golden_rows
from slmesh.training.screening import features_of, injection_part, opened
from slmesh.training.screening_data import VALIDATION, Example, cut
from slmesh.training.screening_left_out import found_without
from slmesh.training.screening_report import publish
from slmesh.training.screening_thresholds import fitted_line, threshold

__all__ = ["calibrate_guard", "train_injection", "write_guard_card"]


def train_injection(
    recipe: Path, bundle: Bundle, data_dir: Path, cache_dir: Path, say: Callable[[str], None]
) -> Bundle:
    """Train the injection check by the recipe and keep the check for personal data of a bundle.

    Args:
        recipe: The recipe; the bundle is written to a folder next to it, named by the version.
        bundle: Whose check for personal data is kept.
        data_dir: The folder with one folder for each public data set.
        cache_dir: The folder of everything fetched or compiled.
        say: Told of each step.

    Raises:
        FailedPrecondition: A data file differs from the recipe, or the backbone is not compiled.
    """
    plan, encoder, examples = opened(recipe, data_dir, cache_dir)
    content, tensors = injection_part(recipe, plan, examples, cache_dir, say)
    content["thresholds"]["personal"] = bundle.thresholds["personal"]
    kept = bare_content(bundle)["metrics"]
    content["metrics"] |= {key: kept[key] for key in ("redaction_curve", "personal_data_seen")}
    tensors |= {
        name: array for name, array in bundle.tensors().items() if not name.startswith("injection.")
    }
    say("measuring")
    folder = recipe.parent / content["version"]
    golden = (recipe.parent / "golden.jsonl").read_text(encoding="utf-8")
    return publish(folder, content, tensors, golden, examples, encoder, data_dir)


def write_guard_card(
    recipe: Path,
    bundle: Bundle,
    data_dir: Path,
    cache_dir: Path,
    say: Callable[[str], None],
    left_out: bool = False,
) -> Bundle:
    """Measure a bundle on validation rows again, and write its card, plots and metrics.

    Args:
        recipe: The recipe.
        bundle: The bundle, which is written again where it lies.
        data_dir: The folder with one folder for each public data set.
        cache_dir: The folder of everything fetched or compiled.
        say: Told of each step.
        left_out: Also train without each public source of injections and tell what is found of it,
            which takes minutes; otherwise the card keeps the figures it has.

    Raises:
        FailedPrecondition: A data file differs from the recipe, or the backbone is not compiled.
    """
    plan, encoder, examples = opened(recipe, data_dir, cache_dir)
    content = bare_content(bundle)
    if left_out:
        cuts, numbers = cut(examples), plan["numbers"]
        say(f"encoding {len(cuts)} windows of {len(examples)} texts")
        features = features_of([window.text for window in cuts], numbers, cache_dir)
        found = found_without(examples, cuts, features, numbers, say)
        content["metrics"]["left_out"] = found
    say("measuring")
    return publish(
        bundle.folder, content, bundle.tensors(), golden_rows(bundle), examples, encoder, data_dir
    )


def calibrate_guard(
    recipe: Path,
    bundle: Bundle,
    version: str,
    data_dir: Path,
    cache_dir: Path,
    say: Callable[[str], None],
) -> Bundle:
    """Calibrate the injection check on validation rows alone and write it as another version.

    Of few rows no rate below 1 % can be told, so thresholds are coarser than those of training, which
    counts its rows out of fold too. The threshold of redaction stays.

    Raises:
        FailedPrecondition: A data file differs from the recipe, or the backbone is not compiled.
    """
    plan, encoder, examples = opened(recipe, data_dir, cache_dir)
    content = bare_content(bundle)
    content["version"] = version
    content["metrics"].pop("test", None)  # read once, at the thresholds of the version before
    content["calibration"] = {"injection": {head: {} for head in HEADS}}
    content["thresholds"] = {**bundle.thresholds, "injection": {head: {} for head in HEADS}}
    held = [example for example in examples if example.split == VALIDATION]
    rate = plan["numbers"]["false_positive_rate"]
    for head in HEADS:
        for tier in ("linear", "encoder"):
            say(f"calibrating {head}, {tier}")
            line, lowest = _calibrated(bundle, encoder, held, head, tier, rate)
            content["calibration"]["injection"][head][tier] = line
            content["thresholds"]["injection"][head][tier] = lowest
            if tier == "linear":
                gates = content["parameters"]["injection"]["gate"]
                gates[head] = _moved(gates[head], bundle, line, head)
    folder = bundle.folder.parent / version
    say("measuring")
    golden = golden_rows(bundle)
    return publish(folder, content, bundle.tensors(), golden, examples, encoder, data_dir)


def _calibrated(
    bundle: Bundle,
    encoder: SentenceEncoder,
    held: Sequence[Example],
    head: str,
    tier: str,
    rate: float,
) -> tuple[dict[str, float], float]:
    """Return the line of a tier of a head and its threshold.

    The new line is fitted to the logits of the old one, so both are one line over the raw score.
    """
    model = InjectionModel(bundle, encoder if tier == "encoder" else None)
    mine = [index for index, example in enumerate(held) if example.head == head]
    found = np.array([model.probability(held[index].text, head) for index in mine])
    probabilities = np.clip(found, 1e-12, 1 - 1e-12)
    logits = np.log(probabilities / (1 - probabilities))
    best = dict(zip(mine, logits.tolist(), strict=True))
    slope, offset = fitted_line(held, best)
    lowest = slope * threshold(held, best, rate) + offset
    before = bundle.calibration["injection"][head][tier]
    line = {
        "bias": before["bias"],
        "slope": float(before["slope"]) * slope,
        "offset": float(before["offset"]) * slope + offset,
    }
    return line, float(1 / (1 + np.exp(-lowest)))


def _moved(gate: float, bundle: Bundle, line: Mapping[str, float], head: str) -> float:
    """Return the probability that now stands for the raw score the gate stood for."""
    before = bundle.calibration["injection"][head]["linear"]
    score = (np.log(gate / (1 - gate)) - before["offset"]) / before["slope"]
    return float(1 / (1 + np.exp(-(line["slope"] * score + line["offset"]))))
