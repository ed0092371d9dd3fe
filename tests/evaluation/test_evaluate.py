"""A service is measured through the code that serves it: in this process, and over the wire."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.evaluation.samples import write_rows
from tests.ingress import Ingress
from tests.services import settings_for, write_service

from slmesh.evaluation import evaluate, local_mesh, read_cases, subject_of, with_tier
from slmesh.mesh.bundle import find_bundle
from slmesh.mesh.catalog import bundle_folders, find_manifest
from slmesh.mesh.client import Mesh
from slmesh.mesh.errors import InvalidArgument
from slmesh.mesh.settings import Settings, load_settings

RANKER = '''
"""Ranks passages by the letters they share with the query; keeps collections of its manifest."""
import json
from pathlib import Path
from slmesh.api.rank.v1 import rank_pb2 as pb

class Ranker:
    """Answers the rank contract."""

    def load(self, resources):
        self.name = resources.manifest.name
        self.collections = {}
        for name, path in resources.manifest.options.get("collections", {}).items():
            lines = Path(path).read_text().splitlines()
            self.collections[name] = [(r["id"], r["text"]) for r in map(json.loads, lines)]

    def answer(self, requests):
        return [self._one(request) for request in requests]

    def _one(self, request):
        if request.collection:
            passages = self.collections[request.collection]
        else:
            passages = [(c.id, c.text) for c in request.candidates.candidates]
        query = set(request.query.lower())
        scored = [(len(query & set(text.lower())), name) for name, text in passages]
        scored.sort(reverse=True)
        found = [pb.RankedPassage(id=name, score=score) for score, name in scored[: request.top_k]]
        provenance = dict(service=self.name, model="letters", version="3", tier="rules")
        return pb.RankResponse(ranking=pb.Ranking(passages=found), provenance=provenance)
'''


async def measured(service: str, paths: list[Path], settings: Settings, **options: Any) -> Any:
    """Return the figures of a service in this process."""
    subject = subject_of(find_manifest(service, settings), settings, local=True)
    cases = read_cases(paths, subject, **options)
    with local_mesh(subject, cases, settings) as mesh:
        async with mesh:
            return await evaluate(mesh, subject, cases)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return settings that find an echo, which labels a text with its first word."""
    write_service(tmp_path / "services", "echo")
    return settings_for(tmp_path / "services")


ROWS = [
    {"text": "refund please", "label": "refund"},
    {"text": "card lost", "label": "card"},
    {"text": "why is it", "label": "card"},
]


async def test_the_figures_come_with_the_service_its_tier_and_times(tmp_path, settings):
    progress = []
    path = write_rows(tmp_path / "rows.jsonl", ROWS)
    subject = subject_of(find_manifest("echo", settings), settings, local=True)
    cases = read_cases([path], subject)
    with local_mesh(subject, cases, settings) as mesh:
        async with mesh:
            figures = await evaluate(mesh, subject, cases, progress.append)
    assert figures["service"] == "echo"
    assert figures["version"] == "1"
    assert figures["tier"] == {"rules": 1.0}
    assert figures["n"] == 3
    assert figures["accuracy"] == pytest.approx(2 / 3)
    assert 0 < figures["p50_ms"] <= figures["p99_ms"]
    assert figures["texts_per_s"] > 0
    assert sum(progress) == 3


async def test_a_running_mesh_gives_the_same_figures(tmp_path, settings):
    path = write_rows(tmp_path / "rows.jsonl", ROWS)
    manifest = find_manifest("echo", settings)
    ingress = Ingress(settings, [manifest])
    await ingress.start()
    try:
        subject = subject_of(manifest, settings, local=False)
        cases = read_cases([path], subject)
        async with Mesh.connect(ingress.address, settings=settings) as mesh:
            figures = await evaluate(mesh, subject, cases)
    finally:
        await ingress.close()
    here = await measured("echo", [path], settings)
    times = {"p50_ms", "p99_ms", "texts_per_s"}
    assert {k: v for k, v in figures.items() if k not in times} == {
        k: v for k, v in here.items() if k not in times
    }


async def test_a_text_the_service_refuses_is_named(tmp_path, settings):
    path = write_rows(tmp_path / "rows.jsonl", [*ROWS, {"text": "refuse this", "label": "card"}])
    with pytest.raises(InvalidArgument, match=r"rows\.jsonl, line 4: the text starts with"):
        await measured("echo", [path], settings)


async def test_more_rows_than_a_batch_holds_are_asked_in_order(tmp_path, settings):
    rows = [{"text": f"word{number % 7} x", "label": f"word{number % 7}"} for number in range(600)]
    figures = await measured("echo", [write_rows(tmp_path / "r.jsonl", rows)], settings)
    assert (figures["n"], figures["accuracy"]) == (600, 1.0)


@pytest.mark.parametrize(
    ("limit", "options"),
    [
        pytest.param(512, {}, id="sent-along"),
        pytest.param(1, {}, id="sent-in-parts"),
        pytest.param(1, {"collections": "{}"}, id="indexed"),
    ],
)
async def test_a_pool_of_any_size_is_ranked(tmp_path, limit, options):
    write_service(tmp_path / "services", "ranker", RANKER, "Ranker", contract="rank")
    manifest = tmp_path / "services" / "ranker" / "service.yaml"
    if options:
        manifest.write_text(manifest.read_text() + "options:\n  collections: {}\n")
    settings = settings_for(tmp_path / "services", max_batch_items=max(limit, 1))
    rows = [
        {"question": q, "answer": a, "qtype": "x", "focus": q}
        for q, a in (("abc", "cab"), ("xyz", "zyx"))
    ]
    subject = subject_of(find_manifest("ranker", settings), settings, local=True)
    cases = read_cases([write_rows(tmp_path / "m.jsonl", rows)], subject)
    room = settings_for(tmp_path / "services")
    with local_mesh(subject, cases, room) as mesh:
        async with mesh:
            figures = await evaluate(mesh, subject, cases)
    assert figures["mrr_10"] == 1


def shipped(service: str) -> Path:
    """Return the golden file of a shipped bundle."""
    return find_bundle(service, bundle_folders(load_settings({}))) / "golden.jsonl"


@pytest.mark.parametrize(
    ("service", "figure", "least"),
    [
        ("assistant", "in_scope_accuracy_forced", 0.8),
        ("intent", "in_scope_accuracy_forced", 0.8),
        ("triage", "accuracy", 0.7),
        ("entities", "span_f1", 0.9),
        ("guard", "recall", 0.7),
        ("passages", "mrr_10", 0.4),
    ],
)
async def test_shipped_bundles_do_well_on_what_was_written_for_them(
    tmp_path, service, figure, least
):
    # without a compiled encoder, as in the bare wheel
    settings = load_settings({}, state_dir=tmp_path / "state")
    figures = await measured(service, [shipped(service)], settings)
    assert figures[figure] >= least
    assert figures["n"] >= 20
    assert json.loads(json.dumps(figures)) == figures


def test_a_tier_is_chosen_by_the_manifest(settings):
    manifest = with_tier(find_manifest("intent", settings), "linear")
    assert manifest.options["tier"] == "linear"


@pytest.mark.parametrize(
    ("service", "tier", "message"),
    [
        ("intent", "lineer", "did you mean 'linear'"),
        ("entities", "linear", "--tier is for classifiers and scorers"),
    ],
)
def test_a_tier_that_cannot_be_chosen_is_explained(settings, service, tier, message):
    with pytest.raises(InvalidArgument, match=message):
        with_tier(find_manifest(service, settings), tier)
