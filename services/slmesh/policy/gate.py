"""The gate of a process: every call is judged before it leaves, and again where it arrives.

A call that belongs to a flow carries a seal, which proves the flow, the classes of its data and
whether the text is redacted. A call without one is judged as the principal ``direct`` with data of
the class ``confidential``; what such a caller declares beyond that makes its data more, never less.
What a policy says is never told to a caller, only that it says no.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from slmesh.mesh.context import RequestContext
from slmesh.mesh.errors import PermissionDenied
from slmesh.mesh.gate import Admit
from slmesh.mesh.manifest import Manifest
from slmesh.mesh.metrics import Metrics
from slmesh.mesh.settings import Settings
from slmesh.policy.judge import Judge, denied
from slmesh.policy.key_ring import KeyRing
from slmesh.policy.policy_book import load_policies
from slmesh.policy.policy_watch import PolicyWatch
from slmesh.policy.question import DIRECT_CLASS, Question, sorted_classes
from slmesh.policy.seal import Facts, Sealer
from slmesh.policy.targets import targets_of

__all__ = ["PolicyGate", "open_gate"]

_SLACK_S = 30.0
"""How much longer than its call a seal holds: clocks of machines differ."""
_UNBOUNDED_S = 60.0
"""How long the seal of a call without a deadline holds, before the slack."""


class PolicyGate:
    """Decides about calls; see :class:`slmesh.mesh.gate.Gate`.

    A seal counts whatever revision of the policy its sender has asked: it proves facts, and what they
    allow is decided here, by the policy that is in force here. It ends soon after its call.

    Attributes:
        judge: What the policy says that is in force now.

    Args:
        judge: What the policy says.
        sealer: Seals contexts, and opens seals.
        now_s: Seconds since the epoch.
        settings: Where policy and keys are, for a gate that follows their files.
    """

    def __init__(
        self,
        judge: Judge,
        sealer: Sealer | KeyRing,
        *,
        now_s: Callable[[], float] = time.time,
        settings: Settings | None = None,
    ) -> None:
        self.judge = judge
        self._sealer = sealer
        self._now_s = now_s
        self._settings = settings
        self._watch: PolicyWatch | None = None

    async def start(
        self, metrics: Metrics, on_health: Callable[[bool], None] = lambda healthy: None
    ) -> None:
        """See :class:`slmesh.mesh.gate.Gate`."""
        if self._settings is not None and self._watch is None:
            self._watch = PolicyWatch(self, self._settings, metrics, on_health=on_health)
            await self._watch.start()

    async def close(self) -> None:
        """See :class:`slmesh.mesh.gate.Gate`."""
        watch, self._watch = self._watch, None
        if watch is not None:
            await watch.close()

    def look_at_keys(self) -> None:
        """Take a key that has changed."""
        if isinstance(self._sealer, KeyRing):
            self._sealer.look()

    def arrival(self, service: str) -> Admit:
        """See :class:`slmesh.mesh.gate.Gate`."""

        def admit(context: RequestContext) -> RequestContext:
            proven = self._proven(context, service)
            self._known_tenant(proven.tenant)
            self._must_allow(proven, service)
            return proven

        return admit

    def served(self, context: RequestContext) -> RequestContext:
        """See :class:`slmesh.mesh.gate.Gate`."""
        self._known_tenant(context.tenant)
        return context

    def depart(self, context: RequestContext) -> RequestContext:
        """See :class:`slmesh.mesh.gate.Gate`.

        A service that is not known here is for its own gate to decide about.
        """
        service = context.service
        if context.policy_context:  # a call that is passed on as it came
            if service in self.judge.targets:
                self._must_allow(self._proven(context, service), service)
            return context
        if service in self.judge.targets:
            self._must_allow(context, service)
        if not context.flow:
            return context
        remaining_s = context.remaining_s()
        lasts_s = (_UNBOUNDED_S if remaining_s is None else remaining_s) + _SLACK_S
        facts = Facts(
            context.decision_id,
            context.tenant,
            context.flow,
            sorted_classes(context.data_classes),
            context.redacted,
            self.judge.revision,
            service,
            int(self._now_s() + lasts_s) + 1,
        )
        return _made(context, facts, self._sealer.seal(facts))

    def _proven(self, context: RequestContext, service: str) -> RequestContext:
        if not context.policy_context:
            return replace(context, flow="", redacted=False)
        facts = self._sealer.open(context.policy_context, service, self._now_s())
        return _made(context, facts, "")

    def _known_tenant(self, tenant: str) -> None:
        tenants = self.judge.book.tenants
        if tenants is not None and tenant not in tenants:
            raise PermissionDenied("the tenant is not known here", reason="UNKNOWN_TENANT")

    def _must_allow(self, context: RequestContext, service: str) -> None:
        classes = context.data_classes
        if not context.flow:
            classes = (*classes, DIRECT_CLASS)
        question = Question(
            context.flow, context.tenant, sorted_classes(classes), service, context.redacted
        )
        if not self.judge.ruling(question).allowed:
            raise denied(service)


def _made(context: RequestContext, facts: Facts, seal: str) -> RequestContext:
    """Return a context with proven facts; `replace` would take a tenth of a hop's allowance."""
    return RequestContext(
        service=context.service,
        tenant=facts.tenant,
        decision_id=facts.decision_id,
        deadline=context.deadline,
        data_classes=facts.classes,
        traceparent=context.traceparent,
        flow=facts.flow,
        redacted=facts.redacted,
        policy_context=seal,
    )


def open_gate(
    settings: Settings, services: Mapping[str, Manifest], *, in_process: bool = False
) -> PolicyGate:
    """Return the gate of a process.

    Args:
        settings: The settings; they say where policies and the key are.
        services: The services of the mesh.
        in_process: Whether services run in this process.

    Raises:
        FailedPrecondition: A policy or the key cannot be used.
    """
    judge = Judge(load_policies(settings), targets_of(services, settings, in_process=in_process))
    if in_process:
        # seals of one process need no key that outlives it
        return PolicyGate(judge, Sealer(secrets.token_bytes(32)))
    return PolicyGate(judge, KeyRing(settings), settings=settings)
