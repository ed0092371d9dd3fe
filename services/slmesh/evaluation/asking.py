"""Asks a service all cases: in batches, and some one at a time to see how long a call takes.

It calls a mesh, in this process or over a network, like any client. It judges no answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.message import Message

from slmesh.evaluation.cases import Case
from slmesh.evaluation.subject import Subject
from slmesh.mesh.client import Mesh
from slmesh.mesh.contract import contract
from slmesh.mesh.errors import Internal, MeshError

__all__ = ["Asked", "ask", "single_calls"]

_BATCH_ITEMS = 256
_BATCH_BYTES = 4 << 20
_SINGLE_CALLS = 200
_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Asked:
    """The answers of a service and how long they took.

    Attributes:
        answers: The responses to each case's requests, in order.
        p50_ms: Median wall-clock time of a single call.
        p99_ms: The time that 99 % of single calls keep.
        texts_per_s: Cases a second in batch calls, one in flight.
    """

    answers: list[list[Any]]
    p50_ms: float
    p99_ms: float
    texts_per_s: float


async def ask(
    mesh: Mesh, subject: Subject, cases: Sequence[Case], advance: Callable[[int], object]
) -> Asked:
    """Ask every case in batches, then up to 200 of them, evenly spread, by single calls.

    Args:
        mesh: Where the service is.
        subject: The service.
        cases: At least one.
        advance: Called with the number of cases, whenever some are done.

    Raises:
        MeshError: A call failed, or one case did; the case's file and line are named.
    """
    await _single(mesh, subject, cases[0].requests()[0])  # loads the service, which is not timed
    answers: list[list[Any]] = []
    seconds = 0.0
    for group in _groups(cases, min(_BATCH_ITEMS, subject.manifest.max_queue_items)):
        started = time.perf_counter()
        responses = iter(await _batch(mesh, subject, group))
        seconds += time.perf_counter() - started
        answers += [[next(responses) for _ in requests] for _, requests in group]
        advance(len(group))
    p50_ms, p99_ms = np.percentile(await single_calls(mesh, subject, cases), [50, 99])
    return Asked(answers, float(p50_ms), float(p99_ms), len(cases) / seconds)


async def single_calls(mesh: Mesh, subject: Subject, cases: Sequence[Case]) -> list[float]:
    """Return the milliseconds of single calls of up to 200 cases, evenly spread."""
    times_ms = []
    for case in cases[:: -(-len(cases) // _SINGLE_CALLS)]:
        request = case.requests()[0]
        started = time.perf_counter()
        await _single(mesh, subject, request)
        times_ms.append((time.perf_counter() - started) * 1e3)
    return times_ms


_Group = list[tuple[Case, Sequence[Message]]]


def _groups(cases: Sequence[Case], most_items: int) -> Iterator[_Group]:
    """Yield cases with their requests, as many as one batch call takes."""
    group: _Group = []
    items = size = 0
    for case in cases:
        requests = case.requests()
        bytes_more = sum(request.ByteSize() for request in requests)
        if group and (items + len(requests) > most_items or size + bytes_more > _BATCH_BYTES):
            yield group
            group, items, size = [], 0, 0
        group.append((case, requests))
        items, size = items + len(requests), size + bytes_more
    if group:
        yield group


async def _single(mesh: Mesh, subject: Subject, request: Message) -> Any:
    rpc = contract(subject.contract).single
    return await mesh.call(rpc.name, subject.name, request, _TIMEOUT_S)


async def _batch(mesh: Mesh, subject: Subject, group: _Group) -> list[Any]:
    rpc = contract(subject.contract).batch
    assert rpc is not None
    requests = [request for _, requests in group for request in requests]
    batch = rpc.request_type(requests=requests)
    response: Any = await mesh.call(rpc.name, subject.name, batch, _TIMEOUT_S)
    if len(response.results) != len(requests):
        raise Internal(
            f"{len(requests)} requests got {len(response.results)} results",
            reason="MALFORMED_RESPONSE",
        )
    places = [case.place for case, asked in group for _ in asked]
    for place, result in zip(places, response.results, strict=True):
        if result.WhichOneof("result") == "error":
            raise _placed(place, MeshError.from_status(result.error))
    return [result.response for result in response.results]


def _placed(place: str, error: MeshError) -> MeshError:
    return type(error)(
        f"{place}: {error.message}",
        reason=error.reason,
        metadata=error.metadata,
        field=error.field,
        retry_delay_s=error.retry_delay_s,
    )
