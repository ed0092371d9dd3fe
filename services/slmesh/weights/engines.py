"""The engines a reasoner may have, and which one its options choose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slmesh.weights.sources import SMOLLM2

__all__ = ["EMBEDDED_MODEL", "ENGINES", "engine_of"]

EMBEDDED_MODEL = SMOLLM2
"""The model that answers when none is named."""

ENGINES = ("onnx", "transformers", "openai")
"""The embedded model, any causal model of this machine, and any server that speaks the protocol."""


def engine_of(options: Mapping[str, Any]) -> str:
    """Return the engine that the options of a reasoner choose.

    Args:
        options: ``engine``, or what it follows from: ``base_url`` and ``model``.
    """
    if options.get("engine"):
        return str(options["engine"])
    if options.get("base_url"):
        return "openai"
    return "onnx" if options.get("model", "") in ("", EMBEDDED_MODEL) else "transformers"
