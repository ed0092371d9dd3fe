"""Training an extractor's tiers on a tiny random encoder, and serving them."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.weights.tiny_encoder import write_weights

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("onnx")

from slmesh.api.extract.v1.extract_pb2 import ExtractRequest
from slmesh.mesh.bundle import Bundle, write_bundle
from slmesh.mesh.errors import FailedPrecondition, InvalidArgument
from slmesh.mesh.manifest import Manifest
from slmesh.mesh.service import Resources
from slmesh.slm.entities.extracting import Extracting
from slmesh.training.token_finetune import TunedTagger, _Tuning, tune_tagger
from slmesh.training.token_rows import SlotText, TaggerRows, swapped, values_of
from slmesh.training.token_tiers import TaggerTiers, train_tagger_tiers
from slmesh.weights.adapter import PREFIX, adapter_of
from slmesh.weights.compile import compile_bundle
from slmesh.weights.fetch import silent

NUMBERS: dict[str, Any] = {
    "layers": 2,
    "rank": 4,
    "adapter_dropout": 0.0,
    "epochs": 8,
    "batch_size": 8,
    "learning_rate": 0.01,
    "head_learning_rate": 0.01,
    "weight_decay": 0.01,
    "averaging": 0.9,
    "bits": 10,
    "lexical": 8,
    "hidden": 16,
    "word_dropout": 0.0,
    "feature_dropout": 0.1,
    "asked_dropout": 0.0,
    "kind_weight": 0.1,
    "swap": 0.2,
    "rules": ["number"],
    "max_tokens": 64,
    "common_from": 2,
}
LINEAR = {
    "bits": 12,
    "batch": 8,
    "rate": 0.2,
    "decay": 0.001,
    "dropped": 0.1,
    "outside_penalty": 0.0,
    "epochs": 4,
}


def marked(verb: str, size: str, drink: str, rest: str) -> SlotText:
    text = f"{verb} a {size} {drink} {rest}"
    start = len(verb) + 3
    after = start + len(size) + 1
    spans = (("size", start, start + len(size)), ("drink", after, after + len(drink)))
    return SlotText(text, spans, kind="order", source="drinks")


ORDERS = [
    marked(*parts)
    for parts in product(
        ["bring me", "can i get", "order"],
        ["small", "large", "tiny"],
        ["coffee", "green tea", "water"],
        ["please", "to go", "now"],
    )
]
BARE = [
    SlotText("13", (("people", 0, 2),), ("people",), source="drinks"),
    SlotText("13", (("time", 0, 2),), ("time",), source="drinks"),
]
BESIDE = [SlotText("see x at y", (("where", 9, 10),), source="other")] * 4
ROWS = TaggerRows(
    [*ORDERS[::2], *BARE * 12, *BESIDE],
    [*ORDERS[1::2], *BARE],
    ["drink", "people", "size", "time"],
)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights") / "tiny")


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def made(backbone: Path, cache_dir: Path) -> TaggerTiers:
    encoder = {
        "backbone": str(backbone),
        "values": {"people": ["number"], "drink": ["keyword"]},
        "fine_tuning": NUMBERS,
    }
    return train_tagger_tiers(ROWS, LINEAR, encoder, 5, cache_dir, silent, name="drinks 0.1.0")


@pytest.fixture(scope="module")
def bundle(made: TaggerTiers, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    content = {"name": "drinks", "version": "0.1.0", "contract": "extract/v1", **made.entries}
    content["label_set"] = {"labels": list(ROWS.labels)}
    return write_bundle(tmp_path_factory.mktemp("bundle"), content, made.tensors, {})


def extracting(bundle: Bundle, cache_dir: Path, **options: Any) -> Extracting:
    manifest = Manifest(name="drinks", contract="extract", class_name="Drinks", options=options)
    return Extracting.load(Resources(manifest, bundle, cache_dir, 1))


def test_both_tiers_learn_and_the_compiled_encoder_finds_what_torch_found(
    made: TaggerTiers,
) -> None:
    assert made.figures["linear"]["spans"]["f1"] > 0.9
    encoder = made.figures["encoder"]
    assert encoder["fp32"] > 0.9
    # the same arithmetic in numpy and onnxruntime; the lexical table is int8 there
    assert encoder["fp32"] == pytest.approx(made.history[-1]["held_f1"], abs=0.02)
    assert made.entries["tiers"] == ["linear", "encoder"]
    assert encoder["by_label"].keys() == set(ROWS.labels)  # nothing of the other set


def test_fields_come_with_offsets_probabilities_and_values(bundle: Bundle, cache_dir: Path) -> None:
    text = "☕\u200f can i get a tiny green tea now"
    request = ExtractRequest(text=text, fields=["size", "drink"])
    (response,) = extracting(bundle, cache_dir).answer([request])
    assert [(field.name, field.text) for field in response.fields] == [
        ("size", "tiny"),
        ("drink", "green tea"),
    ]
    assert all(text[f.span.start : f.span.end] == f.text for f in response.fields)
    assert all(0 < f.probability <= 1 for f in response.fields)
    assert response.fields[1].value.keyword == "green tea"
    assert response.provenance.tier == "encoder"


def test_what_was_asked_for_decides_what_a_bare_number_is(bundle: Bundle, cache_dir: Path) -> None:
    service = extracting(bundle, cache_dir)
    requests = [ExtractRequest(text="13", fields=[field]) for field in ("people", "time")]
    found = [[field.name for field in answer.fields] for answer in service.answer(requests)]
    assert found == [["people"], ["time"]]
    assert service.answer(requests[:1])[0].fields[0].value.number == 13


def test_an_answer_does_not_depend_on_the_texts_beside_it(bundle: Bundle, cache_dir: Path) -> None:
    service = extracting(bundle, cache_dir)
    texts = [row.text for row in ORDERS[:20]] + ["", "   ", "order a tiny water now. " * 80]
    together = service.answer([ExtractRequest(text=text) for text in texts])
    for text, answer in zip(texts, together, strict=True):
        (alone,) = service.answer([ExtractRequest(text=text)])
        assert [f.text for f in alone.fields] == [f.text for f in answer.fields]
    assert len(together[-1].fields) == 160


def test_the_linear_tier_answers_where_the_encoder_is_not_compiled(
    bundle: Bundle, tmp_path: Path
) -> None:
    request = ExtractRequest(text="order a small water now")
    (response,) = extracting(bundle, tmp_path).answer([request])
    assert [field.text for field in response.fields] == ["small", "water"]
    assert response.provenance.tier == "linear"


def test_a_service_may_be_held_to_one_tier(bundle: Bundle, cache_dir: Path) -> None:
    request = ExtractRequest(text="order a small water now")
    (response,) = extracting(bundle, cache_dir, tier="linear").answer([request])
    assert response.provenance.tier == "linear"
    with pytest.raises(FailedPrecondition, match=r"no tier 'linaer'.*linear"):
        extracting(bundle, cache_dir, tier="linaer")


def test_a_field_the_model_does_not_know_is_refused(bundle: Bundle, cache_dir: Path) -> None:
    with pytest.raises(InvalidArgument, match="did you mean 'drink'"):
        extracting(bundle, cache_dir).check(ExtractRequest(text="x", fields=["drnk"]))


def test_the_encoder_is_compiled_from_the_bundle_alone(
    bundle: Bundle, tmp_path: Path, cache_dir: Path
) -> None:
    compiled = compile_bundle(bundle, tmp_path)
    assert compiled is not None
    request = ExtractRequest(text="order a large coffee to go")
    answers = [extracting(bundle, folder).answer([request])[0] for folder in (cache_dir, tmp_path)]
    assert answers[0] == answers[1]


def test_a_run_that_was_ended_goes_on_as_if_it_had_not_been(backbone: Path, tmp_path: Path) -> None:
    class Ended(Exception):
        """Stands for a process that is ended in its third epoch."""

    def end(step: str, fraction: float) -> None:
        if "epoch 3" in step:
            raise Ended

    numbers = NUMBERS | {"epochs": 3}
    whole = tune_tagger(backbone, ROWS, numbers, 5)
    with pytest.raises(Ended):
        tune_tagger(backbone, ROWS, numbers, 5, tmp_path, end)
    resumed = tune_tagger(backbone, ROWS, numbers, 5, tmp_path)
    same_arrays(whole, resumed)
    same_arrays(whole, tune_tagger(backbone, ROWS, numbers, 5, tmp_path))  # reads the finished one


def same_arrays(first: TunedTagger, second: TunedTagger) -> None:
    for ours, theirs in ((first.adapter, second.adapter), (first.head, second.head)):
        assert ours.keys() == theirs.keys()
        for name, array in ours.items():
            np.testing.assert_array_equal(array, theirs[name])


def test_tuning_may_begin_from_the_adapter_of_another_bundle(
    backbone: Path, bundle: Bundle
) -> None:
    adapter = adapter_of(bundle.tensors())
    still = NUMBERS | {"epochs": 1, "learning_rate": 0.0}
    begun = tune_tagger(backbone, ROWS, still, 5, start=adapter)
    for name, array in adapter.items():
        np.testing.assert_allclose(begun.adapter[name], array, atol=1e-3, err_msg=name)
    with pytest.raises(ValueError, match=r"is \(4, 32\), expected \(2, 32\)"):
        tune_tagger(backbone, ROWS, still | {"rank": 2}, 5, start=adapter)


def test_exchanged_fields_stand_where_they_are_said_to(bundle: Bundle) -> None:
    import random

    values = values_of(ORDERS)
    draw = random.Random(3)
    made = [swapped(row, values, 1.0, draw) for row in ORDERS]
    assert any(after.text != before.text for before, after in zip(ORDERS, made, strict=True))
    for row in made:
        for label, start, end in row.spans:
            assert row.text[start:end] in values["drinks", label]


def test_a_bundle_with_a_number_that_is_not_finite_is_refused(
    bundle: Bundle, cache_dir: Path, tmp_path: Path
) -> None:
    tensors = bundle.tensors()
    tensors["head.mix_bias"] = np.full_like(tensors["head.mix_bias"], np.nan)
    assert any(name.startswith(PREFIX) for name in tensors)
    content = {key: value for key, value in bundle.content.items() if key != "files"}
    broken = write_bundle(tmp_path, content, tensors, {})
    with pytest.raises(FailedPrecondition, match=r"'mix_bias' of the head.*not finite"):
        extracting(broken, cache_dir)


def test_a_schedule_may_be_left_early_with_a_rate_that_falls_to_nothing(backbone: Path) -> None:
    rates: list[list[float]] = []

    def watch(step: str, fraction: float) -> None:
        rates.append([group["lr"] for group in tuning.optimiser.param_groups])

    numbers = NUMBERS | {"epochs": 4, "stop_after": 2, "watched": 5}
    tuning = _Tuning(backbone, ROWS, numbers, 5, None, watch, {})
    made = tuning.run()
    assert len(made.history) == 2
    assert len(tuning.held) == 5
    steps = len(rates) // 2
    assert rates[steps - 1][0] > 0.8 * NUMBERS["learning_rate"]
    assert rates[-1][0] < 0.1 * NUMBERS["learning_rate"]
