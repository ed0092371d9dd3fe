"""Makes the guard's bundle: trains and calibrates the injection check, measures both checks.

Everything is chosen on training rows (out of fold) and on validation rows; test rows are not read.
It knows the shape of the guard's bundle and nothing of serving.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from slmesh.mesh.bundle import Bundle, digest_of
from slmesh.mesh.errors import FailedPrecondition
from slmesh.slm.guard.injection import HEADS, ngram_scores, weighted
from slmesh.slm.guard.personal import KINDS
from slmesh.slm.guard.word_classes import WORDS_DIGEST, class_features
from slmesh.tiers.encoder import SentenceEncoder, load_encoder
from slmesh.tiers.ngrams import NgramHasher, Ngrams
from slmesh.training.embeddings import embed
from slmesh.training.rows import check_file
from slmesh.training.screening_data import TRAIN, Example, Window, cut, read_examples
from slmesh.training.screening_personal import (
    chosen_leniency,
    leniency_curve,
    personal_metrics,
    train_taggers,
)
from slmesh.training.screening_report import publish
from slmesh.training.screening_thresholds import best_of_texts, fitted_line, out_of_fold, threshold

__all__ = [
    "Features",
    "Fitted",
    "features_of",
    "fitted_tiers",
    "injection_part",
    "opened",
    "train",
]

_BACKBONE = "sha256:53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


PASSAGES = Path(__file__).parents[1] / "slm" / "passages" / "bank_help.jsonl"
"""A collection written for this project: texts without names and without injections."""


@dataclass(frozen=True)
class Fitted:
    """A linear model: a weight for each bucket, class and dimension (or none), and a bias."""

    ngrams: np.ndarray  # float32 (2**bits,)
    classes: np.ndarray  # float32 (C,)
    embedding: np.ndarray | None  # float32 (D,)
    bias: float


@dataclass(frozen=True)
class Features:
    """The features of all windows, row for row."""

    ngrams: Ngrams
    sparse: Any  # scipy.sparse.csr_matrix (N, 2**bits)
    classes: np.ndarray  # float32 (N, C)
    embeddings: np.ndarray  # float32 (N, D)


@dataclass(frozen=True)
class _Task:
    """One tier of one head to fit, and how much its embedding counts (0: not at all)."""

    head: str
    embedding_scale: float
    numbers: Mapping[str, Any]


@dataclass(frozen=True)
class _Trained:
    """What training fills in, each but the tensors by head."""

    tensors: dict[str, np.ndarray]
    calibration: dict[str, Any]
    thresholds: dict[str, Any]
    out_of_fold: dict[str, Any]
    gates: dict[str, float]


def train(recipe: Path, data_dir: Path, cache_dir: Path, say: Callable[[str], None]) -> Bundle:
    """Train, calibrate, measure and write the guard's bundle.

    Args:
        recipe: The recipe; the bundle is written to a folder next to it, named by the version.
        data_dir: The folder with one folder for each public data set.
        cache_dir: Where the compiled backbone lies.
        say: Told of each step.

    Raises:
        FailedPrecondition: A data file differs from the recipe, or the backbone is not compiled.
    """
    plan, encoder, examples = opened(recipe, data_dir, cache_dir)
    content, tensors = injection_part(recipe, plan, examples, cache_dir, say)
    say("training the tagger")
    taggers = train_taggers(recipe, plan, data_dir, PASSAGES, encoder, say)
    curve = leniency_curve(data_dir, range(7), taggers.blind_to)
    leniency = chosen_leniency(curve, plan["numbers"]["redaction_recall"])
    content["thresholds"]["personal"] = {"redaction_leniency": leniency}
    content["metrics"] |= {
        "redaction_curve": curve,
        "personal_data_seen": personal_metrics(data_dir, range(7), taggers.blind_to, leniency),
    }
    say("measuring")
    folder = recipe.parent / content["version"]
    golden = (recipe.parent / "golden.jsonl").read_text(encoding="utf-8")
    tensors |= taggers.tensors
    return publish(folder, content, tensors, golden, examples, encoder, data_dir)


def injection_part(
    recipe: Path,
    plan: Mapping[str, Any],
    examples: Sequence[Example],
    cache_dir: Path,
    say: Callable[[str], None],
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Train the injection check alone.

    Args:
        recipe: The recipe.
        plan: Its content.
        examples: Training and validation rows.
        cache_dir: Where the compiled backbone lies.
        say: Told of each step.

    Returns:
        What the bundle says, without personal data, and the weights.
    """
    numbers = plan["numbers"]
    cuts = cut(examples)
    say(f"encoding {len(cuts)} windows of {len(examples)} texts")
    features = features_of([window.text for window in cuts], numbers, cache_dir)
    trained = _Trained(
        tensors={}, calibration=_by_head(), thresholds=_by_head(), out_of_fold=_by_head(), gates={}
    )
    for head in HEADS:
        _train_head(examples, cuts, features, head, numbers, trained)
        say(f"{head}, out of fold: {trained.out_of_fold[head]}")
    content = {
        "name": plan["name"],
        "version": plan["version"],
        "contract": "guard/v1",
        "label_set": {"labels": [*KINDS, "injection"]},
        "tiers": ["rules", "linear", "encoder"],
        "backbone": {"name": "all-MiniLM-L6-v2", "digest": _BACKBONE},
        "calibration": {"injection": trained.calibration},
        "thresholds": {"injection": trained.thresholds},
        "parameters": {
            "injection": {key: numbers[key] for key in ("bits", "word_sizes", "char_sizes")}
            | {"gate": trained.gates, "allowed": numbers["false_positive_rate"]}
            | {"words": WORDS_DIGEST}
        },
        "metrics": {"out_of_fold": trained.out_of_fold},
        "data": plan["data"],
        "recipe_digest": digest_of(recipe),
    }
    return content, trained.tensors


