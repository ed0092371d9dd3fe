"""A flow's calls as a script makes them that has no router: the same services, messages and order.

It calls the ingress with generated stubs' own means, and does nothing with the answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from graphlib import TopologicalSorter
from typing import Any

import grpc
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from slmesh.api.route.v1 import route_pb2
from slmesh.mesh.context import APPLICATION_KEY
from slmesh.mesh.contract import contract
from slmesh.mesh.wire import mesh_error
from slmesh.router.flow import Flow, Step
from slmesh.router.signals import Texts, request_of

__all__ = ["FlowCalls"]

_TIMEOUT_S = 30.0


class FlowCalls:
    """Makes the calls of a flow.

    Args:
        flow: The flow.
        contracts: The contract of every service, by name.
        channel: To the mesh's ingress.
    """

    def __init__(self, flow: Flow, contracts: Mapping[str, str], channel: grpc.aio.Channel) -> None:
        self._contracts = contracts
        self._stages = _stages(flow)
        self._calls = {step.name: _call(step, contracts, channel) for step in flow.steps}

    def requests(self, text: str) -> dict[str, Message]:
        """Return what each step is sent for a text."""
        request, texts, received = route_pb2.RouteRequest(text=text), Texts(text), Timestamp()
        received.GetCurrentTime()
        return {
            step.name: request_of(step, self._contracts[step.service], request, texts, received)
            for stage in self._stages
            for step in stage
        }

    async def run(self, requests: Mapping[str, Message]) -> None:
        """Make the calls: those that need not wait for each other at the same time.

        Raises:
            MeshError: A call failed.
        """
        for stage in self._stages:
            await asyncio.gather(*(self._one(step, requests[step.name]) for step in stage))

    async def _one(self, step: Step, request: Message) -> None:
        metadata = ((APPLICATION_KEY, step.service),)
        try:
            await self._calls[step.name](request, metadata=metadata, timeout=_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            raise mesh_error(error, step.service) from None


def _call(step: Step, contracts: Mapping[str, str], channel: grpc.aio.Channel) -> Any:
    rpc = contract(contracts[step.service]).single
    return channel.unary_unary(
        rpc.path,
        request_serializer=rpc.request_type.SerializeToString,
        response_deserializer=rpc.response_type.FromString,
    )


def _stages(flow: Flow) -> Sequence[Sequence[Step]]:
    sorter = TopologicalSorter({step.name: step.after for step in flow.steps})
    sorter.prepare()
    stages = []
    while sorter.is_active():
        names = sorter.get_ready()
        stages.append([flow.step(name) for name in names])
        sorter.done(*names)
    return stages
