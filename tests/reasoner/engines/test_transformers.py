"""Models of transformers, and the same model as an 8-bit graph."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.reasoner.tiny_model import CONTEXT, write_model

from slmesh.mesh.bundle import digest_of
from slmesh.mesh.errors import FailedPrecondition
from slmesh.reasoner.engines.decoder_graph import build_graph
from slmesh.reasoner.engines.onnx import OnnxDecoder
from slmesh.reasoner.engines.transformers import load_transformers_model
from slmesh.reasoner.prompt import ChatMessage


def test_a_folder_loads_with_its_name_digest_and_context(tiny_model: Path, tmp_path: Path) -> None:
    model = load_transformers_model(str(tiny_model), tmp_path, 1)
    assert model.loaded.name == "tiny-llama"
    assert model.loaded.version == "local"
    assert model.loaded.digest.startswith("sha256:")
    assert len(model.loaded.digest) == 71
    assert model.loaded.context_tokens == CONTEXT
    assert model.tokenizer.stop_tokens == {0, 2}


def test_a_hub_name_loads_from_the_cache_with_its_revision(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    revision = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "hub" / "models--someone--tiny"
    shutil.copytree(tiny_model, repository / "snapshots" / revision)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(revision)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    loaded = load_transformers_model("someone/tiny", tmp_path, 1).loaded
    assert (loaded.name, loaded.version) == ("someone/tiny", revision)
    assert loaded.digest == digest_of(tiny_model / "model.safetensors")


def test_steps_with_a_cache_give_the_logits_of_one_pass(tiny_model: Path, tmp_path: Path) -> None:
    decoder = load_transformers_model(str(tiny_model), tmp_path, 1).decoder
    tokens = [1, 50, 60, 70, 80, 90]
    whole = decoder.open().extend(tokens)
    sequence = decoder.open()
    sequence.extend(tokens[:3])
    sequence.extend(tokens[3:5])
    np.testing.assert_allclose(sequence.extend(tokens[5:]), whole, atol=1e-4)


def test_the_8_bit_graph_gives_the_logits_of_transformers(tiny_model: Path, tmp_path: Path) -> None:
    model = load_transformers_model(str(tiny_model), tmp_path, 1)
    build_graph(tiny_model, tmp_path / "graph.onnx", CONTEXT)
    graph = OnnxDecoder(tmp_path / "graph.onnx", 1).open()
    exact = model.decoder.open()
    prompt = model.tokenizer.encode([ChatMessage("user", "Where is my card?")])
    for tokens in (prompt, [40], [41, 42]):
        wanted, found = exact.extend(tokens), graph.extend(tokens)
        assert np.corrcoef(wanted, found)[0, 1] > 0.99  # wrong rotations or heads give about 0


def test_a_decoder_computes_with_the_threads_it_is_given(tiny_model: Path, tmp_path: Path) -> None:
    build_graph(tiny_model, tmp_path / "graph.onnx", CONTEXT)

    def started(threads: int) -> int:
        before = len(list(Path("/proc/self/task").iterdir()))
        decoder = OnnxDecoder(tmp_path / "graph.onnx", threads)
        decoder.open().extend([1, 2, 3])
        return len(list(Path("/proc/self/task").iterdir())) - before

    assert started(1) == 0  # the caller's own computes
    assert started(3) == 2


@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param("nobody/nothing-of-that-name", "SLMESH_REASONER_MODEL", id="unknown-hub-name"),
        pytest.param("./no/such/folder", "SLMESH_REASONER_MODEL", id="no-folder"),
    ],
)
def test_a_model_that_is_not_there_is_refused(
    name: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # as HF_HUB_OFFLINE does, which the library reads once, when it is imported
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(FailedPrecondition, match=words):
        load_transformers_model(name, tmp_path, 1)


def test_a_pickle_is_not_loaded(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(FailedPrecondition, match="safetensors"):
        load_transformers_model(str(folder), tmp_path, 1)


def test_a_model_without_a_chat_template_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", template=None)
    with pytest.raises(FailedPrecondition, match="no chat template"):
        load_transformers_model(str(folder), tmp_path, 1)
