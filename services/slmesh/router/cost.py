"""What a decision costs, and what sending everything to the reasoner would have cost.

The price of an answer is ``(prompt tokens x prompt price + output tokens x output price) / 10^6``,
rounded to a millionth of a US dollar; tokens are counted by the reasoner itself.

The all-LLM cost is a counterfactual, so it is estimated:

- prompt tokens = characters of the instruction and of the text as the reasoner would get it, without
  signals, divided by the characters per token. That ratio starts at 4, which is what English takes in
  the byte-pair vocabularies of today's models, and moves to what real answers show: sum of characters
  sent / sum of prompt tokens counted. Signals count with the characters of their compact text form,
  which is longer than what a reasoner makes of them, so the ratio errs to the high side and the
  estimated saving to the low side;
- output tokens = the mean over the flow's real answers and over ten that are as long as the flow
  expects (``expected_output_tokens``), so that the first short answer does not decide.

For a request that the reasoner did answer, the length of its answer is known and is taken instead.

It knows no tokenizer and no engine, and forgets what it has seen when the process ends.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from google.protobuf import text_format

from slmesh.api.reason.v1 import reason_pb2
from slmesh.api.route.v1 import route_pb2
from slmesh.router.flow import Flow

__all__ = ["CHARACTERS_PER_TOKEN", "CostEstimator", "Price", "Prices"]

CHARACTERS_PER_TOKEN = 4.0
"""Before anything is measured. Source: the rule of thumb of the vendors of hosted models."""

_PRIOR_TOKENS = 200
"""How much the starting ratio weighs, in tokens: about one prompt."""

_PRIOR_ANSWERS = 10
"""How much the expected length of answers weighs, in answers."""


@dataclass(frozen=True)
class Price:
    """The price of a million tokens of each kind, in millionths of a US dollar."""

    prompt_usd_micros_per_mtok: int
    output_usd_micros_per_mtok: int

    def cost(self, prompt_tokens: int, output_tokens: int) -> route_pb2.Cost:
        """Return the cost of some tokens."""
        price = (
            prompt_tokens * self.prompt_usd_micros_per_mtok
            + output_tokens * self.output_usd_micros_per_mtok
        )
        return route_pb2.Cost(
            prompt_tokens=prompt_tokens,
            output_tokens=output_tokens,
            usd_micros=round(price / 1e6),
        )


@dataclass(frozen=True)
class Prices:
    """The price of each reasoner, by service."""

    of_service: Mapping[str, Price]

    def of(self, flow: Flow) -> Price:
        """Return the price of a flow's reasoner; nothing for a flow without one."""
        if flow.reasoner is None:
            return Price(0, 0)
        return self.of_service[flow.reasoner.service]


class CostEstimator:
    """Estimates the all-LLM cost, and learns from the answers of the reasoner.

    Args:
        prices: The prices.
    """

    def __init__(self, prices: Prices) -> None:
        self._prices = prices
        self._characters = CHARACTERS_PER_TOKEN * _PRIOR_TOKENS
        self._tokens = float(_PRIOR_TOKENS)
        self._outputs: dict[str, tuple[int, int]] = {}  # flow: answers, their tokens

    @property
    def characters_per_token(self) -> float:
        """The ratio as it stands."""
        return self._characters / self._tokens

    def spent(self, flow: Flow, usage: reason_pb2.Usage | None) -> route_pb2.Cost:
        """Return what an answer of a flow's reasoner cost; nothing when there was none."""
        if usage is None:
            return route_pb2.Cost()
        return self._prices.of(flow).cost(usage.prompt_tokens, usage.output_tokens)

    def learn(self, flow: Flow, request: reason_pb2.ReasonRequest, usage: reason_pb2.Usage) -> None:
        """Take one real answer into account."""
        if usage.prompt_tokens > 0:
            self._characters += _characters(request)
            self._tokens += usage.prompt_tokens
        if usage.output_tokens > 0:
            answers, tokens = self._outputs.get(flow.name, (0, 0))
            self._outputs[flow.name] = answers + 1, tokens + usage.output_tokens

    def all_llm(
        self, flow: Flow, text: str, usage: reason_pb2.Usage | None = None
    ) -> route_pb2.Cost:
        """Return what the reasoner alone would have cost; nothing for a flow without one.

        Args:
            flow: The flow.
            text: The text as the reasoner would get it.
            usage: What its answer to this text took, where there is one.
        """
        if flow.reasoner is None:
            return route_pb2.Cost()
        price = self._prices.of(flow)
        characters = len(flow.reasoner.instruction) + len(text)
        prompt_tokens = math.ceil(characters / self.characters_per_token)
        if usage is not None:
            return price.cost(prompt_tokens, usage.output_tokens)
        answers, tokens = self._outputs.get(flow.name, (0, 0))
        tokens += _PRIOR_ANSWERS * flow.reasoner.expected_output_tokens
        return price.cost(prompt_tokens, round(tokens / (_PRIOR_ANSWERS + answers)))


def _characters(request: reason_pb2.ReasonRequest) -> int:
    signals: Iterable[str] = (
        text_format.MessageToString(signal, as_one_line=True) for signal in request.signals
    )
    return len(request.instruction) + len(request.text) + sum(map(len, signals))
