"""Binds a service to Ray Serve: what a replica is, and which RPCs Serve's gRPC servers know.

Serve looks an RPC up by its bare name, parses the request before user code and sends the text of an
exception to the caller. So here requests stay bytes for the boundary to parse, every replica has a
method for every RPC of every contract, and errors are set on the context and never raised. This
module knows one replica; what a mesh is made of is in ``slmesh.platform``.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

from slmesh.mesh.boundary import Instruments
from slmesh.mesh.catalog import discover, find_manifest
from slmesh.mesh.context import APPLICATION_KEY
from slmesh.mesh.contract import Rpc, rpcs
from slmesh.mesh.errors import MeshError, NotFound, Unavailable
from slmesh.mesh.gate import Gate
from slmesh.mesh.host import ServiceHost
from slmesh.mesh.logs import configure
from slmesh.mesh.manifest import Manifest
from slmesh.mesh.memory_limit import MEMORY_LIMIT, LimitMemory
from slmesh.mesh.metrics import Metrics, MetricsServer
from slmesh.mesh.replica_record import (
    ReplicaRecord,
    forget_failure,
    has_run_before,
    record_failure,
    remember_run,
)
from slmesh.mesh.settings import Settings, load_settings
from slmesh.mesh.tracing import open_tracing
from slmesh.mesh.wire import MODEL_KEY, grpc_code, trailing_metadata

__all__ = ["Replica", "add_contracts_to_server", "service_rpcs"]

_HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
FIRST_RETRY_S = 5.0
"""The pause before a service that has run before is loaded again; it doubles up to a minute."""
_LONGEST_RETRY_S = 60.0

OpenGate = Callable[[Settings, Mapping[str, Manifest]], Gate]
"""Makes the gate of a process; Serve sends it to a replica by its name."""


def service_rpcs() -> tuple[Rpc, ...]:
    """Return the RPCs of services: all contracts but the router's own."""
    return tuple(rpc for rpc in rpcs().values() if rpc.contract != "route")


def add_contracts_to_server(servicer: Any, server: Any) -> None:
    """Register every contract and the health check with one of Serve's gRPC servers.

    This is the one function of ``grpc_servicer_functions``, a list that Serve freezes when it first
    starts: a new service of a known contract needs no new cluster. Handlers get no deserialiser, so
    that malformed bytes reach the boundary and are answered by it.

    Args:
        servicer: What Serve passes; Serve puts its own behaviour in place of its methods.
        server: Serve's gRPC server.
    """
    services: dict[str, dict[str, Any]] = {_HEALTH: {}}
    services[_HEALTH]["Check"] = grpc.unary_unary_rpc_method_handler(servicer.Check)
    for rpc in service_rpcs():
        make = (
            grpc.unary_stream_rpc_method_handler
            if rpc.streaming
            else grpc.unary_unary_rpc_method_handler
        )
        services.setdefault(rpc.service, {})[rpc.name] = make(getattr(servicer, rpc.name))
    for name, handlers in services.items():
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))


class _Nothing:
    """The body of an answer that is an error: Serve asks every result to serialise itself."""

    def SerializeToString(self) -> bytes:  # noqa: N802 -- protobuf's name
        return b""


_NOTHING = _Nothing()


