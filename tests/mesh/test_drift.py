"""How far a window of texts and answers is from a reference."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tests.mesh.test_bundle import CONTENT

from slmesh.api.classify.v1.classify_pb2 import ClassifyRequest, ClassifyResponse, Label, Labels
from slmesh.api.extract.v1.extract_pb2 import ExtractRequest, ExtractResponse
from slmesh.api.rank.v1.rank_pb2 import RankRequest, RankResponse
from slmesh.api.score.v1.score_pb2 import Level, ScaleScore, ScoreRequest, ScoreResponse, Scores
from slmesh.api.types.v1.provenance_pb2 import Provenance
from slmesh.mesh.bundle import write_bundle
from slmesh.mesh.drift import REFERENCE_FILE, DriftWatch, Sketch, divergence, signs_of
from slmesh.mesh.errors import FailedPrecondition, Unavailable


def asked(text: str) -> ClassifyRequest:
    return ClassifyRequest(text=text)


def answered(label: str, probability: float = 0.9, tier: str = "linear") -> ClassifyResponse:
    labels = Labels(labels=[Label(name=label, probability=probability)])
    return ClassifyResponse(labels=labels, provenance=Provenance(tier=tier))


def rows(count: int, *, shift: int = 0, sure: float = 0.9) -> tuple[list, list]:
    """Return requests and answers over ten words and two labels, or ten other words."""
    requests = [asked(f"word{i % 10 + shift} word{i // 2 % 10 + shift}") for i in range(count)]
    return requests, [answered("ab"[i % 2], sure) for i in range(count)]


def watch(**values: int) -> DriftWatch:
    reference = Sketch.over(map(signs_of, *rows(400)))
    return DriftWatch({"linear": reference}, **{"least_texts": 50} | values)


def feed(watch: DriftWatch, count: int, **values: float) -> None:
    for request, response in zip(*rows(count, **values), strict=True):
        watch.observe([request], [response])


def test_texts_like_the_reference_do_not_drift():
    drift = watch()
    feed(drift, 200)
    assert drift.score() == 0.0


@pytest.mark.parametrize(
    ("part", "values"),
    [
        pytest.param("words", {"shift": 50}, id="words"),
        pytest.param("confidences", {"sure": 0.4}, id="confidences"),
    ],
)
def test_what_shifts_is_told(part, values):
    drift = watch()
    feed(drift, 200, **values)
    parts = drift.parts()
    assert parts[part] > 0.3
    assert drift.score() == max(parts.values())
    assert sum(value > 0.01 for value in parts.values()) == 1


def test_labels_that_shift_are_told():
    drift = watch()
    requests, _ = rows(200)
    for request in requests:
        drift.observe([request], [answered("a")])
    assert drift.parts()["labels"] > 0.1


def test_too_few_texts_tell_nothing():
    drift = watch(least_texts=50)
    feed(drift, 49, shift=50)
    assert drift.score() == 0.0


def test_old_texts_are_forgotten():
    drift = watch(window_texts=100)
    feed(drift, 100, shift=50)
    assert drift.score() > 0.3
    feed(drift, 100)
    assert drift.score() == 0.0


def test_of_a_large_batch_a_few_are_looked_at_each_in_its_turn():
    drift = watch(least_texts=1)
    requests, answers = rows(32)
    for _ in range(8):
        drift.observe(requests, answers)
    assert drift.score() == 0.0
    assert drift._sketch.texts == 32


def test_an_error_is_no_answer():
    drift = watch(least_texts=1)
    drift.observe([asked("x")], [Unavailable("away")])
    assert drift.parts() == {}


def test_the_first_tier_alone_has_a_reference_of_its_own():
    unsure = Sketch.over(map(signs_of, *rows(400, sure=0.4)))
    sure = Sketch.over(map(signs_of, *rows(400, sure=0.9)))
    drift = DriftWatch({"linear": unsure, "cascade": sure}, least_texts=50)
    feed(drift, 100, sure=0.4)
    assert drift.score() == 0.0
    drift.observe([asked("word1")], [answered("a", 0.4, "encoder")])
    assert drift.score() > 0.3


def test_a_scorer_names_a_level_of_each_scale():
    levels = [Level(name="low", probability=0.25), Level(name="high", probability=0.75)]
    score = ScoreResponse(scores=Scores(scores=[ScaleScore(scale="urgency", levels=levels)]))
    signs = signs_of(ScoreRequest(text="now"), score)
    assert signs.labels == ("urgency/high",)
    assert signs.confidences == (7,)


def test_an_abstention_is_counted_as_one():
    response = ClassifyResponse()
    response.abstention.confidence = 0.3
    assert signs_of(asked("x"), response).labels == ("",)


@pytest.mark.parametrize(
    ("request_", "response"),
    [
        pytest.param(ExtractRequest(text="two words"), ExtractResponse(), id="extract"),
        pytest.param(RankRequest(query="two words"), RankResponse(), id="rank"),
    ],
)
def test_a_contract_without_labels_has_its_words_watched(request_, response):
    signs = signs_of(request_, response)
    assert (len(signs.words), signs.labels) == (2, ())


@pytest.mark.parametrize("size", [200, 1000])
def test_chance_alone_hardly_diverges(size):
    draw = np.random.default_rng(size)
    shares = draw.dirichlet(np.ones(77))
    apart = [
        divergence(draw.multinomial(size, shares), draw.multinomial(1000, shares))
        for _ in range(50)
    ]
    assert np.mean(apart) < 0.02
    assert max(apart) < 0.06


def test_divergence_is_between_nothing_and_one():
    assert divergence(np.array([5, 5]), np.array([500, 500])) == 0.0
    apart = divergence(np.array([10**6, 0]), np.array([0, 10**6]))
    assert apart == pytest.approx(1.0, abs=1e-4)
    assert divergence(np.zeros(3), np.ones(3)) == 0.0


def bundle_with(folder, text):
    files = {REFERENCE_FILE: text} if text is not None else {}
    return write_bundle(folder, CONTENT, {"w": np.zeros(1)}, files)


def test_a_bundle_without_a_reference_is_not_watched(tmp_path):
    assert DriftWatch.of(bundle_with(tmp_path, None)) is None
    assert DriftWatch.of(None) is None


def test_a_reference_survives_the_disk(tmp_path):
    reference = Sketch.over(map(signs_of, *rows(400)))
    text = json.dumps({"linear": reference.content()})
    drift = DriftWatch.of(bundle_with(tmp_path, text))
    assert drift is not None
    feed(drift, 400)
    assert drift.score() == 0.0


@pytest.mark.parametrize("text", ["no json", "[]", "{}", '{"linear": {"texts": 1}}'])
def test_a_broken_reference_is_refused(tmp_path, text):
    with pytest.raises(FailedPrecondition, match="cannot be read"):
        DriftWatch.of(bundle_with(tmp_path, text))