def opened(
    recipe: Path, data_dir: Path, cache_dir: Path
) -> tuple[dict[str, Any], SentenceEncoder, list[Example]]:
    """Return the recipe's content, the backbone and the examples of the injection check.

    Raises:
        FailedPrecondition: A data file differs from the recipe, or the backbone is not compiled.
    """
    plan: dict[str, Any] = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    for entry in plan["data"]:
        for name, sha256 in entry["files"].items():
            check_file(data_dir / name, sha256)
    encoder = load_encoder(cache_dir, _BACKBONE)
    if encoder is None:
        raise FailedPrecondition("no compiled encoder: run `slmesh models compile`")
    own = {
        "written": recipe.parent / "written.jsonl",
        "phrases": recipe.parent / "phrases.yaml",
        "passages": PASSAGES,
        "unseen_passages": PASSAGES.with_name("general_help.jsonl"),
    }
    return plan, encoder, read_examples(data_dir, own, plan["numbers"]["rows"], plan["seed"])


def _by_head() -> dict[str, Any]:
    return {head: {} for head in HEADS}


def _train_head(
    examples: Sequence[Example],
    cuts: Sequence[Window],
    features: Features,
    head: str,
    numbers: Mapping[str, Any],
    trained: _Trained,
) -> None:
    """Train, calibrate and set the threshold of both tiers of a head."""
    for tier, fitted, scores in fitted_tiers(examples, cuts, features, head, numbers):
        best = best_of_texts(examples, cuts, head, scores)
        slope, offset = fitted_line(examples, best)
        lowest = threshold(examples, best, numbers["false_positive_rate"])
        prefix = f"injection.{head}.{tier}."
        trained.tensors[prefix + "ngrams"] = fitted.ngrams.astype(np.float16)
        trained.tensors[prefix + "classes"] = fitted.classes
        if fitted.embedding is not None:
            trained.tensors[prefix + "embedding"] = fitted.embedding
        line = {"bias": fitted.bias, "slope": slope, "offset": offset}
        trained.calibration[head][tier] = line
        trained.thresholds[head][tier] = _sigmoid(slope * lowest + offset)
        trained.out_of_fold[head][tier] = out_of_fold(examples, best, lowest)
        if tier == "linear":
            trained.gates[head] = _sigmoid(slope * numbers["gate_logit"] + offset)


def fitted_tiers(
    examples: Sequence[Example],
    cuts: Sequence[Window],
    features: Features,
    head: str,
    numbers: Mapping[str, Any],
) -> Iterator[tuple[str, Fitted, np.ndarray]]:
    """Yield each tier of a head with its model and a score for every window, float64 (N,).

    Training windows are scored by a model that has not seen their group; windows of the other head,
    and those the first tier keeps from the second, have -inf.
    """
    gate: np.ndarray | None = None
    for tier in ("linear", "encoder"):
        scale = numbers["embedding_scale"][head] if tier == "encoder" else 0.0
        fitted, scores = _fit_head(examples, cuts, features, _Task(head, scale, numbers))
        if gate is None:
            gate = scores >= numbers["gate_logit"]
        else:  # the second tier never sees what the first is sure of
            scores = np.where(gate, scores, -np.inf)
        yield tier, fitted, scores


