"""The reasoner's options: which engine answers, and how much one request may ask of it.

They come from the manifest's ``options``, over which the settings have been laid. This module reads
no environment and loads no engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from slmesh.mesh.errors import FailedPrecondition
from slmesh.mesh.naming import suggestion
from slmesh.weights.engines import EMBEDDED_MODEL, ENGINES, engine_of

__all__ = ["ReasonerOptions"]


@dataclass(frozen=True)
class _Defaults:
    max_concurrent: int
    max_prompt_tokens: int
    max_output_tokens: int


_DEFAULTS: Mapping[str, _Defaults] = {
    # a request takes a core for seconds: measured 75 tokens/s on one core for the embedded model
    "onnx": _Defaults(max_concurrent=2, max_prompt_tokens=1024, max_output_tokens=128),
    "transformers": _Defaults(max_concurrent=2, max_prompt_tokens=1024, max_output_tokens=128),
    # a remote server batches by itself, and its models read more
    "openai": _Defaults(max_concurrent=16, max_prompt_tokens=8192, max_output_tokens=1024),
}


@dataclass(frozen=True, kw_only=True)
class ReasonerOptions:
    """What the manifest's ``options`` say.

    Attributes:
        engine: One of :data:`ENGINES`; chosen from ``base_url`` and ``model`` when not given.
        model: A folder or hub name for ``transformers``, the provider's name for ``openai``.
        base_url: Base URL of the OpenAI-compatible server; OpenAI's own when empty.
        api_key: Key for that server; never logged, never shown.
        max_concurrent: Requests answered at the same time, >= 1.
        max_prompt_tokens: Largest prompt in tokens, >= 1.
        max_output_tokens: Largest answer in tokens, and the limit of a request that states none.
    """

    engine: str
    model: str
    base_url: str = ""
    api_key: str = field(default="", repr=False)
    max_concurrent: int
    max_prompt_tokens: int
    max_output_tokens: int

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> ReasonerOptions:
        """Return the options of a manifest, with the engine's defaults for what is missing.

        Raises:
            FailedPrecondition: A key is unknown, a value is of the wrong type or out of range, or
                the engine has no model.
        """
        texts = dict.fromkeys(("engine", "model", "base_url", "api_key"), "")
        numbers = ("max_concurrent", "max_prompt_tokens", "max_output_tokens")
        for key, value in values.items():
            if key in texts:
                texts[key] = _text(key, value)
            elif key not in numbers:
                raise _invalid(f"unknown key '{key}'{suggestion(key, [*texts, *numbers])}")
        engine = engine_of(texts)
        if engine not in _DEFAULTS:
            raise _invalid(f"unknown engine '{engine}'{suggestion(engine, ENGINES)}")
        model = texts["model"]
        if engine == "openai" and not model:
            raise _invalid("the engine 'openai' needs a model; set SLMESH_REASONER_MODEL")
        if engine == "onnx" and model not in ("", EMBEDDED_MODEL):
            raise _invalid(f"the engine 'onnx' has {EMBEDDED_MODEL} only; use 'transformers'")
        defaults = _DEFAULTS[engine]
        return cls(
            engine=engine,
            model=model or EMBEDDED_MODEL,
            base_url=texts["base_url"],
            api_key=texts["api_key"],
            **{name: _number(name, values.get(name, getattr(defaults, name))) for name in numbers},
        )


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _invalid(f"{key} must be a string, is {type(value).__name__}")
    return value


def _number(key: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise _invalid(f"{key} must be a whole number of at least 1, is {value!r}")
    return value


def _invalid(problem: str) -> FailedPrecondition:
    return FailedPrecondition(f"options of the reasoner: {problem}", reason="INVALID_OPTIONS")
