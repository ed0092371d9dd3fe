"""Seven small services that a test can steer by words of the text, one for each role of a flow.

Every service understands ``<name>:down`` (unavailable), ``<name>:crash`` (an exception in the model)
and ``<name>:slow`` (0.6 s), with its own name.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from tests.services import write_service

_MISBEHAVE = """
import time
from slmesh.mesh.errors import Unavailable
from slmesh.api.types.v1.provenance_pb2 import Provenance

def provenance(name):
    return Provenance(service=name, model=name, version="1.0", digest="sha256:0", tier="rules")

class Steered:
    def load(self, resources):
        self.name = resources.manifest.name
        self.requests = []
        self.spans = []

    def answer(self, requests):
        self.requests.extend(requests)
        return [self.steered(request) for request in requests]

    def steered(self, request):
        text = self.text(request)
        start = time.monotonic()
        if f"{self.name}:down" in text:
            return Unavailable("the model is away", retry_delay_s=2.0)
        if f"{self.name}:crash" in text:
            raise RuntimeError("secret /etc/passwd 10.0.0.1:4711")
        if f"{self.name}:slow" in text:
            time.sleep(0.6)
        response = self.one(request)
        response.provenance.CopyFrom(provenance(self.name))
        self.spans.append((start, time.monotonic()))
        return response

    def text(self, request):
        return request.text
"""

_CLASSIFY = (
    _MISBEHAVE
    + """
from slmesh.api.classify.v1 import classify_pb2 as pb
from slmesh.api.types.v1.abstention_pb2 import Abstention

KNOWN = {
    "arrive": {"card_arrival": 0.96, "lost_or_stolen_card": 0.02, "change_pin": 0.01},
    "lost": {"lost_or_stolen_card": 0.93, "card_arrival": 0.04},
    "unsure": {"card_arrival": 0.41, "change_pin": 0.05},
    "both": {"card_arrival": 0.49, "lost_or_stolen_card": 0.48},
    "close": {"card_arrival": 0.7, "lost_or_stolen_card": 0.2},
    "pin": {"change_pin": 0.97, "card_arrival": 0.01},
    "wake": {"alarm": 0.98, "timer": 0.01},
    "hello": {"greeting": 0.99, "goodbye": 0.005},
}

class Service(Steered):
    def one(self, request):
        for word, labels in KNOWN.items():
            if word in request.text:
                found = [pb.Label(name=name, probability=p) for name, p in labels.items()]
                return pb.ClassifyResponse(labels=pb.Labels(labels=found))
        return pb.ClassifyResponse(abstention=Abstention(reason=1, confidence=0.2))
"""
)

_EXTRACT = (
    _MISBEHAVE
    + """
import re
from slmesh.api.extract.v1 import extract_pb2 as pb

class Service(Steered):
    def one(self, request):
        response = pb.ExtractResponse()
        for match in re.finditer(r"£(\\d+)|\\S+@\\S+", request.text):
            field = response.fields.add(text=match[0])
            field.span.start, field.span.end = match.span()
            if match[1]:
                field.name = "amount"
                field.value.money.currency_code = "GBP"
                field.value.money.minor_units = int(match[1]) * 100
            else:
                field.name = "email"
                field.value.email = match[0]
        return response
"""
)

_SCORE = (
    _MISBEHAVE
    + """
from slmesh.api.score.v1 import score_pb2 as pb

SCALES = {
    "urgency": ("low", "normal", "high", "critical"),
    "sentiment": ("negative", "neutral", "positive"),
}

class Service(Steered):
    def one(self, request):
        bad = "furious" in request.text
        response = pb.ScoreResponse()
        for scale, names in SCALES.items():
            top = {"urgency": len(names) - 1 if bad else 1, "sentiment": 0 if bad else 1}[scale]
            rest = 0.1 / (len(names) - 1)
            levels = [
                pb.Level(name=name, probability=0.9 if place == top else rest)
                for place, name in enumerate(names)
            ]
            response.scores.scores.add(scale=scale, value=top / (len(names) - 1), levels=levels)
        return response
"""
)

_RANK = (
    _MISBEHAVE
    + """
from slmesh.api.rank.v1 import rank_pb2 as pb
from slmesh.api.types.v1.abstention_pb2 import Abstention

PASSAGES = {
    "arrive": ("card-arrival-late", "A card takes five working days."),
    "pin": ("jam", "Boil the fruit."),
}

class Service(Steered):
    def text(self, request):
        return request.query

    def one(self, request):
        for word, (name, text) in PASSAGES.items():
            if word in request.query:
                found = [pb.RankedPassage(id=name, text=text, score=0.9, probability=0.9)]
                return pb.RankResponse(ranking=pb.Ranking(passages=found))
        return pb.RankResponse(abstention=Abstention(reason=2))
"""
)

_GUARD = (
    _MISBEHAVE
    + """
import re
from slmesh.api.guard.v1 import guard_pb2 as pb

