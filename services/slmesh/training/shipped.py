"""Works on a bundle that is there already: measures it again, or calibrates it anew.

Of classifiers, scorers, guards and rankers; the weights stay as they are. Validation rows come from the
recipe, or for a classifier from a file of the user's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slmesh.factory.table import TableRow
from slmesh.mesh.bundle import Bundle, find_bundle, load_bundle
from slmesh.mesh.errors import FailedPrecondition, InvalidArgument
from slmesh.mesh.naming import suggestion
from slmesh.tiers.encoder import encoder_digest
from slmesh.training import ranking
from slmesh.training.classify import examples_of, measure_classifier
from slmesh.training.evaluate import Row
from slmesh.training.make import find_recipe
from slmesh.training.publish import (
    Draft,
    Measured,
    bare_content,
    golden_rows,
    publish,
    scorer_measured,
)
from slmesh.training.recalibrate import recalibrate
from slmesh.training.recipe import Recipe, load_recipe
from slmesh.training.rows import LabelledRows, read_labelled
from slmesh.training.score import read_scale, scale_examples
from slmesh.training.screening_again import calibrate_guard, train_injection, write_guard_card
from slmesh.training.two_tiers import TrainedTiers
from slmesh.weights.fetch import Progress, silent

__all__ = ["calibrate", "train_injection_again", "write_card_again"]

_MEASURED = ("metrics", "method")
_SUPPORTED = ("classify/v1", "score/v1", "guard/v1", "rank/v1")
_CALIBRATED = "Calibrated anew on"


def train_injection_again(
    name: str, models_dir: Path, data_dir: Path, cache_dir: Path, progress: Progress = silent
) -> Bundle:
    """Train a guard's injection check by its recipe; personal data stay as in its newest bundle.

    Args:
        name: The model.
        models_dir: The folder of all models.
        data_dir: The folder of all data sets.
        cache_dir: The folder of everything fetched or compiled.
        progress: Told of each step.

    Raises:
        NotFound: There is no such model.
        InvalidArgument: The model is no guard.
        FailedPrecondition: A data file is not the pinned one, or the backbone is not compiled.
    """
    path, bundle = _newest(name, models_dir)
    if bundle.contract != "guard/v1":
        raise InvalidArgument("only a guard has an injection check", field="injection_only")
    return train_injection(path, bundle, data_dir, cache_dir, lambda step: progress(step, 0.0))


def write_card_again(
    name: str,
    models_dir: Path,
    data_dir: Path,
    cache_dir: Path,
    progress: Progress = silent,
    left_out: bool = False,
) -> Bundle:
    """Measure a bundle on its recipe's validation rows, and write its card, plots and metrics.

    The version stays; the digest is another one where figures are.

    Args:
        name: The model.
        models_dir: The folder of all models.
        data_dir: The folder of all data sets.
        cache_dir: The folder of everything fetched or compiled.
        progress: Told of each step.
        left_out: Of a guard: also train without each public source of injections.

    Raises:
        NotFound: There is no such model.
        InvalidArgument: Sources are to be left out, and the model is no guard.
        FailedPrecondition: The model is of another kind, or a data file is not the pinned one.
    """
    path, bundle = _newest(name, models_dir)
    if left_out and bundle.contract != "guard/v1":
        raise InvalidArgument("sources are left out of a guard's training only", field="left_out")
    _require_supported(bundle)
    if bundle.contract == "guard/v1":
        return write_guard_card(
            path, bundle, data_dir, cache_dir, lambda step: progress(step, 0.0), left_out
        )
    if bundle.contract == "rank/v1":
        return ranking.write_card_again(path, bundle, data_dir, cache_dir, progress)
    recipe = load_recipe(path)
    draft = Draft(recipe, _bare(bundle), bundle.tensors(), _method(bundle), golden_rows(bundle))
    rows = _validation(recipe, data_dir)
    return publish(draft, lambda b: _measured(b, rows, cache_dir), bundle.folder, progress)


def calibrate(
    name: str,
    models_dir: Path,
    data_dir: Path,
    cache_dir: Path,
    progress: Progress = silent,
    own: Sequence[TableRow] = (),
) -> Bundle:
    """Calibrate a bundle anew and write it as the next version, its last number one higher.

    Args:
        name: The model.
        models_dir: The folder of all models.
        data_dir: The folder of all data sets.
        cache_dir: The folder of everything fetched or compiled.
        progress: Told of each step.
        own: Rows to calibrate on instead of the recipe's validation rows; for classifiers.

    Raises:
        NotFound: There is no such model.
        InvalidArgument: A row of the user's own has a label that the model does not know.
        FailedPrecondition: The model is of another kind, or a data file is not the pinned one.
    """
    path, bundle = _newest(name, models_dir)
    _require_supported(bundle)
    if own and bundle.contract != "classify/v1":
        raise InvalidArgument("rows of one's own calibrate classifiers only", field="data")
    version = _next_version(bundle)
    if bundle.contract == "guard/v1":
        return calibrate_guard(
            path, bundle, version, data_dir, cache_dir, lambda step: progress(step, 0.0)
        )
    if bundle.contract == "rank/v1":
        return ranking.calibrate_again(path, bundle, version, data_dir, cache_dir, progress)
    recipe = load_recipe(path)
    rows = _own_rows(bundle, own) if own else _validation(recipe, data_dir)
    digest = encoder_digest(bundle.backbone) if bundle.backbone is not None else ""
    tensors = bundle.tensors()
    content = _bare(bundle)
    if isinstance(rows, LabelledRows):
        fitted = TrainedTiers(tensors, dict(bundle.calibration), dict(bundle.thresholds))
        examples = examples_of(bundle.labels, LabelledRows(), rows)
        tiers = recalibrate(recipe, fitted, examples, cache_dir, digest, progress)
        content |= {"calibration": tiers.calibration, "thresholds": tiers.thresholds}
        count = len(rows.texts) + len(rows.outside)
    else:
        content |= _calibrated_scales(recipe, bundle, rows, cache_dir, digest, progress)
        count = sum(map(len, rows.values()))
    content["version"] = version
    kept = [line for line in _method(bundle) if not line.startswith(("Temperatures", _CALIBRATED))]
    where = "rows of the owner's" if own else "validation rows"
    method = [*kept, f"{_CALIBRATED} {count:,} {where}: temperatures and thresholds."]
    draft = Draft(recipe, content, tensors, method, golden_rows(bundle))
    folder = bundle.folder.parent / version
    return publish(draft, lambda b: _measured(b, rows, cache_dir), folder, progress)


def _calibrated_scales(
    recipe: Recipe,
    bundle: Bundle,
    rows: Mapping[str, Sequence[Row]],
    cache_dir: Path,
    digest: str,
    progress: Progress,
) -> dict[str, Any]:
    """Return the calibration and the thresholds of every scale of a scorer, anew."""
    calibration, thresholds = dict(bundle.calibration), dict(bundle.thresholds)
    tensors = bundle.tensors()
    for scale, held in rows.items():
        prefix = f"{scale}."
        own_tensors = {
            key.removeprefix(prefix): array
            for key, array in tensors.items()
            if key.startswith(prefix)
        }
        fitted = TrainedTiers(own_tensors, calibration[scale], thresholds[scale])
        examples = scale_examples(recipe.scales[scale], (), held)
        tiers = recalibrate(recipe, fitted, examples, cache_dir, digest, progress)
        calibration[scale], thresholds[scale] = tiers.calibration, tiers.thresholds
    return {"calibration": calibration, "thresholds": thresholds}


def _newest(name: str, models_dir: Path) -> tuple[Path, Bundle]:
    """Return the recipe and the newest bundle of a model."""
    path = find_recipe(name, models_dir)
    return path, load_bundle(find_bundle(name, [models_dir]))


def _require_supported(bundle: Bundle) -> None:
    if bundle.contract not in _SUPPORTED:
        raise FailedPrecondition(
            f"model '{bundle.name}' speaks {bundle.contract}, and its own training code writes its"
            " card and its calibration: run `slmesh train`",
            reason="UNSUPPORTED_MODEL",
        )


def _validation(recipe: Recipe, data_dir: Path) -> LabelledRows | dict[str, list[Row]]:
    if recipe.contract == "classify":
        return read_labelled(recipe, data_dir)[1]
    return {scale: read_scale(recipe, scale, data_dir)[1] for scale in recipe.scales}


def _own_rows(bundle: Bundle, rows: Sequence[TableRow]) -> LabelledRows:
    for row in rows:
        if row.label not in bundle.labels:
            hint = suggestion(row.label, bundle.labels)
            raise InvalidArgument(
                f"row {row.number}: the model has no label '{row.label}'{hint}", field="data"
            )
    return LabelledRows([row.text for row in rows], [row.label for row in rows])


def _measured(
    bundle: Bundle, rows: LabelledRows | Mapping[str, Sequence[Row]], cache_dir: Path
) -> Measured:
    if isinstance(rows, LabelledRows):
        return measure_classifier(bundle, rows, cache_dir)
    return scorer_measured(bundle, rows, cache_dir)


def _bare(bundle: Bundle) -> dict[str, Any]:
    """Return what a bundle says without what publishing it fills in."""
    return {key: value for key, value in bare_content(bundle).items() if key not in _MEASURED}


def _method(bundle: Bundle) -> list[str]:
    """Return the sentences of the card on how the model was made."""
    if "method" in bundle.content:
        return list(bundle.content["method"])
    # bundles that say nothing of it have it in their card alone
    card = (bundle.folder / "card.md").read_text(encoding="utf-8")
    section = card.partition("## Method")[2].partition("\n## ")[0]
    return re.findall(r"^- (.+)$", section, re.MULTILINE)


def _next_version(bundle: Bundle) -> str:
    major, minor, patch = bundle.version.split(".")
    return f"{major}.{minor}.{int(patch) + 1}"
