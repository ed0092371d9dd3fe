"""Makes the passages bundle: heads, how meaning and words are mixed, calibration and thresholds.

The heads are trained on training rows; every other number is chosen on validation rows. Test rows are
not read.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from slmesh.mesh.bundle import Bundle, digest_of, write_bundle
from slmesh.mesh.errors import FailedPrecondition
from slmesh.slm.passages.heads import PASSAGE, QUERY, Heads, load_heads
from slmesh.slm.passages.measure import rank_speed
from slmesh.tiers.encoder import TOKENIZER_FILE, encoder_folder
from slmesh.training.embeddings import embed
from slmesh.training.publish import bare_content
from slmesh.training.ranking_data import PUBLIC, Asked, Pool, ask, read_pools, texts_of
from slmesh.training.ranking_figures import (
    TIERS,
    choose_words,
    fit_judge,
    left_out_figures,
    measure,
)
from slmesh.training.ranking_report import card
from slmesh.training.rows import check_file
from slmesh.weights.fetch import Progress

__all__ = ["calibrate_again", "train", "write_card_again"]

_BACKBONE = "sha256:53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_GOLDEN, _TESTED = "golden.jsonl", "tested.json"


def train(recipe: Path, data_dir: Path, cache_dir: Path, progress: Progress) -> Bundle:
    """Train, choose, calibrate, measure and write the passages bundle.

    Embeddings are kept, so a run that was ended goes on where it was.

    Args:
        recipe: The recipe; the bundle is written to a folder next to it, named by the version.
        data_dir: The folder with one folder for each public data set.
        cache_dir: Where the compiled backbone lies, and embeddings are kept.
        progress: Told of each step.

    Raises:
        FailedPrecondition: A data file differs from the recipe, or the backbone is not compiled.
    """
    from slmesh.training.ranking_heads import train_heads  # torch, which only training needs

    plan = _plan(recipe, data_dir)
    pools = read_pools(data_dir, _tokenizer(cache_dir), train=True)
    vectors = _embedded(pools, cache_dir, progress)
    heads = train_heads(pools, vectors, plan["heads"], plan["seed"], progress)
    elsewhere = {
        source: train_heads(pools, vectors, _without(source, plan["heads"]), plan["seed"], progress)
        for source in plan["heads"]["sources"]
    }
    content: dict[str, Any] = {
        "name": plan["name"],
        "version": plan["version"],
        "contract": "rank/v1",
        "label_set": {"labels": ["answers"]},
        "tiers": ["lexical", "encoder"],
        "backbone": {"name": "all-MiniLM-L6-v2", "digest": _BACKBONE},
        "data": plan["data"],
        "recipe_digest": digest_of(recipe),
        "metrics": {"trained_on": _counts(pools)},
    }
    folder = recipe.parent / plan["version"]
    asked = _Validation(plan, data_dir, cache_dir, progress)
    fitted = _fitted(asked, heads, plan)
    words = fitted["parameters"]["encoder"]["words"]
    left_out = {
        source: left_out_figures(asked.ask(found, source), words, plan["numbers"])
        for source, found in elsewhere.items()
    }
    content["metrics"]["left_out"] = left_out
    # Passages of a request are of no set the heads know, so a set they do not know sets this.
    least = min(left_out[source]["least_score"] for source in PUBLIC)
    fitted["thresholds"]["encoder"]["score"] = least
    return asked.write(folder, content, heads, fitted)


def write_card_again(
    recipe: Path, bundle: Bundle, data_dir: Path, cache_dir: Path, progress: Progress
) -> Bundle:
    """Measure a bundle on validation rows again, and write its card, plots and metrics."""
    plan = _plan(recipe, data_dir)
    asked = _Validation(plan, data_dir, cache_dir, progress)
    fitted = {key: bundle.content[key] for key in ("parameters", "calibration", "thresholds")}
    return asked.write(bundle.folder, bare_content(bundle), load_heads(bundle.tensors()), fitted)


def calibrate_again(
    recipe: Path, bundle: Bundle, version: str, data_dir: Path, cache_dir: Path, progress: Progress
) -> Bundle:
    """Choose the weight of words, calibration and thresholds anew, and write another version."""
    plan = _plan(recipe, data_dir)
    asked = _Validation(plan, data_dir, cache_dir, progress)
    heads = load_heads(bundle.tensors())
    content = bare_content(bundle) | {"version": version}
    fitted = _fitted(asked, heads, plan)
    # It rests on heads trained without each set, which are not kept.
    fitted["thresholds"]["encoder"]["score"] = bundle.thresholds["encoder"]["score"]
    return asked.write(recipe.parent / version, content, heads, fitted)


class _Validation:
    """The validation questions, and what is written from them."""

    def __init__(
        self, plan: Mapping[str, Any], data_dir: Path, cache_dir: Path, progress: Progress
    ) -> None:
        numbers = plan["numbers"]
        self.plan, self.cache_dir, self.progress = plan, cache_dir, progress
        self.pools = read_pools(
            data_dir,
            _tokenizer(cache_dir),
            train=False,
            unrelated_rows=numbers["unrelated_rows"],
            seed=plan["seed"],
        )
        self.vectors = _embedded(self.pools, cache_dir, progress)

    def ask(self, heads: Heads, source: str = "") -> list[Asked]:
        """Return all questions, or those of one source, asked with some heads."""
        self.progress("asking the validation questions", 0.0)
        pools = [pool for pool in self.pools if source in ("", pool.source)]
        return ask(pools, self.vectors, heads)

    def write(
        self, folder: Path, content: dict[str, Any], heads: Heads, fitted: Mapping[str, Any]
    ) -> Bundle:
        """Measure with all numbers in place, and write the bundle with card and plots."""
        content |= fitted
        asked = self.ask(heads)
        measured = {tier: measure(asked, tier, content) for tier in TIERS}
        plots = measured["encoder"].plots
        golden = (folder.parent / _GOLDEN).read_text(encoding="utf-8")
        tensors = _tensors(content, heads)
        self.progress("measuring speed", 0.0)
        with tempfile.TemporaryDirectory() as scratch:
            bare = write_bundle(Path(scratch), content, tensors, {_GOLDEN: golden})
            speed = rank_speed(bare, self.cache_dir)
        content["metrics"] = {
            "trained_on": content["metrics"].get("trained_on", {}),
            "left_out": content["metrics"].get("left_out", {}),
            "tried": choose_words(asked, self.plan["numbers"])[1],
            "tried_without_heads": choose_words(self.ask(Heads()), self.plan["numbers"])[1],
            "speed": speed,
            **{tier: found.figures for tier, found in measured.items()},
        }
        tested = _tested(folder.parent / _TESTED, content["version"])
        texts = {_GOLDEN: golden, "card.md": card(content, tuple(plots), tested), **plots}
        return write_bundle(folder, content, tensors, texts)


def _tensors(content: Mapping[str, Any], heads: Heads) -> dict[str, np.ndarray]:
    """Return the arrays of a bundle, which always has some; without heads, the line of each tier."""
    tensors = {
        f"{tier}.line": np.array(
            [content["calibration"][tier][key] for key in ("score", "lead", "bias")], np.float32
        )
        for tier in TIERS
    }
    for name, change in ((QUERY, heads.query), (PASSAGE, heads.passage)):
        if change is not None:
            tensors[name] = change.astype(np.float16)
    return tensors


def _fitted(asked: _Validation, heads: Heads, plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return the weight of words, the calibration and the thresholds of both tiers."""
    questions, numbers = asked.ask(heads), plan["numbers"]
    words, _ = choose_words(questions, numbers)
    parameters = {"encoder": {"words": words}, "lexical": {"words": 1.0}}
    judges = {tier: fit_judge(questions, parameters[tier]["words"], numbers) for tier in TIERS}
    return {
        "parameters": parameters,
        "calibration": {"collections": ["bank_help"], **{t: j.line for t, j in judges.items()}},
        "thresholds": {tier: judge.least for tier, judge in judges.items()},
    }


