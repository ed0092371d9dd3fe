"""Tells from a question alone how much a strong model would gain over a weak one, and measures it.

Three small models each estimate the gain, P(strong right) - P(weak right), and the score is their
mean: ridge regression on hashed word n-grams, ridge regression on a kernel over the sentence encoder's
embeddings, and boosted trees on what kind of question it is. Everything is fitted inside the training
folds, and settings that are chosen are chosen on one of them. It asks no service.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slmesh.evaluation.cached_answers import CachedAnswers, read_cached_answers
from slmesh.evaluation.routing_figures import apgr_intervals, recovered, router_figures
from slmesh.evaluation.splits import bucket
from slmesh.mesh.errors import InvalidArgument
from slmesh.mesh.settings import Settings
from slmesh.tiers.ngrams import NgramHasher
from slmesh.training.embeddings import embed
from slmesh.training.question_features import LENGTHS, question_features
from slmesh.weights.compile import compile_backbone
from slmesh.weights.fetch import Progress, silent

__all__ = [
    "Questions",
    "estimated_gains",
    "folds_of",
    "measure",
    "ngram_counts",
    "read_questions",
    "within_lengths",
]

BACKBONE = "all-MiniLM-L6-v2"
FOLDS = 5

_READ = 512
"""Code points at a prompt's end that the encoder reads: the question and its options stand there."""
_PENALTIES = (3.0, 10.0, 30.0)
"""Of both ridge regressions; tried on one of the training folds."""
_MIN_COUNT = 4
_HASH_BITS = 20
_CENTRES = 1000
"""Training questions that span the kernel's space (Williams and Seeger, NIPS 2000)."""
_BAGS = 4
_BAG_SHARE = 0.7
_TREES: Mapping[str, Any] = {
    "max_iter": 100,
    "learning_rate": 0.06,
    "max_leaf_nodes": 10,
    "min_samples_leaf": 30,
    "l2_regularization": 20,
    "max_features": 0.3,
}
_LENGTH_GROUPS = 20
_CURVE_POINTS = 100
_SEED = 0


@dataclass(frozen=True)
class Questions:
    """What the three models see of some questions.

    Attributes:
        counts: Sparse float32 (B, K): how often each has each hashed word n-gram.
        embeddings: float32 (B, D), each row of length 1.
        kinds: float32 (B, F), see :func:`slmesh.training.question_features.question_features`.
    """

    counts: Any
    embeddings: np.ndarray
    kinds: np.ndarray


def read_questions(
    prompts: Sequence[str], cache_dir: Path, on_progress: Progress = silent
) -> Questions:
    """Return what the models see; embeddings are kept in the cache.

    Raises:
        FailedPrecondition: The encoder is not there and cannot be compiled.
    """
    digest = compile_backbone(BACKBONE, cache_dir, on_progress).digest
    embeddings = embed([prompt[-_READ:] for prompt in prompts], cache_dir, digest, on_progress)
    return Questions(ngram_counts(prompts), embeddings, question_features(prompts))


def ngram_counts(prompts: Sequence[str]) -> Any:
    """Return how often each prompt has each n-gram that any of them has, sparse (B, K)."""
    from scipy.sparse import csr_matrix

    ngrams = NgramHasher(_HASH_BITS, (1, 2), ()).transform(prompts)
    known, columns = np.unique(ngrams.buckets, return_inverse=True)
    shape = (len(prompts), len(known))
    return csr_matrix((ngrams.counts, columns, ngrams.row_starts), shape=shape)


def folds_of(groups: Sequence[str]) -> np.ndarray:
    """Return the fold of each question, in [0, 5): by a hash, so the same every time."""
    return np.array([bucket(group) % FOLDS for group in groups])


