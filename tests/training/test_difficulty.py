"""The difficulty of questions: models see only training folds, and find what there is to find."""

from __future__ import annotations

import numpy as np
import pytest
from tests.evaluation.samples import write_rows

from slmesh.evaluation.cached_answers import CachedAnswers
from slmesh.evaluation.routing_figures import apgr
from slmesh.mesh.errors import InvalidArgument
from slmesh.mesh.settings import Settings
from slmesh.training import difficulty
from slmesh.training.difficulty import (
    Questions,
    estimated_gains,
    folds_of,
    ngram_counts,
    within_lengths,
)
from slmesh.training.question_features import question_features

HARD, EASY = "prove the theorem about groups", "name the capital of the country"


def made(count: int, seed: int) -> tuple[Questions, CachedAnswers]:
    """Return questions of two kinds, of which the weak model fails one, most of the time."""
    random = np.random.default_rng(seed)
    hard = random.random(count) < 0.5
    prompts = [f"{HARD if is_hard else EASY} {i}" for i, is_hard in enumerate(hard)]
    weak = (random.random(count) < np.where(hard, 0.1, 0.9)).astype(float)
    answers = CachedAnswers(prompts, prompts, weak, np.maximum(weak, random.random(count) < 0.9))
    embeddings = random.normal(size=(count, 8)) + np.where(hard, 1.0, -1.0)[:, None]
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    kinds = question_features(prompts)
    return Questions(ngram_counts(prompts), embeddings.astype(np.float32), kinds), answers


@pytest.fixture(scope="module")
def learnt():
    questions, answers = made(300, 1)
    folds = folds_of(answers.groups)
    return questions, answers, estimated_gains(questions, answers, folds, lambda line: None)


@pytest.mark.parametrize("name", ["word n-grams", "embeddings", "kind of question", "all three"])
def test_each_model_finds_the_kind_of_question_the_weak_model_fails(learnt, name):
    _, answers, estimates = learnt
    assert apgr(estimates[name], answers.gains) > 0.57
    assert apgr(estimates[name], answers.gains) <= apgr(answers.gains, answers.gains)


def test_an_estimate_is_a_gain(learnt):
    _, answers, estimates = learnt
    assert estimates["all three"].mean() == pytest.approx(answers.gains.mean(), abs=0.05)


def test_no_model_sees_the_answers_of_the_fold_it_is_asked_about(learnt):
    questions, answers, estimates = learnt
    folds = folds_of(answers.groups)
    held = folds == 0
    turned = CachedAnswers(
        answers.prompts,
        answers.groups,
        np.where(held, 1.0 - answers.weak, answers.weak),
        np.where(held, 1.0 - answers.strong, answers.strong),
    )
    again = estimated_gains(questions, turned, folds, lambda line: None)
    for name, found in estimates.items():
        assert found[held].tolist() == again[name][held].tolist(), name
        assert found[~held].tolist() != again[name][~held].tolist(), "others learn from it"


def test_folds_do_not_depend_on_the_order_of_rows():
    names = [f"question {i}" for i in range(500)]
    folds = dict(zip(names, folds_of(names), strict=True))
    assert folds_of(names[::-1]).tolist() == [folds[name] for name in names[::-1]]
    assert set(folds.values()) == set(range(5))
    assert min(np.bincount(list(folds.values()))) > 70


def test_scores_within_lengths_forget_length():
    lengths = np.arange(1000.0)
    by_length = within_lengths(lengths, lengths)
    gains = (np.random.default_rng(5).random(1000) < lengths / 1000).astype(float)
    assert apgr(lengths, gains) > 0.6
    assert apgr(by_length, gains) == pytest.approx(0.5, abs=0.03)


def test_too_few_questions_for_five_folds_are_refused(tmp_path):
    rows = [{"prompt": "Who?", "weak_correct": False, "strong_correct": True}]
    write_rows(tmp_path / "few.jsonl", rows)
    with pytest.raises(InvalidArgument, match="too few"):
        difficulty.measure([tmp_path / "few.jsonl"], Settings())
