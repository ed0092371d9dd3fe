"""The floor: one hop of a chain as a bare ``grpc.aio`` server, with nothing of the mesh in it.

``python -m slmesh.bench.bare_chain`` answers; with an address, it passes calls on to it. It prints one
JSON line with its own address when it serves.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from slmesh.api.score.v1 import score_pb2
from slmesh.mesh.contract import rpcs

__all__ = ["main"]

Handler = Callable[[bytes, Any], Awaitable[bytes]]


def _answering() -> Handler:
    response = score_pb2.ScoreResponse(scores=score_pb2.Scores(scores=[]))

    async def answer(payload: bytes, _: Any) -> bytes:
        score_pb2.ScoreRequest.FromString(payload)
        return response.SerializeToString()

    return answer


def _passing_on(address: str, path: str) -> Handler:
    call: Any = grpc.aio.insecure_channel(address).unary_unary(path)

    async def pass_on(payload: bytes, context: Any) -> bytes:
        answer = await call(payload, timeout=context.time_remaining())
        return bytes(answer)

    return pass_on


async def main(arguments: list[str]) -> None:
    """Serve one hop until the process is ended."""
    rpc = rpcs()["Score"]
    handler = _passing_on(arguments[0], rpc.path) if arguments else _answering()
    server = grpc.aio.server()
    methods: dict[str, Any] = {rpc.name: grpc.unary_unary_rpc_method_handler(handler)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(rpc.service, methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sys.stdout.write(json.dumps({"address": f"127.0.0.1:{port}"}) + "\n")
    sys.stdout.flush()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
