"""Adapters: their digest, their merge into a backbone, and the encoder compiled from a bundle's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.weights.tiny_encoder import write_weights

from slmesh.mesh.bundle import Bundle, digest_of, write_bundle
from slmesh.mesh.errors import FailedPrecondition
from slmesh.tiers.encoder import encoder_digest, load_encoder
from slmesh.weights.adapter import PREFIX, adapted_digest, adapter_of, merge_adapter
from slmesh.weights.compile import compile_bundle, compile_weights

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("onnx")

WEIGHT = "encoder.layer.1.output.dense.weight"
BIAS = "encoder.layer.1.output.dense.bias"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights") / "tiny")


def adapter(seed: int = 3) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        f"{WEIGHT}.a": random.normal(0, 0.2, (4, 64)).astype(np.float16),
        f"{WEIGHT}.b": random.normal(0, 0.2, (32, 4)).astype(np.float16),
        f"{BIAS}.delta": random.normal(0, 0.2, 32).astype(np.float16),
    }


def bundle(folder: Path, weights: Path, adapted: str | None = None) -> Bundle:
    digest = digest_of(weights / "model.safetensors")
    content = {
        "name": "topics",
        "version": "0.2.0",
        "contract": "classify/v1",
        "label_set": {"labels": ["fruit", "tool"]},
        "tiers": ["linear", "encoder"],
        "backbone": {
            "name": str(weights),
            "digest": digest,
            "adapted": adapted or adapted_digest(digest, adapter()),
        },
    }
    return write_bundle(folder, content, {PREFIX + n: a for n, a in adapter().items()}, {})


def test_a_merge_adds_the_product_to_a_matrix_and_the_difference_to_a_vector(
    weights: Path, tmp_path: Path
) -> None:
    from safetensors.numpy import load_file

    merge_adapter(weights, adapter(), tmp_path)
    before = load_file(weights / "model.safetensors")
    after = load_file(tmp_path / "model.safetensors")
    product = adapter()[f"{WEIGHT}.b"].astype(np.float32) @ adapter()[f"{WEIGHT}.a"]
    np.testing.assert_allclose(after[WEIGHT], before[WEIGHT] + product, atol=1e-3)
    np.testing.assert_allclose(after[BIAS], before[BIAS] + adapter()[f"{BIAS}.delta"], atol=1e-6)
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {WEIGHT, BIAS}


@pytest.mark.parametrize(
    "arrays",
    [
        pytest.param({"encoder.none.bias.delta": np.zeros(3, np.float16)}, id="no-such-weight"),
        pytest.param({f"{BIAS}.delta": np.zeros(3, np.float16)}, id="another-shape"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(
    weights: Path, tmp_path: Path, arrays: dict[str, np.ndarray]
) -> None:
    with pytest.raises(FailedPrecondition, match="does not fit tiny"):
        merge_adapter(weights, arrays, tmp_path)


def test_the_digest_changes_with_the_backbone_and_with_any_value() -> None:
    changed = adapter()
    changed[f"{BIAS}.delta"][5] += 1
    digests = {
        adapted_digest("sha256:1", adapter()),
        adapted_digest("sha256:2", adapter()),
        adapted_digest("sha256:1", changed),
    }
    assert len(digests) == 3


def test_a_bundle_gives_its_adapter_back(weights: Path, tmp_path: Path) -> None:
    found = adapter_of(bundle(tmp_path, weights).tensors())
    assert set(found) == set(adapter())


def test_a_bundle_s_encoder_is_compiled_under_its_own_digest_and_found(
    weights: Path, tmp_path: Path
) -> None:
    made = bundle(tmp_path / "bundle", weights)
    compiled = compile_bundle(made, tmp_path / "cache")
    assert compiled is not None
    assert not compiled.reused
    again = compile_bundle(made, tmp_path / "cache")
    assert again is not None
    assert again.reused
    tuned = load_encoder(tmp_path / "cache", encoder_digest(made.backbone or {}))
    frozen = load_encoder(tmp_path / "cache", compile_weights(weights, tmp_path / "cache").digest)
    assert tuned is not None
    assert frozen is not None
    assert (tuned.encode(["a card"]) * frozen.encode(["a card"])).sum() < 0.999


def test_a_bundle_without_an_adapter_needs_no_encoder_of_its_own(
    weights: Path, tmp_path: Path
) -> None:
    content = dict(bundle(tmp_path / "one", weights).content)
    content["backbone"] = {"name": "tiny", "digest": "sha256:0"}
    plain = write_bundle(tmp_path / "two", content, {"x": np.zeros(1)}, {})
    assert compile_bundle(plain, tmp_path / "cache") is None
    assert encoder_digest(plain.backbone or {}) == "sha256:0"


def test_an_adapter_of_another_digest_is_refused(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="it was made for sha256:9"):
        compile_bundle(bundle(tmp_path, weights, "sha256:9"), tmp_path / "cache")
