"""Text to tokens and back, for local models: chat templates in, streamed text out.

The caller's text can never become a control token: only the template's own parts may. This module
runs no model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from slmesh.reasoner.prompt import ChatMessage

__all__ = ["ChatTokenizer", "TextStream", "template_of_folder"]

Template = Callable[[list[dict[str, str]]], str]
"""Renders chat messages, up to where the model's answer starts."""

_SLOT = "\ue000{}\ue001"  # private-use characters: no template has them
_SLOTS = re.compile("\ue000(\\d+)\ue001")


class ChatTokenizer:
    """A tokenizer with a chat template.

    Args:
        serialised: The tokenizer as in ``tokenizer.json``.
        template: The chat template.
        stop_tokens: Tokens that end an answer.
    """

    def __init__(self, serialised: str, template: Template, stop_tokens: Sequence[int]) -> None:
        self.serialised = serialised
        self.stop_tokens = frozenset(stop_tokens)
        self._template = template
        self._of_template = _plain(Tokenizer.from_str(serialised))
        self._of_text = _plain(Tokenizer.from_str(serialised))
        self._of_text.encode_special_tokens = True  # reads "<|im_end|>" as the letters it is

    def encode(self, messages: Sequence[ChatMessage]) -> list[int]:
        """Return the tokens of a prompt."""
        # The template sees a slot in place of each text, and is cut there, so that no text is
        # ever read together with the template's control tokens.
        rendered = self._template(
            [
                {"role": message.role, "content": _SLOT.format(index)}
                for index, message in enumerate(messages)
            ]
        )
        tokens: list[int] = []
        for position, part in enumerate(_SLOTS.split(rendered)):
            if position % 2:
                text = messages[int(part)].content
                tokens += self._of_text.encode(text, add_special_tokens=False).ids
            elif part:
                tokens += self._of_template.encode(part, add_special_tokens=False).ids
        return tokens

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of some tokens, without control tokens."""
        return self._of_template.decode(list(tokens), skip_special_tokens=True)

    def vocabulary_size(self) -> int:
        """Return the number of tokens, added ones included."""
        return self._of_template.get_vocab_size(with_added_tokens=True)


class TextStream:
    """Turns a stream of tokens into a stream of text, holding back unfinished characters."""

    def __init__(self, tokenizer: ChatTokenizer) -> None:
        self._tokenizer = tokenizer
        self._tokens: list[int] = []
        self._context = 0  # from here on tokens are decoded, so that joints come out right
        self._shown = 0  # tokens before this one have been shown

    def push(self, token: int) -> str:
        """Take one token and return the text that is certain now; often empty for emoji."""
        self._tokens.append(token)
        before, after = self._window()
        if after.endswith("\ufffd"):
            return ""
        self._context, self._shown = self._shown, len(self._tokens)
        return after[len(before) :]

    def rest(self) -> str:
        """Return what was held back; unfinished characters come out as U+FFFD."""
        before, after = self._window()
        self._context = self._shown = len(self._tokens)
        return after[len(before) :]

    def _window(self) -> tuple[str, str]:
        before = self._tokenizer.decode(self._tokens[self._context : self._shown])
        return before, self._tokenizer.decode(self._tokens[self._context :])


def template_of_folder(folder: Path) -> Template:
    """Return the chat template of a model folder, in the sandbox transformers uses for it too."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    config: Mapping[str, Any] = json.loads(
        (folder / "tokenizer_config.json").read_text(encoding="utf-8")
    )
    template = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(
        config["chat_template"]
    )
    return lambda messages: template.render(messages=messages, add_generation_prompt=True)


def _plain(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer
