"""Loads any causal language model with transformers, by folder or hub name.

Weights are read from safetensors only, code from a model's repository is never run, and
``HF_HUB_OFFLINE`` and the Hugging Face cache work as everywhere. A GPU is used when there is one.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from slmesh.mesh.bundle import digest_of
from slmesh.mesh.errors import FailedPrecondition
from slmesh.reasoner.engines.engine import LoadedModel
from slmesh.reasoner.engines.in_turns import InTurns
from slmesh.reasoner.engines.local import LocalModel
from slmesh.reasoner.engines.tokens import ChatTokenizer
from slmesh.weights.engines import EMBEDDED_MODEL
from slmesh.weights.gguf import convert

__all__ = ["TorchDecoder", "load_transformers_model"]


class TorchDecoder:
    """A causal language model of transformers.

    Args:
        model: The model, on its device.
    """

    def __init__(self, model: Any) -> None:
        self._model = model

    def open(self) -> TorchSequence:
        """Return a new empty sequence."""
        return TorchSequence(self._model)


class TorchSequence:
    """One sequence with its key-value cache."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._cache: Any = None
        # transformers 5.24 calls it cache, and warns of the name it had before
        parameters = inspect.signature(model.forward).parameters
        self._name = "cache" if "cache" in parameters else "past_key_values"

    def extend(self, tokens: Sequence[int]) -> np.ndarray:
        """Append tokens and return the logits (V,) of the next one."""
        with torch.inference_mode():
            output = self._model(
                input_ids=torch.tensor([tokens], device=self._model.device),  # (1, T)
                use_cache=True,
                logits_to_keep=1,
                **{self._name: self._cache},
            )
            self._cache = output[self._name]
            logits: np.ndarray = output.logits[0, -1].float().cpu().numpy()  # (V,)
            return logits


def load_transformers_model(model: str, cache_dir: Path, threads: int) -> LocalModel:
    """Load a model.

    Args:
        model: A folder, a hub name, or the embedded model's name.
        cache_dir: The folder of everything fetched or compiled.
        threads: Threads that compute on a CPU, for all answers together, >= 1.

    Raises:
        FailedPrecondition: The model cannot be found, has no safetensors, or cannot chat.
    """
    torch.set_num_threads(threads)
    # a service's log is no terminal
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    place, name, version, digest = model, model, "", ""
    if model == EMBEDDED_MODEL:
        converted = convert(model, cache_dir)
        place, version, digest = str(converted.folder), "embedded", converted.digest
    gpu = torch.cuda.is_available()
    try:
        tokenizer = AutoTokenizer.from_pretrained(place)
        # float32 on a CPU: measured as fast as bfloat16 there, and faster on prompts
        network = AutoModelForCausalLM.from_pretrained(
            place, use_safetensors=True, dtype="auto" if gpu else torch.float32
        )
    except (OSError, ValueError) as error:
        raise FailedPrecondition(
            f"model '{model}' cannot be loaded: {str(error).splitlines()[0]}; SLMESH_REASONER_MODEL"
            " must be a folder or a hub name of a causal language model with safetensors",
            reason="MODEL_UNAVAILABLE",
        ) from error
    network.train(False).to("cuda" if gpu else "cpu")
    if not digest:
        name, version, digest = _identity(model)
    loaded = LoadedModel(
        name=name,
        version=version,
        digest=digest,
        context_tokens=getattr(network.config, "max_position_embeddings", None),
        counts_exactly=True,
    )
    chat = _chat_tokenizer(model, tokenizer, network.generation_config)
    return LocalModel(InTurns(TorchDecoder(network)), chat, loaded)


def _chat_tokenizer(model: str, tokenizer: Any, generation_config: Any) -> ChatTokenizer:
    if not tokenizer.is_fast:
        raise _unsupported(model, "its tokenizer has no tokenizer.json")
    if not tokenizer.chat_template:
        raise _unsupported(model, "it has no chat template; name an instruction-tuned model")
    ends: set[int] = set()
    for end in (generation_config.eos_token_id, tokenizer.eos_token_id):
        ends.update([end] if isinstance(end, int) else end or [])
    if not ends:
        raise _unsupported(model, "it names no token that ends an answer")

    def template(messages: list[dict[str, str]]) -> str:
        rendered: str = tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        return rendered

    return ChatTokenizer(tokenizer.backend_tokenizer.to_str(), template, sorted(ends))


def _identity(model: str) -> tuple[str, str, str]:
    """Return the name, version and weights' digest of a model that is not embedded."""
    folder = Path(model)
    if folder.is_dir():
        return folder.resolve().name, "local", _weights_digest(folder)
    from huggingface_hub import snapshot_download

    # what was loaded above is in the cache now, in a folder named after its revision
    snapshot = Path(snapshot_download(model, allow_patterns="*.safetensors", local_files_only=True))
    return model, snapshot.name, _weights_digest(snapshot)


def _weights_digest(folder: Path) -> str:
    """Return the digest of the weights: of the file, or of the list of digests of several."""
    files = sorted(folder.glob("*.safetensors"))
    digests = [f"{digest_of(file)} {file.name}" for file in files]
    if len(files) == 1:
        return digests[0].split(" ")[0]
    return "sha256:" + hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _unsupported(model: str, why: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"model '{model}' cannot answer chats: {why}", reason="MODEL_UNSUPPORTED"
    )
