"""Measuring small models: who takes turns, what is compared, and what a report says of it."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests.tiers.small_bundle import LABELS, TEXTS, WordEncoder, classifier_bundle

from slmesh.api.classify.v1.classify_pb2 import ClassifyResponse, Label, Labels
from slmesh.bench import side_by_side, tier_speed
from slmesh.bench.grpc_speed import BATCH_ITEMS, batches_of
from slmesh.bench.interleaved import median_seconds
from slmesh.bench.levels import measure_levels
from slmesh.bench.peers.environments import PEERS
from slmesh.bench.peers.prediction import Predictor
from slmesh.bench.peers.serving import VARIANTS
from slmesh.bench.share_plot import share_plot
from slmesh.bench.side_by_side import OURS, OURS_BATCHED, ratios
from slmesh.bench.slm import run
from slmesh.bench.subjects import BenchSubject, bench_subject
from slmesh.bench.tier_services import write_tier_services
from slmesh.evaluation.cases import OUT_OF_SCOPE, ExpectedLabel
from slmesh.mesh.catalog import discover
from slmesh.mesh.errors import FailedPrecondition, InvalidArgument, Unavailable
from slmesh.mesh.manifest import Manifest
from slmesh.mesh.settings import Settings, load_settings

OUTSIDE = ["what is for dinner", "tell me a joke"]


@pytest.fixture
def subject(tmp_path: Path, monkeypatch) -> BenchSubject:
    """A small classifier with both tiers; the encoder is the tests' own, which nothing compiles."""
    thresholds = {"linear_scope": 0.0, "encoder_scope": 0.0, "switch": 0.6}
    bundle = classifier_bundle(tmp_path / "small", thresholds=thresholds)
    monkeypatch.setattr(tier_speed, "load_encoder", lambda cache_dir, digest: WordEncoder())
    texts = [text for label in LABELS for text in TEXTS[label]]
    expected = [ExpectedLabel(label) for label in LABELS for _ in TEXTS[label]]
    manifest = Manifest(name="small", contract="classify", class_name="Small", model="small")
    return BenchSubject(
        manifest,
        bundle,
        (*texts, *OUTSIDE),
        (*expected, *(ExpectedLabel(OUT_OF_SCOPE) for _ in OUTSIDE)),
        ("here",),
    )


def test_sides_take_turns_and_the_first_round_does_not_count() -> None:
    turns: list[str] = []

    def slow_once() -> None:
        turns.append("a")
        time.sleep(0.2 if len(turns) == 1 else 0.0)

    seconds = median_seconds({"a": slow_once, "b": lambda: turns.append("b")}, rounds=3)
    assert turns == ["a", "b"] * 4
    assert seconds["a"] < 0.1


async def test_as_many_calls_are_in_flight_as_was_said() -> None:
    now = most = 0

    async def call(_: int) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.005)
        now -= 1

    (found,) = (await measure_levels({"one": call}, (1, 4), rounds=2, seconds=0.1)).values()
    assert most == 4
    assert 5 <= found[1]["p50_ms"] <= found[1]["p99_ms"]
    assert found[4]["per_second"] > found[1]["per_second"]


async def test_the_slowest_of_few_calls_is_their_99th_percentile() -> None:
    async def call(place: int) -> None:
        await asyncio.sleep(0.02 if place % 2 else 0.06)

    (found,) = (await measure_levels({"one": call}, (1,), rounds=1, seconds=0.3)).values()
    assert found[1]["p99_ms"] >= 60


async def test_refused_calls_are_counted_and_not_timed() -> None:
    async def call(place: int) -> None:
        await asyncio.sleep(0.001)
        if place % 2:
            raise Unavailable("full")

    found = await measure_levels({"one": call}, (2,), rounds=1, seconds=0.1)
    row = found["one"][2]
    assert row["failed"] == pytest.approx(row["per_second"] * 0.1, rel=0.5)


