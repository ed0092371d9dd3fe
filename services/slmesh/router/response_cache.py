"""Gives an exact repeat of a request the answer of an earlier decision, while nothing has changed.

A bounded memory of one process. What makes two requests the same is in :class:`RequestKey`; an entry
also stands on the models that answered, and is of no use once one of them is another. It compares
nothing by meaning, waits for nothing that is under way (``coalescing`` does, by request id), and knows
no ledger.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from slmesh.api.route.v1 import route_pb2
from slmesh.mesh.errors import FailedPrecondition
from slmesh.mesh.metrics import Metrics
from slmesh.mesh.settings import Settings
from slmesh.router.flow import REASONER_STEP, Flow
from slmesh.router.request_run import Clock
from slmesh.router.signals import provenance_of

__all__ = ["CacheLimits", "ModelsSeen", "RequestKey", "ResponseCache"]

_ENTRY_BYTES = 1024
"""What an entry takes beside its decision: key, models and book-keeping, measured to the high side."""

_MOST_SUBJECTS = 256
"""Callers' names of persons that an entry holds; one that would hold more is decided anew."""

_TIMED = frozenset({"date", "time", "date_time", "interval"})
"""Values that an extractor counts from the time of the request."""

_STORED: Mapping[str, frozenset[route_pb2.Path]] = {
    "none": frozenset(),
    "escalated": frozenset({route_pb2.PATH_ESCALATED}),
    "all": frozenset({route_pb2.PATH_ESCALATED, route_pb2.PATH_SMALL}),
}
"""The paths whose answers are kept, by ``Flow.response_cache``."""


@dataclass(frozen=True)
class CacheLimits:
    """How much is kept; nothing at all where a limit is 0.

    Attributes:
        entries: Answers.
        size_bytes: Their bytes together.
        age_s: How long each is used, in seconds.
    """

    entries: int
    size_bytes: int
    age_s: float

    @classmethod
    def of(cls, settings: Settings) -> CacheLimits:
        """Return the limits that the settings state.

        Raises:
            FailedPrecondition: One is below 0.
        """
        for name in ("entries", "mib", "age_s"):
            value = getattr(settings, f"response_cache_{name}")
            if value < 0:
                raise FailedPrecondition(
                    f"setting SLMESH_RESPONSE_CACHE_{name.upper()} must be 0 or more, is {value};"
                    " 0 keeps no answers",
                    reason="INVALID_SETTING",
                )
        return cls(
            settings.response_cache_entries,
            settings.response_cache_mib << 20,
            settings.response_cache_age_s,
        )


@dataclass(frozen=True)
class RequestKey:
    """What makes two requests the same.

    Attributes:
        tenant: For whom; two tenants never share an answer.
        flow: The name of the flow.
        flow_revision: The digest of its declaration.
        policy_revision: The digest of the policy.
        request: The digest of the request without its id: text, documents, locale and all else.
    """

    tenant: str
    flow: str
    flow_revision: str
    policy_revision: str
    request: str


class ModelsSeen:
    """Which model of each service answered last, and which one its health check names.

    A service that runs two versions side by side changes all the time, so its answers are not
    repeated.
    """

    def __init__(self) -> None:
        self._answered: dict[str, str] = {}
        self._serving: dict[str, str] = {}

    def serving(self, service: str, model: str) -> None:
        """Note what a service's health check names."""
        self._serving[service] = model

    def answered(self, models: Mapping[str, str]) -> None:
        """Note which models have answered, by service."""
        self._answered.update(models)

    def serve_now(self, flow: Flow) -> Mapping[str, str]:
        """Return what the services of a flow serve, as far as their health checks name it."""
        services = {step.service for step in flow.steps}
        if flow.reasoner is not None:
            services.add(flow.reasoner.service)
        return {name: self._serving.get(name, "") for name in services}

    def answer_as(self, models: Mapping[str, str]) -> bool:
        """Return whether these models are still the ones that answer."""
        return all(self._answered.get(service) == model for service, model in models.items())


@dataclass(frozen=True, slots=True)
class _Entry:
    kept_s: float
    subjects: set[str]
    serving: Mapping[str, str]
    models: Mapping[str, str]
    explanation: bytes

    @property
    def size_bytes(self) -> int:
        return len(self.explanation) + _ENTRY_BYTES


