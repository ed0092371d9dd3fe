"""Makes real but tiny Llama models with random weights, for tests of what surrounds a model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HIDDEN, HEADS, KV_HEADS, LAYERS, INNER, CONTEXT = 64, 4, 2, 2, 128, 512


def byte_tokenizer() -> Tokenizer:
    """Return a tokenizer with one token for each byte, and the control tokens first."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(
        models.BPE(vocab={token: i for i, token in enumerate([*CONTROL, *alphabet])}, merges=[])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in CONTROL])
    return tokenizer


def write_model(folder: Path, *, template: str | None = TEMPLATE) -> Path:
    """Write a model folder with fixed random weights and return it."""
    tokenizer = byte_tokenizer()
    vocabulary = tokenizer.get_vocab_size()
    folder.mkdir(parents=True, exist_ok=True)
    save_file(_weights(vocabulary), folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer.save(str(folder / "tokenizer.json"))
    _write(
        folder / "config.json",
        {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_act": "silu",
            "hidden_size": HIDDEN,
            "intermediate_size": INNER,
            "max_position_embeddings": CONTEXT,
            "num_attention_heads": HEADS,
            "num_hidden_layers": LAYERS,
            "num_key_value_heads": KV_HEADS,
            "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
            "tie_word_embeddings": True,
            "vocab_size": vocabulary,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
    )
    _write(folder / "generation_config.json", {"eos_token_id": [2, 0]})
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": CONTROL[1],
        "eos_token": CONTROL[2],
    }
    if template is not None:
        tokenizer_config["chat_template"] = template
    _write(folder / "tokenizer_config.json", tokenizer_config)
    return folder


def _weights(vocabulary: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(7)
    half = HIDDEN // HEADS * KV_HEADS
    shapes = {"model.embed_tokens": (vocabulary, HIDDEN)}
    for layer in range(LAYERS):
        name = f"model.layers.{layer}"
        shapes |= {
            f"{name}.self_attn.q_proj": (HIDDEN, HIDDEN),
            f"{name}.self_attn.k_proj": (half, HIDDEN),
            f"{name}.self_attn.v_proj": (half, HIDDEN),
            f"{name}.self_attn.o_proj": (HIDDEN, HIDDEN),
            f"{name}.mlp.gate_proj": (INNER, HIDDEN),
            f"{name}.mlp.up_proj": (INNER, HIDDEN),
            f"{name}.mlp.down_proj": (HIDDEN, INNER),
        }
    weights = {
        f"{name}.weight": random.normal(0, 0.2, shape).astype(np.float32)
        for name, shape in shapes.items()
    }
    norms = ["model.norm"] + [
        f"model.layers.{layer}.{part}"
        for layer in range(LAYERS)
        for part in ("input_layernorm", "post_attention_layernorm")
    ]
    return weights | {
        f"{name}.weight": random.normal(1, 0.1, HIDDEN).astype(np.float32) for name in norms
    }


def _write(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")
