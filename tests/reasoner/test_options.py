"""The reasoner's options and the engine they choose."""

from __future__ import annotations

from typing import Any

import pytest

from slmesh.mesh.errors import FailedPrecondition
from slmesh.reasoner.options import ReasonerOptions
from slmesh.weights.engines import EMBEDDED_MODEL


@pytest.mark.parametrize(
    ("values", "engine", "model"),
    [
        pytest.param({}, "onnx", EMBEDDED_MODEL, id="nothing-set"),
        pytest.param({"engine": "transformers"}, "transformers", EMBEDDED_MODEL, id="engine-only"),
        pytest.param({"model": "org/chat"}, "transformers", "org/chat", id="model-only"),
        pytest.param({"base_url": "http://x/v1", "model": "m"}, "openai", "m", id="server"),
        pytest.param({"engine": "openai", "model": "m"}, "openai", "m", id="openai-itself"),
    ],
)
def test_the_engine_follows_from_what_is_set(
    values: dict[str, Any], engine: str, model: str
) -> None:
    options = ReasonerOptions.from_mapping(values)
    assert (options.engine, options.model) == (engine, model)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        pytest.param({"modle": "x"}, "did you mean 'model'", id="unknown-key"),
        pytest.param({"engine": "openia", "model": "m"}, "did you mean 'openai'", id="engine"),
        pytest.param({"base_url": "http://x"}, "SLMESH_REASONER_MODEL", id="server-without-model"),
        pytest.param({"engine": "onnx", "model": "org/x"}, "use 'transformers'", id="onnx-model"),
        pytest.param({"max_concurrent": 0}, "max_concurrent", id="zero"),
        pytest.param({"max_output_tokens": True}, "max_output_tokens", id="boolean"),
        pytest.param({"max_prompt_tokens": "9"}, "max_prompt_tokens", id="text-for-number"),
        pytest.param({"model": 3}, "model must be a string", id="number-for-text"),
    ],
)
def test_wrong_options_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(FailedPrecondition, match=words):
        ReasonerOptions.from_mapping(values)


def test_the_key_is_not_shown() -> None:
    options = ReasonerOptions.from_mapping({"base_url": "u", "model": "m", "api_key": "k-secret"})
    assert "k-secret" not in repr(options)
