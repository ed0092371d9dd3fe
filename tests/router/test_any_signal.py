"""Whatever a service says within its contract, the cascade decides and never breaks."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.router.mesh_services import SERVICES

from slmesh.api.classify.v1.classify_pb2 import ClassifyResponse
from slmesh.api.extract.v1.extract_pb2 import ExtractResponse
from slmesh.api.guard.v1.guard_pb2 import ScreenResponse
from slmesh.api.rank.v1.rank_pb2 import RankResponse
from slmesh.api.route.v1 import route_pb2
from slmesh.api.score.v1.score_pb2 import ScoreResponse
from slmesh.router.cascade import decide
from slmesh.router.flow_book import load_flow
from slmesh.router.signals import signal_of

FLOWS = Path(__file__).resolve().parents[2] / "services" / "slmesh" / "router" / "flows"
CONTRACTS = {name: contract for name, (contract, _) in SERVICES.items()}
SUPPORT = load_flow(FLOWS / "support.yaml", CONTRACTS)

probability = st.floats(0, 1)
label = st.fixed_dictionaries(
    {"name": st.sampled_from(["card_arrival", "change_pin", "", "x"]), "probability": probability}
)
abstention = st.fixed_dictionaries({"reason": st.integers(1, 3), "confidence": probability}).map(
    lambda value: {"abstention": value}
)
classification = st.one_of(
    st.just({}), abstention, st.lists(label, max_size=3).map(lambda v: {"labels": {"labels": v}})
)
passage = st.fixed_dictionaries(
    {"id": st.sampled_from(["card-arrival-late", "x", ""]), "text": st.text(max_size=5)},
    optional={"probability": probability},
)
ranking = st.one_of(
    st.just({}),
    abstention,
    st.lists(passage, max_size=3).map(lambda v: {"ranking": {"passages": v}}),
)
level = st.fixed_dictionaries(
    {"name": st.sampled_from(["critical", "negative", "low"]), "probability": probability}
)
scale = st.fixed_dictionaries(
    {"scale": st.sampled_from(["urgency", "sentiment", "x"]), "levels": st.lists(level, max_size=3)}
)
scoring = st.one_of(
    st.just({}), abstention, st.lists(scale, max_size=3).map(lambda v: {"scores": {"scores": v}})
)
finding = st.fixed_dictionaries(
    {"kind": st.sampled_from(["injection", "email"])}, optional={"probability": probability}
)
screening = st.lists(finding, max_size=3).map(lambda v: {"findings": v})
value = st.one_of(
    st.just({}),
    st.just({"money": {"currency_code": "", "minor_units": -(2**63)}}),
    st.just({"date": "2026-02-29"}),
    st.just({"date": ""}),
)
field = st.fixed_dictionaries({"name": st.sampled_from(["amount", "date"]), "value": value})
extraction = st.lists(field, max_size=3).map(lambda v: {"fields": v})
on_failure = st.sampled_from(["skip", "escalate", "degrade"])

PATHS = {
    route_pb2.PATH_SMALL,
    route_pb2.PATH_ESCALATED,
    route_pb2.PATH_REFUSED,
    route_pb2.PATH_FALLBACK,
}


@settings(max_examples=200, derandomize=True)
@given(classification, ranking, scoring, screening, extraction, st.data())
def test_every_combination_of_answers_has_a_way(intent, passages, triage, guard, fields, data):
    answers = {
        "intent": ClassifyResponse(**intent),
        "passages": RankResponse(**passages),
        "triage": ScoreResponse(**triage),
        "guard": ScreenResponse(**guard),
        "entities": ExtractResponse(**fields),
    }
    signals, failed = {}, {}
    for step in SUPPORT.steps:
        if data.draw(st.integers(0, 4)) == 0:
            failed[step.name] = data.draw(on_failure)
        else:
            signals[step.name] = signal_of(step, CONTRACTS[step.service], answers[step.name])
    verdict = decide(SUPPORT, signals, failed)
    assert verdict.path in PATHS
    assert verdict.reasons
    if verdict.path == route_pb2.PATH_SMALL:
        assert verdict.answer.text
        assert not any(
            condition.held for condition in verdict.conditions if condition.step != "triage"
        )
    if "degrade" in failed.values():
        assert verdict.path != route_pb2.PATH_ESCALATED


@pytest.mark.parametrize("step", [step.name for step in SUPPORT.steps])
def test_an_answer_with_nothing_in_it_is_an_answer(step):
    declared = SUPPORT.step(step)
    spoken = CONTRACTS[declared.service]
    types = {
        "classify": ClassifyResponse, "rank": RankResponse, "score": ScoreResponse,
        "guard": ScreenResponse, "extract": ExtractResponse,
    }  # fmt: skip
    assert signal_of(declared, spoken, types[spoken]()).WhichOneof("answer")