def features_of(texts: Sequence[str], numbers: Mapping[str, Any], cache_dir: Path) -> Features:
    """Return the features of windows; their embeddings are kept in the cache.

    Raises:
        FailedPrecondition: The encoder is not compiled, or damaged.
    """
    from scipy import sparse

    hasher = NgramHasher(numbers["bits"], numbers["word_sizes"], numbers["char_sizes"])
    ngrams = hasher.transform(texts)
    matrix = sparse.csr_matrix(
        (weighted(ngrams), ngrams.buckets.astype(np.int64), ngrams.row_starts),
        shape=(len(texts), 1 << numbers["bits"]),
    )
    distinct = sorted(set(texts))
    place = {text: index for index, text in enumerate(distinct)}
    embeddings = embed(distinct, cache_dir, _BACKBONE)[[place[text] for text in texts]]
    return Features(ngrams, matrix, class_features(texts), embeddings)


def _fit_head(
    examples: Sequence[Example],
    cuts: Sequence[Window],
    features: Features,
    task: _Task,
) -> tuple[Fitted, np.ndarray]:
    """Return the model of all training windows, and a score for every window of the head.

    Training windows are scored by a model that has not seen their group.
    """
    from zlib import crc32

    owner = [examples[window.example] for window in cuts]
    mine = np.array([example.head == task.head for example in owner])
    training = mine & np.array([example.split == TRAIN for example in owner])
    known = training & np.array([window.label is not None for window in cuts])
    fold = np.array([crc32(example.group.encode()) % task.numbers["folds"] for example in owner])
    fitted = _fit(owner, cuts, features, known, task)
    scores = np.where(mine, _scores(features, fitted), -np.inf)
    for number in range(task.numbers["folds"]):
        part = _fit(owner, cuts, features, known & (fold != number), task)
        held = training & (fold == number)
        scores[held] = _scores(features, part)[held]
    return fitted, scores


def _fit(
    owner: Sequence[Example],
    cuts: Sequence[Window],
    features: Features,
    rows: np.ndarray,
    task: _Task,
) -> Fitted:
    from scipy import sparse
    from sklearn.linear_model import LogisticRegression

    chosen = np.flatnonzero(rows)
    labels = np.array([cuts[index].label for index in chosen.tolist()])
    class_scale = task.numbers["class_scale"][task.head]
    parts = [features.sparse[chosen], sparse.csr_matrix(features.classes[chosen] * class_scale)]
    if task.embedding_scale:
        parts.append(sparse.csr_matrix(features.embeddings[chosen] * task.embedding_scale))
    matrix = sparse.hstack(parts).tocsr()
    model = LogisticRegression(C=task.numbers["inverse_regularisation"], max_iter=300)
    model.fit(
        matrix, labels, sample_weight=_weights([owner[i].source for i in chosen.tolist()], labels)
    )
    weights = model.coef_[0].astype(np.float32)
    size = 1 << task.numbers["bits"]
    last = size + features.classes.shape[1]
    # What is stored is half precision, so the scores that thresholds come from are too.
    ngrams = weights[:size].astype(np.float16).astype(np.float32)
    embedding = weights[last:] * task.embedding_scale if task.embedding_scale else None
    classes = weights[size:last] * class_scale
    return Fitted(ngrams, classes, embedding, float(model.intercept_[0]))


def _weights(sources: Sequence[str], labels: np.ndarray) -> np.ndarray:
    """Return a weight for each row: both classes weigh alike, a source as the root of its size."""
    weights = np.ones(len(labels))
    names = np.array(sources)
    for label in (0, 1):
        in_class = labels == label
        for source in set(names[in_class]):
            rows = in_class & (names == source)
            weights[rows] = 1 / np.sqrt(rows.sum())
        weights[in_class] /= weights[in_class].sum()
    scaled: np.ndarray = weights * len(labels) / 2
    return scaled


def _scores(features: Features, fitted: Fitted) -> np.ndarray:
    scores: np.ndarray = ngram_scores(features.ngrams, fitted.ngrams) + fitted.bias
    scores = scores + features.classes @ fitted.classes
    if fitted.embedding is not None:
        scores = scores + features.embeddings @ fitted.embedding
    return scores


def _sigmoid(logit: float) -> float:
    return float(1 / (1 + np.exp(-logit)))
