"""Keeps a local model's answer inside a JSON Schema, by masking the tokens that would leave it.

The grammar engine is llguidance; this module hands it a tokenizer and applies its masks. It knows
nothing of the model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLTokenizer
from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask

from slmesh.mesh.errors import Internal
from slmesh.reasoner.engines.tokens import ChatTokenizer
from slmesh.reasoner.structured import schema_error

__all__ = ["Grammars", "JsonConstraint"]


class Grammars:
    """Makes constraints for one tokenizer; making one of these takes about a second.

    Args:
        tokenizer: The model's tokenizer.
    """

    def __init__(self, tokenizer: ChatTokenizer) -> None:
        self._tokenizer = LLTokenizer(tokenizer.serialised, eos_token=sorted(tokenizer.stop_tokens))

    def constraint(self, schema: Mapping[str, Any]) -> JsonConstraint:
        """Return the constraint for one answer.

        Raises:
            InvalidArgument: The schema uses what cannot be enforced.
        """
        # compact JSON: a small model that may write white space writes it for ever
        grammar = LLMatcher.grammar_from_json_schema(
            json.dumps(schema), overrides={"whitespace_flexible": False}
        )
        matcher = LLMatcher(self._tokenizer, grammar, log_level=0)
        if matcher.is_error():
            raise schema_error(matcher.get_error().splitlines()[0][:200])
        return JsonConstraint(matcher, self._tokenizer.vocab_size)


class JsonConstraint:
    """The state of one constrained answer."""

    def __init__(self, matcher: LLMatcher, vocabulary_size: int) -> None:
        self._matcher = matcher
        self._mask = allocate_token_bitmask(1, vocabulary_size)
        self._size = vocabulary_size

    def apply(self, logits: np.ndarray) -> np.ndarray:
        """Return the logits (V,) with every token that is not allowed next at minus infinity."""
        fill_next_token_bitmask(self._matcher, self._mask)
        allowed = np.unpackbits(self._mask.view(np.uint8), bitorder="little")[: self._size]
        masked = np.full_like(logits, -np.inf)
        size = min(self._size, logits.shape[0])  # models pad their vocabulary, or cut it
        masked[:size] = np.where(allowed[:size], logits[:size], -np.inf)
        return masked

    def accept(self, token: int) -> None:
        """Move on by one chosen token.

        Raises:
            Internal: The grammar ran into one of its own limits.
        """
        if not self._matcher.consume_token(token):
            raise Internal(
                "the grammar of output_schema grew too complex while it was followed",
                reason="OUTPUT_SCHEMA_TOO_COMPLEX",
            )