def measure(files: Sequence[Path], settings: Settings, on_progress: Any = None) -> dict[str, Any]:
    """Cross-validate the score on cached answers and put it beside simpler ones.

    Args:
        files: See :func:`slmesh.evaluation.cached_answers.read_cached_answers`.
        settings: Where compiled encoders are.
        on_progress: Called with a line, now and then.

    Returns:
        ``n``; ``weak`` and ``strong``, the models' accuracies; ``routers``: for each its figures (see
        ``routing_figures``) with ``low`` and ``high`` and ``difference_low`` and ``difference_high``
        against prompt length; ``length_share``, the part of what the score gains over a random router
        that the fitted prompt length gains too; ``curves``, points of (share of strong calls, PGR).

    Raises:
        InvalidArgument: A file is wrong, or a fold would be empty.
    """
    say = on_progress or (lambda line: None)
    answers = read_cached_answers(files)
    folds = folds_of(answers.groups)
    if len(set(folds.tolist())) < FOLDS:
        raise InvalidArgument(
            f"{len(folds)} questions are too few for {FOLDS} folds", reason="TOO_FEW_ROWS"
        )
    questions = read_questions(
        answers.prompts, settings.cache_dir, lambda what, share: say(f"{what}: {share:.0%}")
    )
    estimates = estimated_gains(questions, answers, folds, say)
    routers = _routers(answers, estimates)
    intervals = apgr_intervals(routers, answers.gains, "prompt length, fitted", _SEED)
    rows = {
        name: router_figures(scores, answers.gains) | intervals[name]
        for name, scores in routers.items()
    }
    length, full = rows["prompt length, fitted"]["apgr"], rows["all three"]["apgr"]
    return {
        "n": len(folds),
        "weak": float(answers.weak.mean()),
        "strong": float(answers.strong.mean()),
        "routers": rows,
        "length_share": (length - 0.5) / (full - 0.5),
        "curves": {name: _points(scores, answers.gains) for name, scores in routers.items()},
    }


