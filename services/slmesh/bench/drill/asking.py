"""What a drill asks: each service for itself, and the support flow with answers known beforehand."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from importlib.resources import files
from typing import Any

from google.protobuf.json_format import ParseDict
from google.protobuf.timestamp_pb2 import Timestamp

from slmesh.api.reason.v1 import reason_pb2
from slmesh.api.route.v1 import route_pb2
from slmesh.bench.drill.calls import Answer, Outcome
from slmesh.mesh.client import Mesh
from slmesh.mesh.contract import contract
from slmesh.mesh.errors import FailedPrecondition
from slmesh.mesh.manifest import Manifest

__all__ = ["FLOW", "FLOW_TIMEOUT_S", "FlowAnswers", "asking_service", "judged", "probing"]

FLOW = "support"
FLOW_TIMEOUT_S = 25.0  # the flow's own budget is 20 s
_PROBE_S = 1.0
_SLOW_PROBE_S = 10.0  # of a language model
_KINDS = ("easy", "fields")
"""Messages of the demo that small models answer, most of them."""


def asking_service(
    client: Mesh, manifest: Manifest, timeout_s: float
) -> Callable[[int], Awaitable[Answer]]:
    """Return what calls a service directly; every answer it gives is a success.

    Args:
        client: A client of the ingress.
        manifest: The service; it answers calls that are not streams.
        timeout_s: The deadline of a call.
    """
    spoken = contract(manifest.contract).single
    requests = [
        ParseDict(_values(manifest.contract, text), spoken.request_type()) for text in _texts()
    ]

    async def ask(place: int) -> Answer:
        request = requests[place % len(requests)]
        await client.call(spoken.name, manifest.name, request, timeout_s)
        return Answer(Outcome.CORRECT)

    return ask


def probing(client: Mesh, manifest: Manifest) -> Callable[[], Awaitable[None]]:
    """Return what asks a service whether it is back; it raises ``MeshError`` until then."""
    if manifest.contract != "reason":
        ask = asking_service(client, manifest, _PROBE_S)

        async def call() -> None:
            await ask(0)

        return call

    async def stream() -> None:
        request = reason_pb2.ReasonRequest(
            instruction="Answer in one word.", text="Are you there?", max_output_tokens=1
        )
        async for _ in client.reason(manifest.name, request, timeout_s=_SLOW_PROBE_S):
            pass

    return stream


class FlowAnswers:
    """The flow's answers to texts that need no escalation; learned once, then compared.

    Args:
        client: A client of the router.
    """

    def __init__(self, client: Mesh) -> None:
        self._client = client
        self._expected: dict[str, tuple[int, str]] = {}
        self._now = Timestamp()
        self._now.GetCurrentTime()  # what "yesterday" means must not change on the way

    async def learn(self) -> None:
        """Ask without any fault, and keep the texts that small models answer.

        Raises:
            FailedPrecondition: They answer none.
        """
        for text in _texts():
            decision = await self._decide(text)
            if decision.path == route_pb2.PATH_SMALL and not decision.degradations:
                self._expected[text] = _essence(decision)
        if not self._expected:
            raise FailedPrecondition(
                f"the flow '{FLOW}' answers none of the demo's messages by small models",
                reason="NOTHING_TO_ASK",
            )

    @property
    def texts(self) -> Sequence[str]:
        """The texts that are asked."""
        return list(self._expected)

    async def ask(self, place: int) -> Answer:
        """Ask and judge; see :class:`slmesh.bench.drill.calls.Stream`."""
        texts = self.texts
        text = texts[place % len(texts)]
        decision = await self._decide(text)
        return Answer(judged(decision, self._expected[text]), decision.decision_id)

    async def _decide(self, text: str) -> route_pb2.Decision:
        request = route_pb2.RouteRequest(
            flow=FLOW,
            text=text,
            reference_time=self._now,
            decide_anew=True,  # a fault must not be hidden by an earlier answer
        )
        return (await self._client.route(request, timeout_s=FLOW_TIMEOUT_S)).decision


def judged(decision: route_pb2.Decision, expected: tuple[int, str]) -> Outcome:
    """Return what a decision is, beside path and text of the undisturbed one."""
    if decision.degradations:
        return Outcome.DEGRADED
    return Outcome.CORRECT if _essence(decision) == expected else Outcome.WRONG


def _essence(decision: route_pb2.Decision) -> tuple[int, str]:
    return decision.path, decision.answer.text


def _texts() -> list[str]:
    raw = files("slmesh.demo").joinpath("messages.jsonl").read_text(encoding="utf-8")
    messages = [json.loads(line) for line in raw.splitlines()]
    return [m["text"] for m in messages if m["flow"] == FLOW and m["kind"] in _KINDS]


def _values(spoken: str, text: str) -> dict[str, Any]:
    special: dict[str, dict[str, Any]] = {
        "rank": {"query": text, "collection": "bank_help"},
        "guard": {"segments": [{"text": text, "origin": "ORIGIN_USER"}]},
    }
    return special.get(spoken, {"text": text})
