"""The contracts as the runtime sees them, read from the descriptors of the generated code.

Nothing here names a message: a contract is a package ``slmesh.api.<name>.v1`` with one service. That
is why a binder, a client and the contract tests work for every contract without knowing any.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from slmesh.mesh.manifest import CONTRACTS

__all__ = ["Contract", "Rpc", "contract", "rpcs"]

_BATCH = "Batch"


@dataclass(frozen=True)
class Rpc:
    """One RPC of a contract.

    Attributes:
        name: The bare name, unique over all contracts: Ray Serve finds RPCs by it.
        contract: The contract's name.
        service: The full name of the protobuf service.
        request_type: The class of the request.
        response_type: The class of the response, or of one event of a stream.
        streaming: Whether the response is a stream.
        batch: Whether it is the batch twin of another RPC.
    """

    name: str
    contract: str
    service: str
    request_type: type[Message]
    response_type: type[Message]
    streaming: bool
    batch: bool

    @property
    def path(self) -> str:
        """The HTTP/2 path of the RPC."""
        return f"/{self.service}/{self.name}"


@dataclass(frozen=True)
class Contract:
    """One contract: the RPC for one item, and its batch twin where it has one."""

    name: str
    single: Rpc
    batch: Rpc | None
    rpcs: tuple[Rpc, ...]


@cache
def contract(name: str) -> Contract:
    """Return the contract with a name of :data:`CONTRACTS`, or ``route``."""
    module = importlib.import_module(f"slmesh.api.{name}.v1.{name}_pb2")
    (service,) = module.DESCRIPTOR.services_by_name.values()
    found = tuple(_rpc(name, method) for method in service.methods)
    batch = next((rpc for rpc in found if rpc.batch), None)
    return Contract(name, next(rpc for rpc in found if not rpc.batch), batch, found)


@cache
def rpcs() -> Mapping[str, Rpc]:
    """Return every RPC of every contract, the router's included, by its bare name."""
    every = (rpc for name in (*CONTRACTS, "route") for rpc in contract(name).rpcs)
    return MappingProxyType({rpc.name: rpc for rpc in every})


def _rpc(name: str, method: MethodDescriptor) -> Rpc:
    return Rpc(
        name=method.name,
        contract=name,
        service=method.containing_service.full_name,
        request_type=message_factory.GetMessageClass(method.input_type),
        response_type=message_factory.GetMessageClass(method.output_type),
        streaming=method.server_streaming,
        batch=method.name.startswith(_BATCH),
    )