def _routers(answers: CachedAnswers, estimates: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    lengths = np.array([len(prompt) for prompt in answers.prompts], float)
    return {
        "random": np.zeros(len(lengths)),  # of one score: in random order
        "prompt length, longest first": lengths,
        **estimates,
        "all three, within lengths": within_lengths(estimates["all three"], lengths),
        "oracle": answers.gains,
    }


def within_lengths(scores: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return scores that know nothing of length: ranks among the prompts of about the same one.

    Args:
        scores: (B,).
        lengths: (B,); those of one twentieth are taken to be alike.

    Returns:
        (B,) in (0, 1): each twentieth has every rank.
    """
    order = np.argsort(lengths, kind="stable")
    ranks = np.empty(len(scores))
    for group in np.array_split(order, min(_LENGTH_GROUPS, len(order))):
        places = np.argsort(np.argsort(scores[group], kind="stable"))
        ranks[group] = (places + 0.5) / len(group)
    return ranks


def estimated_gains(
    questions: Questions, answers: CachedAnswers, folds: np.ndarray, say: Any
) -> dict[str, np.ndarray]:
    """Return each model's estimate of every question's gain by models that have not seen it.

    Returns:
        (B,) for each of the three models, their mean "all three", and trees on length alone.
    """
    gains = answers.gains
    found: dict[str, np.ndarray] = {}
    for fold, (train, held) in enumerate(_splits(folds)):
        inner = train[folds[train] == (fold + 1) % FOLDS], train[folds[train] != (fold + 1) % FOLDS]
        made = {
            "prompt length, fitted": _trees(questions.kinds[:, :LENGTHS], answers, train, held),
            "word n-grams": _ngrams(questions.counts, gains, train, held, inner),
            "embeddings": _kernel(questions.embeddings, gains, train, held, inner),
            "kind of question": _trees(questions.kinds, answers, train, held),
        }
        made["all three"] = np.mean([*made.values()][1:], axis=0)
        for name, values in made.items():
            found.setdefault(name, np.empty(len(folds)))[held] = values
        say(f"fold {fold + 1} of {FOLDS}")
    return found


def _splits(folds: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for fold in range(FOLDS):
        yield np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)


_Inner = tuple[np.ndarray, np.ndarray]
"""The training questions that settings are tried on, and the others."""

_Fit = Callable[[np.ndarray, np.ndarray, Sequence[float]], list[np.ndarray]]
"""Takes rows to fit on, rows to estimate and penalties; returns the estimates by each."""


def _ngrams(
    counts: Any, gains: np.ndarray, train: np.ndarray, held: np.ndarray, inner: _Inner
) -> np.ndarray:
    from sklearn.linear_model import Ridge

    def fitted(rows: np.ndarray, asked: np.ndarray, penalties: Sequence[float]) -> list[np.ndarray]:
        frequency = counts[rows].getnnz(axis=0)
        kept = np.flatnonzero(frequency >= _MIN_COUNT)
        rarity = np.log((1 + len(rows)) / (1 + frequency[kept])) + 1.0
        known, new = (_weighted(counts[some][:, kept], rarity) for some in (rows, asked))
        models = [Ridge(alpha=p, solver="sparse_cg", tol=1e-2) for p in penalties]
        return [model.fit(known, gains[rows]).predict(new) for model in models]

    return _chosen(fitted, gains, train, held, inner)


def _chosen(
    fitted: _Fit, gains: np.ndarray, train: np.ndarray, held: np.ndarray, inner: _Inner
) -> np.ndarray:
    """Fit with the penalty that has the least squared error on one of the training folds."""
    tried, rest = inner
    losses = [((made - gains[tried]) ** 2).mean() for made in fitted(rest, tried, _PENALTIES)]
    return fitted(train, held, [_PENALTIES[int(np.argmin(losses))]])[0]


def _weighted(counts: Any, rarity: np.ndarray) -> Any:
    """Weight n-grams as the linear tier does, rows of length 1."""
    from sklearn.preprocessing import normalize

    weighted = counts.copy()
    weighted.data = (1.0 + np.log(weighted.data)) * rarity[weighted.indices]
    return normalize(weighted, copy=False).astype(np.float32)


def _kernel(
    embeddings: np.ndarray, gains: np.ndarray, train: np.ndarray, held: np.ndarray, inner: _Inner
) -> np.ndarray:
    """Regress on exp(2 cosine - 2), in the space that some of the training questions span."""
    random = np.random.default_rng(_SEED)
    chosen = random.choice(train, min(_CENTRES, len(train)), replace=False)
    centres = embeddings[chosen]
    values, vectors = np.linalg.eigh(np.exp(2.0 * (centres @ centres.T - 1.0)).astype(np.float64))
    large = values > 1e-4
    whitened = (vectors[:, large] / np.sqrt(values[large])).astype(np.float32)

    def fitted(rows: np.ndarray, asked: np.ndarray, penalties: Sequence[float]) -> list[np.ndarray]:
        known, new = (
            np.exp(2.0 * (embeddings[some] @ centres.T - 1.0)) @ whitened for some in (rows, asked)
        )
        middle, mean = known.mean(axis=0), float(gains[rows].mean())
        known, new = known - middle, new - middle
        moments, towards = known.T @ known, known.T @ (gains[rows] - mean)
        unit = np.eye(len(moments))
        return [new @ np.linalg.solve(moments + p * unit, towards) + mean for p in penalties]

    return _chosen(fitted, gains, train, held, inner)


def _trees(
    features: np.ndarray, answers: CachedAnswers, train: np.ndarray, held: np.ndarray
) -> np.ndarray:
    """Return P(strong right) - P(weak right) by two bagged ensembles of boosted trees."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    estimated = np.zeros(len(held))
    for bag in range(_BAGS):
        size = round(_BAG_SHARE * len(train))
        rows = np.random.default_rng((_SEED, bag)).choice(train, size, replace=False)
        for sign, right in ((1.0, answers.strong), (-1.0, answers.weak)):
            model = HistGradientBoostingRegressor(**_TREES, random_state=bag)
            model.fit(features[rows], right[rows])
            estimated += sign * model.predict(features[held]) / _BAGS
    return estimated


def _points(scores: np.ndarray, gains: np.ndarray) -> list[tuple[float, float]]:
    curve = recovered(scores, gains)
    places = np.unique(np.linspace(0, len(gains), _CURVE_POINTS + 1).astype(int)).tolist()
    return [(place / len(gains), float(curve[place])) for place in places]