class ResponseCache:
    """Keeps answers that are whole.

    Args:
        limits: How much.
        models: Which models answer now.
        clock: Where time comes from.
        metrics: Where hits, misses and sizes are counted.
    """

    def __init__(
        self,
        limits: CacheLimits,
        models: ModelsSeen,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._limits = limits
        self._models = models
        self._clock = clock
        self._metrics = metrics
        self._entries: OrderedDict[RequestKey, _Entry] = OrderedDict()
        self._size_bytes = 0

    def keeps(self, flow: Flow) -> bool:
        """Return whether answers of a flow are kept."""
        limits = self._limits
        return flow.response_cache != "none" and bool(
            limits.entries and limits.size_bytes and limits.age_s
        )

    def serving(self, flow: Flow) -> Mapping[str, str]:
        """Return what the services of a flow serve now, see :meth:`take_in`."""
        return self._models.serve_now(flow)

    def answer(
        self, key: RequestKey, flow: Flow, subject: str, *, decision_id: str, request_id: str
    ) -> route_pb2.ExplainResponse | None:
        """Return a new decision with the answer the same request got before, or None.

        Args:
            key: What is asked.
            flow: The flow.
            subject: Whom the text is about now; the answer goes with this one's deletion too.
            decision_id: The new decision's id.
            request_id: The id of the request.
        """
        received_ns, started_s = self._clock.now_ns(), self._clock.monotonic_s()
        if (earlier := self._find(key, flow, subject)) is None:
            return None
        decision = _answered_from(earlier.decision, decision_id, request_id)
        decision.create_time.FromNanoseconds(received_ns)
        decision.latency.FromNanoseconds(round((self._clock.monotonic_s() - started_s) * 1e9))
        return route_pb2.ExplainResponse(decision=decision, conditions=earlier.conditions)

    def _find(self, key: RequestKey, flow: Flow, subject: str) -> route_pb2.ExplainResponse | None:
        self._expire()
        entry = self._entries.get(key)
        if entry is not None and not self._stands(entry, flow):
            self._drop(key)
            entry = None
        outcome = "miss" if entry is None else "hit"
        self._metrics.response_cache.labels(flow.name, outcome).inc()
        if entry is None:
            return None
        entry.subjects.add(subject)
        return route_pb2.ExplainResponse.FromString(entry.explanation)

    def take_in(
        self,
        key: RequestKey,
        flow: Flow,
        request: route_pb2.RouteRequest,
        explanation: route_pb2.ExplainResponse,
        serving: Mapping[str, str],
        subject: str,
    ) -> None:
        """Note who answered in a decision that was recorded, and keep it where it may be repeated.

        Args:
            key: What was asked.
            flow: The flow.
            request: The request.
            explanation: The decision; one that is degraded or refused is not kept.
            serving: What the flow's services served before it ran, see :meth:`serving`.
            subject: Whom the text is about, as the caller names it; empty when it did not.
        """
        decision = explanation.decision
        models = dict(_models(decision))
        self._models.answered(models)
        if not self.keeps(flow) or not _repeatable(flow, request, decision):
            return
        kept = explanation.SerializeToString()
        entry = _Entry(self._clock.monotonic_s(), {subject}, serving, models, kept)
        if entry.size_bytes > self._limits.size_bytes:
            return
        self._drop(key)
        self._entries[key] = entry
        self._size_bytes += entry.size_bytes
        self._expire()

    def forget_subjects(self, wanted: Callable[[str, str], bool]) -> None:
        """Forget the answers about some subjects.

        Args:
            wanted: Is given tenant and subject of an answer.
        """
        for key, entry in list(self._entries.items()):
            if any(wanted(key.tenant, subject) for subject in entry.subjects if subject):
                self._drop(key)

    def _stands(self, entry: _Entry, flow: Flow) -> bool:
        return (
            len(entry.subjects) < _MOST_SUBJECTS
            and entry.serving == self._models.serve_now(flow)
            and self._models.answer_as(entry.models)
        )

    def _expire(self) -> None:
        """Drop what is too old or too much; entries lie in the order in which they were kept."""
        oldest_s = self._clock.monotonic_s() - self._limits.age_s
        while self._entries:
            key, entry = next(iter(self._entries.items()))
            full = len(self._entries) > self._limits.entries
            full = full or self._size_bytes > self._limits.size_bytes
            if not full and entry.kept_s > oldest_s:
                break
            self._drop(key)
        self._metrics.response_cache_entries.set(len(self._entries))
        self._metrics.response_cache_bytes.set(self._size_bytes)

    def _drop(self, key: RequestKey) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._size_bytes -= entry.size_bytes


def _answered_from(
    earlier: route_pb2.Decision, decision_id: str, request_id: str
) -> route_pb2.Decision:
    """Return a new decision with the answer of an earlier one: nothing was called, sent or spent."""
    decision = route_pb2.Decision(
        decision_id=decision_id,
        request_id=request_id,
        flow=earlier.flow,
        flow_revision=earlier.flow_revision,
        path=earlier.path,
        reasons=earlier.reasons,
        answer=earlier.answer,
        cost=route_pb2.Cost(),
        all_llm_cost=earlier.all_llm_cost,
        receipt=route_pb2.Receipt(policy_revision=earlier.receipt.policy_revision),
        cached_decision_id=earlier.decision_id,
    )
    for step in earlier.steps:
        copied = decision.steps.add(name=step.name, service=step.service, state=step.state)
        if step.state == route_pb2.STEP_STATE_SUCCEEDED:
            copied.state = route_pb2.STEP_STATE_CACHED
        if step.HasField("signal"):
            copied.signal.CopyFrom(step.signal)
        if step.HasField("run_if"):
            copied.run_if = step.run_if
    return decision


def _repeatable(flow: Flow, request: route_pb2.RouteRequest, decision: route_pb2.Decision) -> bool:
    if request.decide_anew or decision.degradations:
        return False
    if decision.path not in _STORED[flow.response_cache]:
        return False
    if request.HasField("reference_time"):
        return True
    if any("reference_time" in expression for expression in flow.expressions()):
        return False
    # "tomorrow" is another day tomorrow
    return not any(
        field.value.WhichOneof("kind") in _TIMED
        for step in decision.steps
        for field in step.signal.extraction.fields
    )


def _models(decision: route_pb2.Decision) -> Iterator[tuple[str, str]]:
    """Yield the services that answered in a decision, each with its model.

    The tier is left out: two answers of one model may differ in it.
    """
    for step in decision.steps:
        if step.state != route_pb2.STEP_STATE_SUCCEEDED:
            continue
        said = (
            decision.answer.provenance if step.name == REASONER_STEP else provenance_of(step.signal)
        )
        yield (
            step.service,
            " ".join((said.model, said.version, said.digest, said.label_set_revision)),
        )
