"""Asks the policy before each hop of a request, and keeps the receipt.

Where the text may not go as it is and may go redacted, the hop is made with the redacted text. What
nobody has screened leaves the mesh under no policy. Pure; calling is for others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from google.protobuf.message import Message

from slmesh.api.guard.v1 import guard_pb2
from slmesh.api.route.v1 import route_pb2
from slmesh.api.types.v1 import provenance_pb2
from slmesh.mesh.context import RequestContext
from slmesh.mesh.errors import PermissionDenied
from slmesh.policy.findings import classes_found
from slmesh.policy.judge import Judge, denied
from slmesh.policy.question import Question, Ruling, sorted_classes

__all__ = ["UNSCREENED", "Hops"]

UNSCREENED = "GUARD_UNAVAILABLE"
"""Reason and degradation of a hop that needs a guard's answer and has none."""

_TEXTS = frozenset({"text", "query", "segments", "signals", "schema_problem"})
"""Fields of requests that carry what the user wrote, and what was made of it."""


@dataclass(frozen=True)
class _Asked:
    step: str
    service: str
    redacted: bool
    ruling: Ruling


class Hops:
    """The hops of one request.

    Attributes:
        classes: The classes of the request's data, as far as they are known now; sorted.

    Args:
        judge: What the policy says.
        flow: The name of the flow.
        tenant: Who is served.
        declared: The classes of data the flow declares.
        guarded: Whether the flow has a guard, so that nothing leaves the mesh before it has answered.
    """

    def __init__(
        self, judge: Judge, *, flow: str, tenant: str, declared: tuple[str, ...], guarded: bool
    ) -> None:
        self._judge = judge
        self._flow = flow
        self._tenant = tenant
        self._declared = frozenset(declared)
        self.classes = sorted_classes(declared)
        self._guarded = guarded
        self._screened = False
        self._hops: dict[str, route_pb2.Hop] = {}
        self.redacted: set[str] = set()

    def screened(self, response: guard_pb2.ScreenResponse, *, complete: bool) -> None:
        """Take a guard's answer in."""
        self.classes = sorted_classes(classes_found(response).union(self.classes))
        self._screened = self._screened or complete

    def must_pass(
        self, step: str, service: str, *, redacted: bool, redactable: bool, is_guard: bool = False
    ) -> bool:
        """Ask about a hop; returns whether its text must be the redacted one.

        Args:
            step: The step that calls.
            service: What it calls.
            redacted: Whether it sees redacted text in any case.
            redactable: Whether there is redacted text.
            is_guard: Whether it is the step that screens, which sees the text as it is.

        Raises:
            PermissionDenied: Neither form of the text may go.
        """
        outside = not self._judge.targets[service].inside
        asked = self._ask(step, service, redacted)
        if self._guarded and not self._screened and outside and not is_guard:
            self._note(asked, route_pb2.HOP_STATE_UNSCREENED)
            raise PermissionDenied(
                f"the text was not screened, and service '{service}' is outside of the mesh",
                reason=UNSCREENED,
                metadata={"service": service},
            )
        if not asked.ruling.allowed and redactable and not redacted and not is_guard:
            other = self._ask(step, service, True)
            asked = other if other.ruling.allowed else asked
        allowed = asked.ruling.allowed
        self._note(asked, route_pb2.HOP_STATE_ALLOWED if allowed else route_pb2.HOP_STATE_REFUSED)
        if not allowed:
            raise denied(service)
        if asked.redacted:
            self.redacted.add(step)
        return asked.redacted

    def withheld(self, step: str, service: str) -> bool:
        """Note a hop that is not made because nobody has screened the text.

        Returns:
            Whether it would have left the mesh; only then is there anything to note.
        """
        if self._screened or not self._guarded or self._judge.targets[service].inside:
            return False
        self._note(self._ask(step, service, True), route_pb2.HOP_STATE_UNSCREENED)
        return True

    def context(self, step: str, context: RequestContext) -> RequestContext:
        """Return the context of a hop that may be made, as a gate is to judge and seal it."""
        hop = self._hops[step]
        return replace(
            context,
            service=hop.service,
            subject="",
            flow=self._flow,
            data_classes=self.classes,
            redacted=hop.redacted,
        )

    def sent(self, step: str, request: Message, own: frozenset[str] = frozenset()) -> None:
        """Note what is sent.

        Args:
            step: The step that calls.
            request: The request of its service.
            own: Fields whose values the flow itself declares: they hold no data of the request.
        """
        self._hops[step].attempts += 1
        fields = [field.name for field, _ in request.ListFields() if field.name not in own]
        texts = [name for name in fields if name in _TEXTS]
        for ruling in self._hops[step].rulings:
            # what a guard has found stands in the texts only
            carried = fields if ruling.data_class in self._declared else texts
            ruling.fields.extend(name for name in carried if name not in ruling.fields)

    def answered(self, step: str, provenance: provenance_pb2.Provenance) -> None:
        """Note which model has answered."""
        hop = self._hops[step]
        hop.model = provenance.model or hop.model
        hop.version = provenance.version

    def refused(self, step: str) -> None:
        """Note that the policy of the service that was called has refused the hop."""
        hop = self._hops.get(step)
        if hop is not None and hop.state == route_pb2.HOP_STATE_ALLOWED:
            hop.state = route_pb2.HOP_STATE_REFUSED_BY_SERVICE

    def receipt(self) -> route_pb2.Receipt:
        """Return the record of all hops."""
        return route_pb2.Receipt(policy_revision=self._judge.revision, hops=self._hops.values())

    def _ask(self, step: str, service: str, redacted: bool) -> _Asked:
        question = Question(self._flow, self._tenant, self.classes, service, redacted)
        return _Asked(step, service, redacted, self._judge.ruling(question))

    def _note(self, asked: _Asked, state: route_pb2.HopState) -> None:
        target = self._judge.targets[asked.service]
        self._hops[asked.step] = route_pb2.Hop(
            step=asked.step,
            service=asked.service,
            model=target.model,
            zone=target.zone,
            region=target.region,
            purpose=target.purpose,
            redacted=asked.redacted,
            state=state,
            rulings=[
                route_pb2.ClassRuling(data_class=one.data_class, allowed=one.allowed, rule=one.rule)
                for one in asked.ruling.by_class
            ],
        )
