"""Converts the embedded language model from its GGUF file into safetensors, once.

The result is an ordinary model folder: ``model.safetensors`` in float16 (the 4-bit blocks hold
float16 scales, so nothing that matters is lost), ``config.json``, ``generation_config.json``,
``tokenizer.json`` and ``tokenizer_config.json`` with the chat template. It needs neither torch nor
transformers, and knows Llama-shaped models with a GPT-2 byte-level tokenizer and no others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slmesh.mesh.bundle import digest_of
from slmesh.mesh.errors import FailedPrecondition
from slmesh.weights.fetch import Progress, fetch, new_folder, silent
from slmesh.weights.sources import find_source

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["ConvertedModel", "convert", "convert_file", "open_converted"]

_DIGESTS = "digests.json"
_CONTROL_TOKEN = 3  # gguf's TokenType.CONTROL

_BLOCK_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_TOP_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}

_Metadata = Callable[[str], Any]


@dataclass(frozen=True)
class ConvertedModel:
    """A converted model on disk.

    Attributes:
        name: The name of its source.
        folder: The verified files.
        digest: ``sha256:`` and the digest of the GGUF file it was made from.
        reused: Whether it was there already.
    """

    name: str
    folder: Path
    digest: str
    reused: bool


def convert(name: str, cache_dir: Path, progress: Progress = silent) -> ConvertedModel:
    """Return the converted form of a GGUF source, fetching and converting it if need be.

    Args:
        name: A name of ``sources.SOURCES`` whose only file is a GGUF.
        cache_dir: The folder of everything fetched or compiled.
        progress: Told of each step.

    Raises:
        FailedPrecondition: A digest is wrong, or the model is of a kind this module cannot read.
        Unavailable: The weights could not be downloaded.
    """
    (file,) = find_source(name).files
    target = cache_dir / "reasoner" / file.sha256
    if target.is_dir():
        return open_converted(name, target)
    fetched = fetch(name, cache_dir, progress)
    progress(f"convert {name}: reading", 0.0)
    with new_folder(target) as folder:
        convert_file(
            fetched.folder / file.name,
            folder,
            lambda _, done: progress(f"convert {name}: weights", done),
        )
    progress(f"convert {name}: done", 1.0)
    return ConvertedModel(name, target, "sha256:" + file.sha256, reused=False)


def open_converted(name: str, folder: Path) -> ConvertedModel:
    """Return a converted model after checking every file against its digest.

    Raises:
        FailedPrecondition: A file is missing or was changed since it was converted.
    """
    try:
        digests = json.loads((folder / _DIGESTS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(name, folder, f"{folder / _DIGESTS} cannot be read") from error
    for file_name, expected in digests["files"].items():
        path = folder / file_name
        found = digest_of(path) if path.is_file() else "no file"
        if found != expected:
            raise _damaged(name, folder, f"{path}: expected {expected}, found {found}")
    return ConvertedModel(name, folder, digests["source"], reused=True)


def convert_file(path: Path, folder: Path, progress: Progress = silent) -> None:
    """Convert one GGUF file into ``folder``, which exists and is empty.

    Raises:
        FailedPrecondition: The model is of a kind this module cannot read.
    """
    from gguf import GGUFReader

    reader = GGUFReader(path)

    def metadata(key: str) -> Any:
        field = reader.fields.get(key)
        if field is None:
            raise _unreadable(path, f"it lacks the key '{key}'")
        return field.contents()

    _require(path, "general.architecture", metadata("general.architecture"), "llama")
    _require(path, "tokenizer.ggml.model", metadata("tokenizer.ggml.model"), "gpt2")
    _require(path, "tokenizer.ggml.pre", metadata("tokenizer.ggml.pre"), "smollm")
    names = _convert_tensors(reader.tensors, metadata, folder / "model.safetensors", progress)
    _write_json(folder / "config.json", _config(metadata, tied="lm_head.weight" not in names))
    tokens: list[str] = metadata("tokenizer.ggml.tokens")
    control = [
        index
        for index, kind in enumerate(metadata("tokenizer.ggml.token_type"))
        if kind == _CONTROL_TOKEN
    ]
    _write_json(folder / "generation_config.json", _generation_config(metadata))
    tokenizer = _tokenizer(tokens, control, metadata("tokenizer.ggml.merges"))
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_json(folder / "tokenizer_config.json", _tokenizer_config(metadata, tokens))
    files = {file.name: digest_of(file) for file in sorted(folder.iterdir())}
    _write_json(folder / _DIGESTS, {"source": digest_of(path), "files": files})


def _convert_tensors(
    tensors: list[Any], metadata: _Metadata, target: Path, progress: Progress
) -> set[str]:
    """Write all tensors as float16 and return their names."""
    from gguf.quants import dequantize
    from safetensors.numpy import save_file

    heads = {
        "attn_q": metadata("llama.attention.head_count"),
        "attn_k": metadata("llama.attention.head_count_kv"),
    }
    converted: dict[str, np.ndarray] = {}
    for index, tensor in enumerate(tensors):
        weight = dequantize(tensor.data, tensor.tensor_type)
        part = tensor.name.split(".")[-2]
        if part in heads:
            weight = _unpermuted(weight, heads[part])
        converted[_tensor_name(tensor.name)] = np.ascontiguousarray(weight, dtype=np.float16)
        progress("tensors", (index + 1) / len(tensors))
    save_file(converted, target, metadata={"format": "pt"})
    target.chmod(0o644)  # safetensors makes it private; the cache may be shared
    return set(converted)


def _tensor_name(name: str) -> str:
    """Return the transformers name of a GGUF tensor: ``blk.3.attn_q.weight``."""
    parts = name.split(".")
    if parts[0] == "blk":
        return f"model.layers.{parts[1]}.{_BLOCK_NAMES[parts[2]]}.weight"
    return f"{_TOP_NAMES[parts[0]]}.weight"


def _unpermuted(weight: np.ndarray, heads: int) -> np.ndarray:
    """Return query or key rows in the order of half-rotations.

    GGUF keeps the two halves of a rotary pair beside each other, transformers half a head apart.

    Args:
        weight: (rows, columns).
        heads: Attention heads in ``rows``.

    Source: the inverse of ``LlamaModel.permute`` in llama.cpp's ``convert_hf_to_gguf.py``.
    """
    rows, columns = weight.shape
    pairs = weight.reshape(heads, rows // heads // 2, 2, columns)  # (H, D/2, 2, C)
    return pairs.swapaxes(1, 2).reshape(rows, columns)


def _config(metadata: _Metadata, *, tied: bool) -> Mapping[str, Any]:
    theta = metadata("llama.rope.freq_base")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "float16",
        "hidden_act": "silu",
        "hidden_size": metadata("llama.embedding_length"),
        "intermediate_size": metadata("llama.feed_forward_length"),
        "max_position_embeddings": metadata("llama.context_length"),
        "num_attention_heads": metadata("llama.attention.head_count"),
        "num_hidden_layers": metadata("llama.block_count"),
        "num_key_value_heads": metadata("llama.attention.head_count_kv"),
        "rms_norm_eps": metadata("llama.attention.layer_norm_rms_epsilon"),
        "rope_theta": theta,  # transformers 4 reads this one, 5 the next
        "rope_parameters": {"rope_type": "default", "rope_theta": theta},
        "tie_word_embeddings": tied,
        "vocab_size": metadata("llama.vocab_size"),
        "bos_token_id": metadata("tokenizer.ggml.bos_token_id"),
        "eos_token_id": metadata("tokenizer.ggml.eos_token_id"),
        "pad_token_id": metadata("tokenizer.ggml.padding_token_id"),
    }


def _generation_config(metadata: _Metadata) -> Mapping[str, Any]:
    # a chat ends with the end-of-turn token, and now and then with the end-of-text token
    ends = {metadata("tokenizer.ggml.eos_token_id"), metadata("tokenizer.ggml.unknown_token_id")}
    return {
        "bos_token_id": metadata("tokenizer.ggml.bos_token_id"),
        "eos_token_id": sorted(ends),
        "pad_token_id": metadata("tokenizer.ggml.padding_token_id"),
    }


def _tokenizer(tokens: list[str], control: list[int], merges: list[str]) -> Tokenizer:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokenizer = Tokenizer(
        models.BPE(
            vocab={token: index for index, token in enumerate(tokens)},
            merges=[(left, right) for left, right in (merge.split(" ") for merge in merges)],
        )
    )
    # Source: the pre-tokenizer "smollm" of llama.cpp: single digits, then GPT-2's pattern
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(tokens[index], special=True, normalized=False) for index in control]
    )
    return tokenizer


def _tokenizer_config(metadata: _Metadata, tokens: list[str]) -> Mapping[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": tokens[metadata("tokenizer.ggml.bos_token_id")],
        "eos_token": tokens[metadata("tokenizer.ggml.eos_token_id")],
        "unk_token": tokens[metadata("tokenizer.ggml.unknown_token_id")],
        "pad_token": tokens[metadata("tokenizer.ggml.padding_token_id")],
        "model_max_length": metadata("llama.context_length"),
        "clean_up_tokenization_spaces": False,
        "chat_template": metadata("tokenizer.chat_template"),
    }


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _require(path: Path, key: str, found: str, expected: str) -> None:
    if found != expected:
        raise _unreadable(path, f"its {key} is '{found}', and only '{expected}' is known")


def _unreadable(path: Path, why: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"{path.name} cannot be converted: {why}; name a model folder with safetensors instead",
        reason="MODEL_UNSUPPORTED",
    )


def _damaged(name: str, folder: Path, what: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"model '{name}': {what}; delete {folder} to convert it again",
        reason="DIGEST_MISMATCH",
    )
