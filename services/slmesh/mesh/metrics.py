"""The metrics of one process, in Prometheus' format, and the port they are read from.

One registry per process object, never the global one: tests and the in-process mode run several
services side by side. Names are listed here once; ``infra`` has the alerts over them.
"""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

__all__ = ["Metrics", "MetricsServer"]

_SECONDS = (
    0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
    2.5, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """Every metric of the mesh.

    Args:
        registry: Where they are registered; a new one when None.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self.requests = Counter(
            "slmesh_requests",
            "Finished RPCs by canonical code.",
            ("service", "method", "code"),
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "slmesh_request_seconds",
            "Time in the boundary of one RPC.",
            ("service", "method"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.batch_items = Histogram(
            "slmesh_batch_items",
            "Items of one computed batch.",
            ("service",),
            buckets=_SIZES,
            registry=self.registry,
        )
        self.in_flight = self._by_service("slmesh_in_flight", "RPCs being worked on.")
        self.queue_items = self._by_service("slmesh_queue_items", "Items waiting.")
        self.queue_limit = self._by_service("slmesh_queue_limit", "Items that may wait.")
        self.ready = self._by_service("slmesh_ready", "1 when the service is ready.")
        self.drift_score = self._by_service(
            "slmesh_drift_score",
            "How far the last texts and answers are from the bundle's validation, 0 to 1.",
        )
        self.info = Gauge(
            "slmesh_service_info",
            "1; the labels say what is served.",
            ("service", "contract", "model", "version", "digest"),
            registry=self.registry,
        )
        self.policy_reloads = Counter(
            "slmesh_policy_reloads",
            "Changes of the policy's files, by what became of them: taken or refused.",
            ("outcome",),
            registry=self.registry,
        )
        self.policy_stale = Gauge(
            "slmesh_policy_stale",
            "1 while an older policy is in force because the files of the policy are wrong.",
            registry=self.registry,
        )
        self._add_router()
        self._add_response_cache()
        self._add_ledger()

    def _add_router(self) -> None:
        self.decisions = Counter(
            "slmesh_decisions",
            "Decisions of the router.",
            ("flow", "path", "degraded"),
            registry=self.registry,
        )
        self.conditions_not_evaluated = Counter(
            "slmesh_conditions_not_evaluated",
            "Conditions of rules and steps that failed, as for an index out of range, by the step.",
            ("flow", "step"),
            registry=self.registry,
        )
        self.flow_reloads = Counter(
            "slmesh_flow_reloads",
            "Flows whose file has changed, by what became of it: served or refused.",
            ("flow", "outcome"),
            registry=self.registry,
        )
        self.flow_stale = Gauge(
            "slmesh_flow_stale",
            "1 while a flow is served in an older version because its file is wrong.",
            ("flow",),
            registry=self.registry,
        )
        self.breaker_open = self._by_service(
            "slmesh_breaker_open",
            "1 while the router does not call a service because it failed too often.",
        )
        self.hedges = Counter(
            "slmesh_hedges",
            "Late calls of steps by what became of them: first_won, second_won, both_failed, or"
            " refused when no second call was allowed.",
            ("service", "outcome"),
            registry=self.registry,
        )
        self.reasoner_tokens = Counter(
            "slmesh_reasoner_tokens",
            "Tokens of the reasoner that decisions took.",
            ("flow", "kind"),
            registry=self.registry,
        )
        self.cost_usd_micros = Counter(
            "slmesh_cost_usd_micros",
            "Price of decisions, and what the reasoner alone would have cost, in millionths of a"
            " US dollar.",
            ("flow", "kind"),
            registry=self.registry,
        )

    def _add_response_cache(self) -> None:
        self.response_cache = Counter(
            "slmesh_response_cache",
            "Requests looked up among the answers that may be given again, by outcome: hit or miss.",
            ("flow", "outcome"),
            registry=self.registry,
        )
        self.response_cache_entries = Gauge(
            "slmesh_response_cache_entries",
            "Answers that may be given again.",
            registry=self.registry,
        )
        self.response_cache_bytes = Gauge(
            "slmesh_response_cache_bytes",
            "Bytes of the answers that may be given again.",
            registry=self.registry,
        )

    def _add_ledger(self) -> None:
        self.ledger_records = Counter(
            "slmesh_ledger_records",
            "Records by what became of them: spooled, shipped, unrecorded (could not be spooled),"
            " set_aside (refused by the database), expired.",
            ("state",),
            registry=self.registry,
        )
        self.ledger_append_seconds = Histogram(
            "slmesh_ledger_append_seconds",
            "Time a request waits for its record to be in the spool.",
            buckets=(0.00005, 0.0001, 0.0002, 0.0003, 0.0005, *_SECONDS[1:]),
            registry=self.registry,
        )
        self.ledger_sync_seconds = Histogram(
            "slmesh_ledger_sync_seconds",
            "Time of one sync of the spool to the disk.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.ledger_sync_failures = Counter(
            "slmesh_ledger_sync_failures",
            "Syncs of the spool that failed.",
            registry=self.registry,
        )
        self.ledger_spool_bytes = Gauge(
            "slmesh_ledger_spool_bytes", "Bytes that wait for the database.", registry=self.registry
        )
        self.ledger_spool_limit_bytes = Gauge(
            "slmesh_ledger_spool_limit_bytes", "Bytes that may wait.", registry=self.registry
        )
        self.ledger_database_up = Gauge(
            "slmesh_ledger_database_up",
            "1 while the database takes records.",
            registry=self.registry,
        )

    def _by_service(self, name: str, what: str) -> Gauge:
        return Gauge(name, what, ("service",), registry=self.registry)


@dataclass(frozen=True)
class MetricsServer:
    """A running metrics port."""

    port: int
    _server: object
    _thread: object

    @classmethod
    def start(cls, metrics: Metrics, host: str, port: int = 0) -> MetricsServer:
        """Serve ``/metrics`` from a daemon thread; port 0 picks a free one."""
        server, thread = start_http_server(port, addr=host, registry=metrics.registry)
        return cls(server.server_port, server, thread)

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()  # type: ignore[attr-defined]
        self._server.server_close()  # type: ignore[attr-defined]
        self._thread.join()  # type: ignore[attr-defined]