async def test_a_side_that_answers_nothing_ends_the_run() -> None:
    async def call(_: int) -> None:
        raise Unavailable("gone")

    with pytest.raises(Unavailable, match="gone"):
        await measure_levels({"one": call}, (1,), rounds=1, seconds=0.05)


def test_every_tier_is_measured_with_its_accuracy(subject: BenchSubject) -> None:
    figures = tier_speed.tier_figures(subject, Settings(), rounds=1)
    rows = figures["tiers"]
    assert set(rows) == {"cascade", "linear", "encoder"}
    assert rows["linear"]["linear_share"] == 1.0
    assert rows["encoder"]["linear_share"] == 0.0
    assert all(row["texts_per_s"] > 0 for row in rows.values())
    assert figures["cascade_to_encoder"] == pytest.approx(
        rows["cascade"]["texts_per_s"] / rows["encoder"]["texts_per_s"]
    )
    lost = rows["encoder"]["in_scope_accuracy_forced"] - rows["cascade"]["in_scope_accuracy_forced"]
    assert figures["accuracy_loss_points"] == pytest.approx(100 * lost)


def test_the_curve_ends_at_the_tiers_alone_and_has_the_shipped_switch(
    subject: BenchSubject,
) -> None:
    rows = tier_speed.share_curve(subject, Settings())
    tiers = tier_speed.tier_figures(subject, Settings(), rounds=1)["tiers"]
    assert rows[0]["linear_share"] == 0.0
    assert rows[-1]["linear_share"] == 1.0
    assert rows[0]["accuracy"] == tiers["encoder"]["in_scope_accuracy_forced"]
    assert rows[-1]["accuracy"] == tiers["linear"]["in_scope_accuracy_forced"]
    shipped = [r for r in rows if r["linear_share"] == tiers["cascade"]["linear_share"]]
    assert shipped[0]["accuracy"] == tiers["cascade"]["in_scope_accuracy_forced"]
    assert shipped[0]["oos_recall"] == tiers["cascade"]["oos_recall"]


def test_latency_is_of_short_texts_and_of_500_words(subject: BenchSubject) -> None:
    found = tier_speed.linear_latency(subject, rounds=1)
    assert 0 < found["short_p50_ms"] < found["words_500_p50_ms"]


def test_the_curve_is_drawn(subject: BenchSubject) -> None:
    drawing = share_plot("a < b", tier_speed.share_curve(subject, Settings()), 0.5)
    root = ElementTree.fromstring(drawing)
    lines = [e for e in root.iter() if e.tag.endswith("polyline")]
    assert len(lines) == 2
    assert "a < b" in {e.text for e in root.iter() if e.tag.endswith("text")}


def test_batches_are_full(subject: BenchSubject) -> None:
    assert {len(batch.requests) for batch in batches_of(subject)} == {BATCH_ITEMS}


def test_a_service_is_written_for_each_tier(tmp_path: Path) -> None:
    own = discover(load_settings({}))["intent"]
    names = write_tier_services(own, ("linear", "encoder"), tmp_path / "services")
    found = discover(Settings(service_path=(tmp_path / "services",)))
    assert names == ["intent-linear", "intent-encoder"]
    assert [found[name].options["tier"] for name in names] == ["linear", "encoder"]
    assert {found[name].model for name in names} == {own.model}
    assert {found[name].max_batch_size for name in names} == {own.max_batch_size}


def test_ratios_are_to_the_best_peer_at_each_level() -> None:
    def row(*rates: float) -> dict[int, dict[str, float]]:
        return {
            level: {"per_second": rate, "p50_ms": 1e3 / rate}
            for level, rate in zip((1, 8), rates, strict=True)
        }

    rows = {
        OURS: row(300, 900),
        "left": row(200, 300),
        "right": row(100, 600),
        OURS_BATCHED: {2: {"per_second": 10, "texts_per_s": 2560}},
    }
    found = ratios(rows)
    assert found["in_flight_1"] == {
        "times_the_best": 1.5,
        "best": "left",
        "p50_to_the_least": pytest.approx(2 / 3),
    }
    assert found["in_flight_8"]["times_the_best"] == 1.5
    assert found["in_flight_8"]["best"] == "right"
    assert found["unary"] == 1.5
    assert found["batched_texts"] == pytest.approx(2560 / 600)


