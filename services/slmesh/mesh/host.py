"""Holds one loaded service and answers for it: the same in a Ray Serve replica and in-process.

The host owns the service's life (load, warm-up, ready, close), its queue and its boundary. It does
not know which transport asks.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from slmesh.mesh.batching import MicroBatcher
from slmesh.mesh.boundary import Boundary, Instruments, limits_of
from slmesh.mesh.bundle import Bundle
from slmesh.mesh.callers import Callers
from slmesh.mesh.catalog import open_service
from slmesh.mesh.context import RequestContext
from slmesh.mesh.contract import Contract, contract
from slmesh.mesh.drift import DriftWatch
from slmesh.mesh.errors import InvalidArgument, MeshError
from slmesh.mesh.gate import Gate
from slmesh.mesh.manifest import Manifest
from slmesh.mesh.metrics import Metrics
from slmesh.mesh.settings import Settings
from slmesh.mesh.validation import validate

__all__ = ["ServiceHost"]

_WARM_UP_TEXT = "Warm-up: does everything load?"


class ServiceHost:
    """One service, loaded and ready.

    Args:
        manifest: The service's manifest.
        settings: The process's settings.
        metrics: Where the service is counted.
        instruments: What the boundary writes to, or None to measure without.
        gate: Decides about every call that arrives; None allows all.
    """

    def __init__(
        self,
        manifest: Manifest,
        settings: Settings,
        metrics: Metrics,
        instruments: Instruments | None,
        gate: Gate | None = None,
    ) -> None:
        self.manifest = manifest
        self.contract: Contract = contract(manifest.contract)
        self.bundle: Bundle | None = None
        self._settings = settings
        self._metrics = metrics
        self._limits = limits_of(settings)
        self._gate = gate
        self._callers = Callers()
        self._service: Any = None
        self._watch: DriftWatch | None = None
        self._batcher: MicroBatcher | None = None
        streaming = self.contract.single.streaming
        unary = {self.contract.single.name: self._answer_one}
        if self.contract.batch is not None:
            unary[self.contract.batch.name] = self._answer_many
        self.boundary = Boundary(
            manifest.name,
            unary=None if streaming else unary,
            streams={self.contract.single.name: self._stream} if streaming else None,
            limits=self._limits,
            default_timeout_s=manifest.timeout_ms / 1e3,
            instruments=instruments,
            admit=None if gate is None else gate.arrival(manifest.name),
        )

    @property
    def model(self) -> str:
        """What answers: the bundle, if any, and a digest of the options; it holds nothing secret."""
        options = {k: v for k, v in self.manifest.options.items() if k != "api_key"}
        digest = hashlib.sha256(json.dumps(options, sort_keys=True, default=str).encode())
        named = (self.bundle.name, self.bundle.digest) if self.bundle else ()
        return " ".join((*named, digest.hexdigest()[:16]))

    @property
    def ready(self) -> bool:
        """Whether the service is loaded and warm."""
        return self._batcher is not None or (
            self._service is not None and self.contract.single.streaming
        )

    def load(self) -> None:
        """Load and warm the service; blocking, so run it in a thread when a loop is running.

        Raises:
            MeshError: What the service needs is missing or wrong.
        """
        service, self.bundle = open_service(
            self.manifest, self._settings, caller_of=self._callers.of, gate=self._gate
        )
        if not self.contract.single.streaming:
            _warm_up(service, self.contract)
            self._watch = DriftWatch.of(self.bundle)
        self._service = service

    async def start(self) -> None:
        """Load in a thread unless loaded, then take requests on this event loop."""
        if self._service is None:
            await asyncio.to_thread(self.load)
        name = self.manifest.name
        if not self.contract.single.streaming:
            observe = self._metrics.batch_items.labels(name).observe
            batcher = MicroBatcher(
                self._answer_batch,
                max_batch_size=self.manifest.max_batch_size,
                max_wait_s=self.manifest.max_batch_wait_ms / 1e3,
                max_items=self.manifest.max_queue_items,
                observe=observe,
            )
            batcher.start()
            self._batcher = batcher
            self._metrics.queue_items.labels(name).set_function(lambda: batcher.waiting_items)
            self._metrics.queue_limit.labels(name).set(batcher.max_items)
            if self._watch is not None:
                self._metrics.drift_score.labels(name).set_function(self._watch.score)
        self._metrics.ready.labels(name).set(1)
        bundle = self.bundle
        described = (bundle.name, bundle.version, bundle.digest) if bundle else ("", "", "")
        self._metrics.info.labels(name, self.contract.name, *described).set(1)

    def fail(self, error: MeshError) -> None:
        """Answer every call under way with an error, because the process will end."""
        self._metrics.ready.labels(self.manifest.name).set(0)
        if self._batcher is not None:
            self._batcher.fail(error)

    async def close(self) -> None:
        """Refuse what waits and let the service go."""
        self._metrics.ready.labels(self.manifest.name).set(0)
        if self._batcher is not None:
            await self._batcher.close()
            self._batcher = None
        service, self._service = self._service, None
        close = getattr(service, "close", None)
        if close is not None:
            await asyncio.to_thread(close)

    def _answer_batch(self, requests: Sequence[Any]) -> Sequence[Message | MeshError]:
        answers: Sequence[Message | MeshError] = self._service.answer(requests)
        if self._watch is not None and len(answers) == len(requests):
            self._watch.observe(requests, answers)
        return answers

    async def _answer_one(self, request: Message, context: RequestContext) -> Message:
        assert self._batcher is not None
        self._check(request)
        with self._callers.known([request], context):
            return await self._batcher.submit(request, context.deadline)

    async def _answer_many(self, request: Any, context: RequestContext) -> Message:
        assert self._batcher is not None
        assert self.contract.batch is not None
        results: list[Message | MeshError | None] = []
        good: list[Message] = []
        for index, item in enumerate(request.requests):
            try:
                validate(item, self._limits)
                self._check(item)
            except MeshError as error:
                results.append(error.with_field_prefix(f"requests[{index}]"))
            else:
                results.append(None)
                good.append(item)
        with self._callers.known(good, context):
            answers = iter(await self._batcher.submit_many(good, context.deadline))
        response: Any = self.contract.batch.response_type()
        for result in results:
            answer = next(answers) if result is None else result
            place = response.results.add()
            if isinstance(answer, MeshError):
                place.error.CopyFrom(answer.to_status())
            else:
                place.response.CopyFrom(answer)
        return response  # type: ignore[no-any-return]

    async def _stream(self, request: Message, context: RequestContext) -> AsyncIterator[Message]:
        self._check(request)
        with self._callers.known([request], context):
            events = self._service.stream(request)
            try:
                async for event in events:
                    yield event
            finally:
                await events.aclose()

    def _check(self, request: Message) -> None:
        check = getattr(self._service, "check", None)
        if check is not None:
            check(request)


def _warm_up(service: Any, spoken: Contract) -> None:
    """Answer one request made from the contract, so that the first caller meets a warm model."""
    request = _example(spoken.single.request_type)
    answers: Sequence[Message | MeshError] = service.answer([request])
    for answer in answers:
        # a contract may need more than a descriptor tells, such as one of two sources
        if isinstance(answer, MeshError) and not isinstance(answer, InvalidArgument):
            raise answer


def _example(message_type: type[Message]) -> Any:
    from google.api import field_behavior_pb2

    message: Any = message_type()
    for field in message.DESCRIPTOR.fields:
        behaviours = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
        if field_behavior_pb2.REQUIRED not in behaviours:
            continue
        if field.type == FieldDescriptor.TYPE_STRING:
            setattr(message, field.name, _WARM_UP_TEXT)
        elif field.type == FieldDescriptor.TYPE_ENUM:
            setattr(message, field.name, field.enum_type.values[1].number)
        elif field.type == FieldDescriptor.TYPE_MESSAGE and field.is_repeated:
            item = getattr(message, field.name).add()
            item.CopyFrom(_example(type(item)))
    return message
