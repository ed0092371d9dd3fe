"""Makes the passages bundle: how meaning and words are mixed, calibration and thresholds.

The backbone is used as it is, so nothing is trained but a few numbers, chosen on validation rows; test
rows are not read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from slmesh.mesh.bundle import Bundle, digest_of, write_bundle
from slmesh.mesh.errors import FailedPrecondition
from slmesh.slm.passages.lexical import LexicalIndex
from slmesh.slm.passages.scoring import LONE_LEAD, mixed
from slmesh.tiers.calibration import expected_calibration_error, sigmoid
from slmesh.tiers.encoder import SentenceEncoder, load_encoder
from slmesh.training.ranking_data import OWN, PUBLIC, UNRELATED, Asked, ask_all
from slmesh.training.ranking_report import card

__all__ = ["train"]

_BACKBONE = "sha256:53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_TIERS = ("encoder", "lexical")
_SOURCES = (*PUBLIC, OWN)


def train(recipe: Path, data_dir: Path, cache_dir: Path, say: Callable[[str], None]) -> Bundle:
    """Choose, calibrate, measure and write the passages bundle.

    Args:
        recipe: The recipe; the bundle is written to a folder next to it, named by the version.
        data_dir: The folder with one folder for each public data set.
        cache_dir: Where the compiled backbone lies.
        say: Told of each step.

    Raises:
        FailedPrecondition: A data file differs from the recipe, or the backbone is not compiled.
    """
    plan = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    for entry in plan["data"]:
        for name, expected in entry["files"].items():
            found = digest_of(data_dir / name).removeprefix("sha256:")
            if found != expected:
                raise FailedPrecondition(f"{name}: expected sha256 {expected}, found {found}")
    encoder = load_encoder(cache_dir, _BACKBONE)
    if encoder is None:
        raise FailedPrecondition("no compiled encoder: run `slmesh models compile`")
    numbers = plan["numbers"]
    say("asking")
    asked = ask_all(data_dir, encoder, numbers["unrelated_rows"], plan["seed"])
    say(f"{len(asked)} questions asked")
    words, tried = _choose_words(asked, numbers)
    content: dict[str, Any] = {
        "name": plan["name"],
        "version": plan["version"],
        "contract": "rank/v1",
        "label_set": {"labels": ["answers"]},
        "tiers": ["lexical", "encoder"],
        "backbone": {"name": "all-MiniLM-L6-v2", "digest": _BACKBONE},
        "calibration": {"collections": [OWN]},
        "thresholds": {},
        "parameters": {"encoder": {"words": words}, "lexical": {"words": 1.0}},
        "metrics": {"tried": tried, "speed": _speed(encoder, words)},
        "data": plan["data"],
        "recipe_digest": digest_of(recipe),
    }
    for tier in _TIERS:
        weight = content["parameters"][tier]["words"]
        line, least, measured = _calibrate(asked, weight, numbers)
        content["calibration"][tier] = line
        content["thresholds"][tier] = least
        content["metrics"][tier] = measured
    folder = recipe.parent / plan["version"]
    golden = (folder / "golden.jsonl").read_text(encoding="utf-8")
    # The bundle format always has weights; this model's are the line of each tier.
    tensors = {
        f"{tier}.line": np.array(list(content["calibration"][tier].values()), np.float32)
        for tier in _TIERS
    }
    return write_bundle(
        folder, content, tensors, {"golden.jsonl": golden, "card.md": card(content)}
    )


def _mrr(asked: Sequence[Asked], source: str, words: float) -> float:
    """Return the mean reciprocal rank of the first right passage among the first ten."""
    ranks = []
    for question in asked:
        if question.source == source:
            order = np.argsort(-question.scores(words), kind="stable")[:10].tolist()
            right = [place for place, index in enumerate(order) if index in question.answers]
            ranks.append(1 / (right[0] + 1) if right else 0.0)
    return float(np.mean(ranks))


def _choose_words(
    asked: Sequence[Asked], numbers: Mapping[str, Any]
) -> tuple[float, dict[str, dict[str, float]]]:
    """Return the weight with the best mean MRR@10 that costs no set more than allowed, and all."""
    tried = {
        str(words): {source: _mrr(asked, source, words) for source in _SOURCES}
        for words in numbers["words_tried"]
    }
    plain = tried[str(0.0)]
    allowed = [
        words
        for words, row in tried.items()
        if all(row[source] >= plain[source] - numbers["most_lost"] for source in _SOURCES)
    ]
    return float(max(allowed, key=lambda words: sum(tried[words].values()))), tried


def _top_two(scores: np.ndarray) -> tuple[int, float, float]:
    """Return the place of the best passage, its score, and its lead over the second."""
    order = np.argsort(-scores, kind="stable")[:2].tolist()
    best = float(scores[order[0]])
    return order[0], best, best - float(scores[order[1]]) if len(order) > 1 else LONE_LEAD


def _calibrate(
    asked: Sequence[Asked], words: float, numbers: Mapping[str, Any]
) -> tuple[dict[str, float], dict[str, float], dict[str, Any]]:
    """Return the line fitted on one half of the questions, thresholds, and the other half's figures.

    The line is fitted on questions to the project's own collection and on unrelated ones. Lines over
    all sets were tried: what a score means differs too much between them.
    """
    from sklearn.linear_model import LogisticRegression

    tops = [_top_two(question.scores(words)) for question in asked]
    names = np.array([question.source for question in asked])
    first_half = np.array([question.half == 0 for question in asked])
    inputs = np.array([top[1:] for top in tops])
    right = np.array(
        [top[0] in question.answers for top, question in zip(tops, asked, strict=True)]
    )
    fitted = first_half & np.isin(names, (OWN, UNRELATED))
    model = LogisticRegression(C=1e4, max_iter=500).fit(inputs[fitted], right[fitted])
    probability = sigmoid(inputs @ model.coef_[0] + model.intercept_[0])
    unrelated = fitted & (names == UNRELATED)
    line = {
        "score": float(model.coef_[0, 0]),
        "lead": float(model.coef_[0, 1]),
        "bias": float(model.intercept_[0]),
    }
    found = first_half & right
    least = {
        "probability": float(
            np.quantile(probability[unrelated], 1 - numbers["unrelated_answered"])
        ),
        "score": min(
            float(np.quantile(inputs[found & (names == name), 0], numbers["right_lost"]))
            for name in PUBLIC
        ),
    }
    measured: dict[str, Any] = {"mrr_10": {name: _mrr(asked, name, words) for name in _SOURCES}}
    for name in (OWN, UNRELATED, *PUBLIC):
        held = ~first_half & (names == name)
        enough = probability >= least["probability"]
        if name in PUBLIC:
            enough = inputs[:, 0] >= least["score"]
        measured[name] = {
            "n": int(held.sum()),
            "right_first": float(right[held].mean()),
            "answered": float(enough[held].mean()),
            "right_of_answered": float(right[held & enough].mean()),
        }
    both = ~first_half & np.isin(names, (OWN, UNRELATED))
    measured["ece"] = expected_calibration_error(probability[both], right[both])
    return line, least, measured


def _speed(encoder: SentenceEncoder, words: float) -> dict[str, float]:
    """Return the least time to encode a question and to score and order 10,000 passages, in ms."""
    draw = np.random.default_rng(0)
    vectors = draw.standard_normal((10_000, 384), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vocabulary = [f"w{number}" for number in range(4000)]
    index = LexicalIndex([" ".join(draw.choice(vocabulary, 40)) for _ in range(10_000)])
    starts = np.arange(10_000)
    question = "how long does a transfer to w12 w57 w900 w1234 take until it arrives"
    encode, rank = [], []
    for _ in range(31):
        started = time.perf_counter()
        query = encoder.encode([question])[0]
        encoded = time.perf_counter()
        entries = mixed(vectors @ query, index.scores(question), words)
        np.argpartition(-np.maximum.reduceat(entries, starts), 10)[:10]
        encode.append(encoded - started)
        rank.append(time.perf_counter() - encoded)
    return {
        "encode_ms": 1e3 * min(encode),
        "rank_10000_ms": 1e3 * min(rank),
    }
