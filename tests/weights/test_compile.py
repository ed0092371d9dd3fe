"""Compiling an encoder: a tiny random BERT goes all the way to int8."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.weights.tiny_encoder import write_weights

from slmesh.mesh.bundle import digest_of
from slmesh.mesh.errors import FailedPrecondition
from slmesh.tiers.encoder import (
    COMPILED_FILE,
    FP32_FILE,
    INT8_FILE,
    SentenceEncoder,
    load_encoder,
)
from slmesh.weights.compile import Compiled, compile_weights
from slmesh.weights.quantise import store_unsigned
from slmesh.weights.sentences import CALIBRATION, CHECK

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("onnx")

TEXTS = ["a card", "", "what is this?", "wörds 😀 and more", "word " * 600, "zzz " * 30]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights") / "tiny")


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def compiled(weights: Path, cache_dir: Path) -> Compiled:
    return compile_weights(weights, cache_dir)


@pytest.fixture
def encoder(compiled: Compiled) -> SentenceEncoder:
    return SentenceEncoder(compiled.folder)


def test_an_encoder_computes_with_the_threads_it_is_given(compiled: Compiled) -> None:
    def started(threads: int) -> int:
        before = len(list(Path("/proc/self/task").iterdir()))
        encoder = SentenceEncoder(compiled.folder, threads)
        encoder.encode(["hello"])
        return len(list(Path("/proc/self/task").iterdir())) - before

    assert started(1) == 0  # the caller's own computes
    assert started(3) == 2


def test_both_models_agree_with_torch(compiled: Compiled) -> None:
    assert compiled.agreement["fp32_min"] > 0.9999
    assert compiled.agreement["int8_min"] > 0.95


def test_the_folder_is_named_by_the_digest_of_the_weights(
    compiled: Compiled, weights: Path, cache_dir: Path
) -> None:
    digest = digest_of(weights / "model.safetensors")
    assert compiled.digest == digest
    assert compiled.folder == cache_dir / "encoders" / digest.removeprefix("sha256:")


def test_the_second_call_reuses_and_says_so(
    compiled: Compiled, weights: Path, cache_dir: Path
) -> None:
    steps: list[str] = []
    again = compile_weights(weights, cache_dir, lambda step, _: steps.append(step))
    assert again.reused
    assert again.agreement["int8_min"] == pytest.approx(compiled.agreement["int8_min"], abs=1e-6)
    assert "reusing" in steps[-1]


def test_embeddings_have_length_one(encoder: SentenceEncoder) -> None:
    embeddings = encoder.encode(TEXTS)
    assert embeddings.shape == (len(TEXTS), 32)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1.0, atol=1e-5)


def test_an_embedding_does_not_depend_on_its_batch(encoder: SentenceEncoder) -> None:
    alone = np.vstack([encoder.encode([text]) for text in TEXTS])
    np.testing.assert_allclose(encoder.encode(TEXTS), alone, atol=1e-5)


def test_int8_is_near_fp32(encoder: SentenceEncoder, compiled: Compiled) -> None:
    exact = SentenceEncoder(compiled.folder, model_file=FP32_FILE)
    cosines = (encoder.encode(TEXTS) * exact.encode(TEXTS)).sum(axis=1)
    assert cosines.min() > 0.95


def test_long_texts_say_where_reading_stopped(encoder: SentenceEncoder) -> None:
    # 255 letters of their own are read: the first of the 256 tokens opens the sequence, the last
    # one closes it.
    cuts = encoder.encode_with_cuts(["a " * 254, "a " * 255, "😀 " * 300, " " * 9000]).truncated_at
    assert cuts == (None, 508, 508, 8192)


def test_no_texts_give_no_rows(encoder: SentenceEncoder) -> None:
    assert encoder.encode([]).shape == (0, 32)


@pytest.mark.parametrize("name", [INT8_FILE, "tokenizer.json"])
def test_a_changed_file_is_refused(compiled: Compiled, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in compiled.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / name).write_bytes(b"other")
    with pytest.raises(FailedPrecondition, match=r"expected sha256:.*found sha256:") as caught:
        SentenceEncoder(folder)
    assert caught.value.metadata["file"] == name


def test_a_model_of_another_processor_is_refused(compiled: Compiled, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(compiled.folder, folder)
    record = json.loads((folder / COMPILED_FILE).read_text(encoding="utf-8"))
    record["probe"]["embedding"].reverse()
    (folder / COMPILED_FILE).write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(FailedPrecondition, match="another kind of processor") as caught:
        SentenceEncoder(folder)
    assert caught.value.reason == "ENCODER_FOR_OTHER_PROCESSOR"


def test_files_of_an_older_format_are_compiled_anew(weights: Path, tmp_path: Path) -> None:
    folder = compile_weights(weights, tmp_path).folder
    (folder / COMPILED_FILE).write_text('{"format": 1}', encoding="utf-8")
    assert load_encoder(tmp_path, folder.name) is None
    assert not compile_weights(weights, tmp_path).reused


def test_unsigned_weights_are_the_same_numbers(compiled: Compiled, tmp_path: Path) -> None:
    import onnx
    from onnx import numpy_helper

    shutil.copyfile(compiled.folder / INT8_FILE, tmp_path / INT8_FILE)
    store_unsigned(tmp_path / INT8_FILE)
    once = (tmp_path / INT8_FILE).read_bytes()
    types = {
        numpy_helper.to_array(tensor).dtype
        for tensor in onnx.load(tmp_path / INT8_FILE).graph.initializer
    }
    assert np.dtype(np.uint8) in types
    assert np.dtype(np.int8) not in types
    store_unsigned(tmp_path / INT8_FILE)
    assert (tmp_path / INT8_FILE).read_bytes() == once


def test_a_missing_encoder_is_none_or_says_what_to_run(tmp_path: Path) -> None:
    assert load_encoder(tmp_path, "sha256:" + "0" * 64) is None
    with pytest.raises(FailedPrecondition, match="slmesh models compile"):
        SentenceEncoder(tmp_path)


def test_the_check_sentences_were_not_calibrated_on() -> None:
    assert not set(CALIBRATION) & set(CHECK)
