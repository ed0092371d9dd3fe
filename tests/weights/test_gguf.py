"""Conversion of GGUF files, over a small real one written here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from safetensors.numpy import load_file
from tests.reasoner.tiny_model import (
    CONTEXT,
    CONTROL,
    HEADS,
    HIDDEN,
    INNER,
    KV_HEADS,
    LAYERS,
    byte_tokenizer,
    write_model,
)
from tokenizers import Tokenizer

from slmesh.mesh.bundle import digest_of
from slmesh.mesh.errors import FailedPrecondition
from slmesh.weights.gguf import convert_file, open_converted

GGUF_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def permuted(weight: np.ndarray, heads: int) -> np.ndarray:
    """Return query or key rows as llama.cpp's converter orders them."""
    halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, weight.shape[1])
    return halves.swapaxes(1, 2).reshape(weight.shape)


def write_gguf(path: Path, weights: dict[str, np.ndarray], **changes: str) -> None:
    """Write the tiny model as llama.cpp's converter would, its matrices as Q8_0."""
    settings = {"architecture": "llama", "tokenizer": "gpt2", "pre": "smollm", **changes}
    writer = gguf.GGUFWriter(path, settings["architecture"])
    writer.add_block_count(LAYERS)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    tokenizer = byte_tokenizer()
    tokens = [tokenizer.id_to_token(i) for i in range(tokenizer.get_vocab_size())]
    tokens += ["ca", "rd"]
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model(settings["tokenizer"])
    writer.add_tokenizer_pre(settings["pre"])
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in CONTROL else 1 for token in tokens])
    writer.add_token_merges(["c a", "r d"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template("{{ messages }}")
    for name, weight in weights.items():
        _add_tensor(writer, name, weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tensor(writer: gguf.GGUFWriter, name: str, weight: np.ndarray) -> None:
    parts = name.split(".")
    if parts[1] == "layers":
        short = GGUF_NAMES[".".join(parts[3:-1])]
        if short in ("attn_q", "attn_k"):
            weight = permuted(weight, HEADS if short == "attn_q" else KV_HEADS)
        target = f"blk.{parts[2]}.{short}.weight"
    else:
        target = {"embed_tokens": "token_embd", "norm": "output_norm"}[parts[1]] + ".weight"
    if weight.ndim == 1:
        writer.add_tensor(target, weight)
    else:
        kind = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(target, gguf.quantize(weight, kind), raw_dtype=kind)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    folder = write_model(tmp_path_factory.mktemp("original"))
    weights: dict[str, np.ndarray] = load_file(folder / "model.safetensors")
    return weights


@pytest.fixture
def converted(tmp_path: Path, original: dict[str, np.ndarray]) -> Path:
    write_gguf(tmp_path / "tiny.gguf", original)
    folder = tmp_path / "converted"
    folder.mkdir()
    convert_file(tmp_path / "tiny.gguf", folder)
    return folder


def test_the_weights_come_back_under_their_names(
    converted: Path, original: dict[str, np.ndarray]
) -> None:
    found = load_file(converted / "model.safetensors")
    assert found.keys() == original.keys()
    for name, weight in original.items():
        assert found[name].dtype == np.float16
        # eight bits for a block of 32 weights keep about a hundredth of the largest one
        np.testing.assert_allclose(found[name], weight, atol=0.01 * np.abs(weight).max())


def test_the_configuration_is_that_of_the_file(converted: Path) -> None:
    config: dict[str, Any] = json.loads((converted / "config.json").read_text())
    assert config["num_key_value_heads"] == KV_HEADS
    assert config["max_position_embeddings"] == CONTEXT
    assert config["rope_parameters"] == {"rope_type": "default", "rope_theta": 10000.0}
    assert config["tie_word_embeddings"] is True
    generation = json.loads((converted / "generation_config.json").read_text())
    assert generation["eos_token_id"] == [0, 2]
    tokenizer = json.loads((converted / "tokenizer_config.json").read_text())
    assert tokenizer["chat_template"] == "{{ messages }}"


@pytest.mark.parametrize(
    "text", ["Where is my card?", "Zoë paid 1234 €\n\n\U0001f642", " leading  and   inner"]
)
def test_the_tokenizer_keeps_every_character(converted: Path, text: str) -> None:
    tokenizer = Tokenizer.from_file(str(converted / "tokenizer.json"))
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_the_tokenizer_reads_digits_one_by_one_and_control_tokens_as_one(converted: Path) -> None:
    tokenizer = Tokenizer.from_file(str(converted / "tokenizer.json"))
    assert tokenizer.encode("12<|im_end|>").tokens == ["1", "2", "<|im_end|>"]


def test_the_tokenizer_has_the_merges_of_the_file(converted: Path) -> None:
    tokenizer = Tokenizer.from_file(str(converted / "tokenizer.json"))
    assert tokenizer.encode("cards").tokens == ["ca", "rd", "s"]


def test_a_converted_folder_opens_with_the_digest_of_its_source(converted: Path) -> None:
    model = open_converted("tiny", converted)
    assert model.digest == digest_of(converted.parent / "tiny.gguf")
    assert model.reused


def test_a_changed_file_is_refused_with_both_digests(converted: Path) -> None:
    config = converted / "config.json"
    expected = digest_of(config)
    config.write_text("{}")
    with pytest.raises(FailedPrecondition, match="delete") as caught:
        open_converted("tiny", converted)
    assert expected in caught.value.message
    assert digest_of(config) in caught.value.message
    assert "config.json" in caught.value.message


@pytest.mark.parametrize("name", ["model.safetensors", "digests.json"])
def test_a_missing_file_is_refused(converted: Path, name: str) -> None:
    (converted / name).unlink()
    with pytest.raises(FailedPrecondition, match=name):
        open_converted("tiny", converted)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"tokenizer": "llama"}, "tokenizer.ggml.model is 'llama'", id="tokenizer"),
        pytest.param({"pre": "qwen2"}, "tokenizer.ggml.pre is 'qwen2'", id="pre-tokenizer"),
        pytest.param({"architecture": "mamba"}, "architecture is 'mamba'", id="architecture"),
    ],
)
def test_a_model_of_another_kind_is_refused(
    tmp_path: Path, original: dict[str, np.ndarray], changes: dict[str, str], words: str
) -> None:
    write_gguf(tmp_path / "other.gguf", original, **changes)
    with pytest.raises(FailedPrecondition, match=words):
        convert_file(tmp_path / "other.gguf", tmp_path)