def _without(source: str, numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers of heads that are trained without a source, in fewer steps."""
    sources = {name: plan for name, plan in numbers["sources"].items() if name != source}
    return {**numbers, "sources": sources, "steps": numbers["steps_without_a_source"]}


def _plan(recipe: Path, data_dir: Path) -> dict[str, Any]:
    plan: dict[str, Any] = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    for entry in plan["data"]:
        for name, sha256 in entry["files"].items():
            check_file(data_dir / name, sha256)
    return plan


def _tokenizer(cache_dir: Path) -> Path:
    path = encoder_folder(cache_dir, _BACKBONE) / TOKENIZER_FILE
    if not path.is_file():
        raise FailedPrecondition("no compiled encoder: run `slmesh models compile`")
    return path


def _embedded(pools: Sequence[Pool], cache_dir: Path, progress: Progress) -> dict[str, np.ndarray]:
    texts = texts_of(pools)
    return dict(zip(texts, embed(texts, cache_dir, _BACKBONE, progress), strict=True))


def _counts(pools: Sequence[Pool]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for pool in pools:
        counts[pool.source] = counts.get(pool.source, 0) + len(pool.questions)
    return counts


def _tested(path: Path, version: str) -> Mapping[str, Any]:
    """Return what `slmesh eval` printed for this version on the shared test rows; nothing without."""
    if not path.is_file():
        return {}
    tested: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return tested if tested.get("version") == version else {}