class Service(Steered):
    def text(self, request):
        return request.segments[0].text

    def one(self, request):
        done, failed = pb.CHECK_STATE_COMPLETED, pb.CHECK_STATE_FAILED
        half = "guard:half" in self.text(request)
        response = pb.ScreenResponse(
            coverage=pb.COVERAGE_PARTIAL if half else pb.COVERAGE_COMPLETE,
            checks=[
                pb.Check(type=pb.CHECK_TYPE_PERSONAL_DATA, state=done),
                pb.Check(type=pb.CHECK_TYPE_INJECTION, state=failed if half else done),
            ],
        )
        tokens = {}
        for index, segment in enumerate(request.segments):
            self.screen(response, index, segment.text, tokens)
        return response

    def screen(self, response, index, text, tokens):
        place = text.find("ignore all rules")
        if place >= 0:
            found = response.findings.add(check=2, kind="injection", segment_index=index)
            found.probability = 0.97
            found.span.start, found.span.end = place, place + 16
        redacted = response.redacted_segments.add()
        last = 0
        for match in re.finditer(r"\\S+@\\S+", text):
            found = response.findings.add(check=1, kind="email", segment_index=index)
            found.span.start, found.span.end = match.span()
            token = tokens.setdefault(match[0], f"[EMAIL_{len(tokens) + 1}]")
            redacted.text += text[last:match.start()]
            held = redacted.placeholders.add(token=token, kind="email")
            held.original_span.start, held.original_span.end = match.span()
            held.redacted_span.start = len(redacted.text)
            redacted.text += token
            held.redacted_span.end = len(redacted.text)
            last = match.end()
        redacted.text += text[last:]
"""
)

_REASON = (
    _MISBEHAVE
    + """
import asyncio
from slmesh.api.reason.v1 import reason_pb2 as pb
from slmesh.mesh.errors import InvalidArgument, ResourceExhausted

class Service:
    def load(self, resources):
        self.requests = []
        self.running = 0
        self.cancelled = 0

    async def stream(self, request):
        self.requests.append(request)
        yield pb.ReasonResponse(started=pb.Started(provenance=provenance("reasoner")))
        if "reasoner:down" in request.text:
            raise Unavailable("the model is loading", retry_delay_s=3.0)
        if "reasoner:full" in request.text:
            raise ResourceExhausted("no room", retry_delay_s=4.0)
        if "reasoner:long" in request.text:
            raise InvalidArgument("the prompt is too long", reason="PROMPT_TOO_LONG", field="text")
        if "reasoner:crash" in request.text:
            raise RuntimeError("secret /etc/passwd 10.0.0.1:4711")
        if "reasoner:cut" in request.text:
            return
        self.running += 1
        try:
            for word in ("You wrote: " + request.text).split(" "):
                if "reasoner:hang" in request.text:
                    await asyncio.sleep(60)
                yield pb.ReasonResponse(text_delta=word + " ")
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        reason = 2 if "reasoner:limit" in request.text else 1
        usage = pb.Usage(prompt_tokens=120, output_tokens=30)
        yield pb.ReasonResponse(
            completion=pb.Completion(
                finish_reason=reason, usage=usage, provenance=provenance("reasoner")
            )
        )
"""
)

SERVICES = {
    "intent": ("classify", _CLASSIFY),
    "assistant": ("classify", _CLASSIFY),
    "entities": ("extract", _EXTRACT),
    "triage": ("score", _SCORE),
    "passages": ("rank", _RANK),
    "guard": ("guard", _GUARD),
    "reasoner": ("reason", _REASON),
}

DESK = """\
name: desk
description: A flow of a test.
owner: tests
data_classes: [personal]
latency_budget_ms: 60000
response_cache: {cache}
steps:
  - {{name: guard, service: guard, timeout_ms: {guard_ms}, on_failure: {guard}}}
  - {{name: intent, service: intent, after: [guard], timeout_ms: {intent_ms}, on_failure: {intent}}}
  - name: entities
    service: entities
    after: [guard]
    timeout_ms: {entities_ms}
    on_failure: skip
    input: {{text: user_text}}
  - name: triage
    service: triage
    after: [guard]
    timeout_ms: {triage_ms}
    on_failure: {triage}
    input: {{text: redacted_text}}
refuse_when:
  - {{reason: INJECTION_FOUND, when: [{{step: guard, finding: injection}}]}}
escalate_when:
  - {{reason: INTENT_ABSTAINED, when: [{{step: intent, abstained: true}}]}}
  - {{reason: INTENT_UNCERTAIN, when: [{{step: intent, probability_below: 0.6}}]}}
answer:
  - template:
      by: intent
      texts:
        card_arrival: ["Your {{entities.amount}} card is on its way.", "It is on its way."]
        lost_or_stolen_card: Freeze it, {{entities.email}}.
reasoner: {{service: reasoner, instruction: Be brief., on_failure: {reasoner},
  timeout_ms: {reasoner_ms}}}
refusal: No.
fallback: Later.
"""
"""A flow with what fails as a test wants it to."""


def write_services(folder: Path) -> None:
    """Write all services into a folder of a service path."""
    for name, (contract, code) in SERVICES.items():
        write_service(folder, name, code, "Service", contract=contract)


def write_desk(folder: Path, hurried: Collection[str] = (), **on_failure: str) -> None:
    """Write the flow ``desk`` into a folder of a flow path."""
    folder.mkdir(exist_ok=True)
    (folder / "desk.yaml").write_text(desk(hurried, **on_failure), encoding="utf-8")


def desk(hurried: Collection[str] = (), **on_failure: str) -> str:
    """Return the flow ``desk``.

    Its steps have more time than a busy machine takes, but for those that are hurried: they have less
    than a slow service takes. A text that is asked twice is decided twice, unless asked for.
    """
    chosen = {"guard": "degrade", "intent": "escalate", "triage": "skip", "reasoner": "fallback"}
    times = {f"{name}_ms": 400 if name in hurried else 50_000 for name in SERVICES}
    return DESK.format(**(chosen | {"cache": "none"} | on_failure | times))