async def test_servers_that_answer_otherwise_are_not_compared() -> None:
    ours = ClassifyResponse(labels=Labels(labels=[Label(name="card", probability=0.9)]))

    async def call(_: int) -> bytes:
        return ours.SerializeToString()

    async def same(_: int) -> bytes:
        return b'{"labels": [{"name": "card"}]}'

    async def other(_: int) -> bytes:
        return b'{"labels": [{"name": "loan"}]}'

    await side_by_side._require_same_answers({OURS: call, "same": same})
    with pytest.raises(FailedPrecondition, match="other answers"):
        await side_by_side._require_same_answers({OURS: call, "other": other})


def test_peers_serve_what_a_replica_serves(tmp_path: Path) -> None:
    own = discover(load_settings({}))["intent"]
    root = Path(__file__).parents[2]
    bundle = sorted((root / "models" / own.model.partition("@")[0]).glob("*/bundle.json"))[
        -1
    ].parent
    config = {"bundle": str(bundle), "cache_dir": str(tmp_path), "tier": "linear", "threads": 1}
    text = "How do I change my PIN?"
    (answer,) = Predictor(json.loads(json.dumps(config)))([text])
    assert answer["labels"][0]["name"] == "change_pin"
    assert answer["tier"] == "linear"
    assert len(answer["labels"]) == 3


def test_every_peer_is_pinned_and_started_with_and_without_batching() -> None:
    folder = Path(__file__).parents[2] / "services/slmesh/bench/peers"
    assert {variant.peer for variant in VARIANTS} == set(PEERS)
    for peer in PEERS:
        assert {v.batch_size > 1 for v in VARIANTS if v.peer == peer} == {True, False}
        lines = (folder / f"{peer}.requirements.txt").read_text().split()
        assert all("==" in line for line in lines)
        assert any(line.startswith(f"{peer}==") for line in lines)
        compile((folder / f"{peer}_server.txt").read_text(), f"{peer}_server.txt", "exec")


def test_the_peers_have_the_runtime_of_the_same_versions() -> None:
    folder = Path(__file__).parents[2] / "services/slmesh/bench/peers"
    pinned = [
        {line for line in (folder / f"{peer}.requirements.txt").read_text().split()
         if line.partition("==")[0] in ("numpy", "onnxruntime", "tokenizers")}
        for peer in PEERS
    ]  # fmt: skip
    assert len(pinned[0]) == 3
    assert pinned[0] == pinned[1] == pinned[2]


WRONG = [
    pytest.param({"parts": ("peer",)}, "did you mean 'peers'", id="part"),
    pytest.param({"parts": ("tiers",), "services": ("triage",)}, "no classifier", id="contract"),
    pytest.param({"parts": ("tiers",), "services": ("intnt",)}, "did you mean", id="service"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_a_wrong_run_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises(Exception, match=message):
        run(load_settings({}), **arguments)


def test_texts_of_a_file_are_asked_with_its_labels(tmp_path: Path) -> None:
    rows = [{"text": "How do I change my PIN?", "label": "change_pin"}] * 4
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    subject = bench_subject("intent", load_settings({}), tmp_path, [path], limit=2)
    assert subject.texts == ("How do I change my PIN?",) * 2
    assert subject.labels_in_scope == ["change_pin"] * 2


def test_a_service_without_default_texts_needs_a_file(tmp_path: Path, subject) -> None:
    settings = load_settings({})
    own = discover(settings)["intent"]
    folder = write_tier_services(replace(own, name="mine"), ("cascade",), tmp_path / "services")
    with pytest.raises(InvalidArgument, match="--data"):
        bench_subject(
            folder[0], settings.with_values(service_path=(tmp_path / "services",)), tmp_path
        )