class Replica:
    """One process of one service. Serve makes it, asks it and lets it go.

    Its methods are the RPCs of every contract, added below the class, ``Check`` of the health
    service, and what Serve calls by name.
    """

    _gate: Gate | None = None

    async def __init__(  # type: ignore[misc]
        self,
        service: str,
        open_gate: OpenGate | None = None,
        limit_memory: LimitMemory | None = None,
    ) -> None:
        """Load the service; Serve awaits this before it sends a request.

        Args:
            service: The service's name; its settings are those of the process's environment.
            open_gate: Makes what decides about calls; None allows all.
            limit_memory: Keeps this process to the manifest's memory; None where the process is
                not the replica's own.

        Raises:
            RuntimeError: The service cannot be loaded and never could with what it is made of. A
                service that has run before is not given up: its replica stays, answers with the
                reason and tries again, because Serve restarts such a replica without end or pause.
        """
        settings = load_settings()
        manifest = find_manifest(service, settings)
        self._record = ReplicaRecord.of_this_process(settings.state_dir, manifest)
        configure(settings.log_level, self._record.log_path)
        self._problem: MeshError | None = None
        if limit_memory is not None:
            self._limit(limit_memory, manifest)
        metrics = Metrics()
        self._metrics_server = MetricsServer.start(metrics, settings.metrics_host)
        self._tracing = open_tracing(settings.trace_exporter, service)
        instruments = Instruments(metrics, self._tracing) if settings.boundary_instruments else None
        self._record.metrics_address = f"{settings.metrics_host}:{self._metrics_server.port}"

        def host(gate: Gate | None) -> ServiceHost:
            return ServiceHost(manifest, settings, metrics, instruments, gate)

        async def start() -> None:
            # a policy that cannot be read is a reason not to serve, like a model that is not there
            gate = None if open_gate is None else open_gate(settings, discover(settings))
            self._host = host(gate)
            await self._host.start()
            if gate is not None:
                await gate.start(metrics)
                self._gate = gate

        self._start = start
        self._host = host(None)  # asked for its name only, until it is replaced
        self._retry: asyncio.Task[None] | None = None
        try:
            await self._start()
        except Exception as error:
            problem = record_failure(self._record, error)
            if not has_run_before(self._record):
                self._metrics_server.close()
                raise RuntimeError(problem.message) from None
            self._problem = problem
            self._retry = asyncio.get_running_loop().create_task(self._load_again())
        else:
            self._loaded()
        self._open = True

    def _limit(self, limit_memory: LimitMemory, manifest: Manifest) -> None:
        loop, limit_mib = asyncio.get_running_loop(), manifest.memory_mib

        def reached() -> None:
            problem = Unavailable(
                f"service '{manifest.name}' needs more than its {limit_mib} MiB of memory and is"
                " started again",
                reason=MEMORY_LIMIT,
                metadata={"service": manifest.name, "limitMib": str(limit_mib)},
                retry_delay_s=2.0,
            )
            loop.call_soon_threadsafe(self._end, problem)
            record_failure(self._record, problem, "memory limit reached")

        limit_memory(limit_mib, reached)

    def _end(self, problem: MeshError) -> None:
        self._problem = problem
        if hasattr(self, "_host"):
            self._host.fail(problem)

    async def _load_again(self) -> None:
        delay_s = FIRST_RETRY_S
        while self._problem is not None:
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, _LONGEST_RETRY_S)
            try:
                await self._start()
            except Exception as error:
                self._problem = record_failure(self._record, error)
            else:
                self._problem = None
                self._loaded()

    def _loaded(self) -> None:
        bundle = self._host.bundle
        if bundle is not None:
            self._record.model, self._record.version = bundle.name, bundle.version
            self._record.digest = bundle.digest
        self._record.write()
        remember_run(self._record)
        forget_failure(self._record)

    async def unary(self, rpc: Rpc, payload: bytes, grpc_context: Any) -> Any:
        """Answer one unary RPC, or set its error on the context."""
        metadata = grpc_context.invocation_metadata()
        try:
            self._must_serve(metadata)
            return await self._host.boundary.unary(rpc, payload, metadata)
        except MeshError as error:
            return _refused(grpc_context, error)

    async def stream(self, rpc: Rpc, payload: bytes, grpc_context: Any) -> AsyncIterator[Any]:
        """Answer one streaming RPC; an error ends the stream in order."""
        metadata = grpc_context.invocation_metadata()
        events = self._host.boundary.stream(rpc, payload, metadata)
        try:
            self._must_serve(metadata)
            async for event in events:
                yield event
        except MeshError as error:
            _refused(grpc_context, error)
        finally:
            await events.aclose()  # type: ignore[attr-defined]

    async def Check(self, payload: bytes, grpc_context: Any) -> Any:  # noqa: N802 -- the RPC's name
        """Answer ``grpc.health.v1.Health/Check`` for this replica."""
        request = health_pb2.HealthCheckRequest()
        with contextlib.suppress(Exception):
            request.ParseFromString(payload)
        names = {"", self._host.manifest.name, self._host.contract.single.service}
        if request.service not in names:
            unknown = NotFound("no such service", reason="SERVICE_NOT_FOUND")
            return _refused(grpc_context, unknown)
        grpc_context.set_trailing_metadata([(MODEL_KEY, self._host.model)])
        return health_pb2.HealthCheckResponse(
            status="SERVING" if self._host.ready else "NOT_SERVING"
        )

    def _must_serve(self, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        if self._problem is not None:
            raise self._problem
        for key, value in metadata:
            # Serve's own proxy sends whatever name it is given to the only application there is
            if key == APPLICATION_KEY and value not in ("", self._host.manifest.name):
                raise NotFound(
                    f"service '{str(value)[:80]}' is not deployed",
                    reason="SERVICE_NOT_FOUND",
                    metadata={"service": str(value)[:80]},
                )

    def check_health(self) -> None:
        """Tell Serve whether to replace this replica.

        A replica that waits to load again is not to be replaced: the next one would fail the same.

        Raises:
            RuntimeError: The service is not ready and nothing is on its way to mend it.
        """
        if not self._host.ready and self._problem is None:
            raise RuntimeError(f"service '{self._host.manifest.name}' is not ready")

    def __del__(self) -> Any:
        """Let go of everything; Serve calls this after the last request and awaits what it returns.

        The interpreter calls it too, of an object that was closed or never ready, and awaits nothing.
        """
        if not getattr(self, "_open", False):
            return None
        self._open = False
        return self._close()

    async def _close(self) -> None:
        self._record.remove()
        if self._retry is not None:
            self._retry.cancel()
        if self._gate is not None:
            await self._gate.close()
        await self._host.close()
        self._metrics_server.close()
        if self._tracing is not None:
            self._tracing.close()


def _refused(grpc_context: Any, error: MeshError) -> _Nothing:
    # a raised error would lose its details and send its text, see ray-project/ray#60482
    grpc_context.set_code(grpc_code(error))
    grpc_context.set_details(error.message)
    grpc_context.set_trailing_metadata(list(trailing_metadata(error)))
    return _NOTHING


def _method(rpc: Rpc) -> Callable[..., Any]:
    """Return a replica's method for one RPC; Serve tells streams by the kind of function."""
    if rpc.streaming:

        async def stream(self: Replica, payload: bytes, grpc_context: Any) -> AsyncIterator[Any]:
            async for event in self.stream(rpc, payload, grpc_context):
                yield event

        return stream

    async def unary(self: Replica, payload: bytes, grpc_context: Any) -> Any:
        return await self.unary(rpc, payload, grpc_context)

    return unary


for _rpc in service_rpcs():
    _added = _method(_rpc)
    _added.__name__ = _rpc.name
    _added.__qualname__ = f"Replica.{_rpc.name}"
    assert "grpc_context" in inspect.signature(_added).parameters
    setattr(Replica, _rpc.name, _added)
