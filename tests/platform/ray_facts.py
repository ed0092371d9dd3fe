# ruff: noqa: N802 -- methods are named as RPCs are
"""A Ray Serve of its own, with applications that are not ours, to see what Ray itself does.

Run as ``python -m tests.platform.ray_facts FOLDER GRPC_PORT HTTP_PORT`` with Ray's flags in the
environment. It prints one JSON line when it serves, with what only the driver sees, and ends at
SIGTERM.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import grpc

METHODS = ("Plain", "Raises", "Returns", "Slow", "Both")
DETAILS = "grpc-status-details-bin"


class Message:
    """What Serve wants of an answer."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload

    def SerializeToString(self) -> bytes:
        return self._payload


def add_facts(servicer: Any, server: Any) -> None:
    """Register two services whose methods have the same names."""
    for service in ("test.Facts", "test.Twin"):
        methods = {
            name: grpc.unary_unary_rpc_method_handler(getattr(servicer, name)) for name in METHODS
        }
        methods["Both"] = grpc.stream_stream_rpc_method_handler(servicer.Both)
        handler = grpc.method_handlers_generic_handler(service, methods)
        server.add_generic_rpc_handlers((handler,))


def add_late(servicer: Any, server: Any) -> None:
    """Register a service that nobody knew of when Serve started."""
    methods = {"Plain": grpc.unary_unary_rpc_method_handler(servicer.Plain)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Late", methods),))


class Facts:
    """Behaves in the ways whose outcome is Ray's."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    async def Plain(self, payload: bytes) -> Message:
        return Message(payload)

    async def Raises(self, payload: bytes, grpc_context: Any) -> Message:
        grpc_context.set_trailing_metadata([(DETAILS, b"details")])
        raise ValueError("a secret from the inside")

    async def Returns(self, payload: bytes, grpc_context: Any) -> Message:
        grpc_context.set_code(grpc.StatusCode.FAILED_PRECONDITION)
        grpc_context.set_details("set and returned")
        grpc_context.set_trailing_metadata([(DETAILS, b"details")])
        return Message(b"")

    async def Slow(self, payload: bytes, grpc_context: Any) -> Message:
        mark = self._folder / payload.decode()
        keys = [key for key, _ in grpc_context.invocation_metadata()]
        seen = {"time_remaining": hasattr(grpc_context, "time_remaining"), "keys": keys}
        mark.with_suffix(".begun").write_text("{}")
        try:
            await asyncio.sleep(120)
        except asyncio.CancelledError:
            mark.write_text(json.dumps(seen))
            raise
        return Message(b"done")

    async def Both(self, requests: Any) -> Any:
        async for payload in requests:
            yield Message(payload.upper())


def main(folder: str, grpc_port: int, http_port: int) -> None:
    """Run until SIGTERM."""
    import ray
    from ray import serve

    stop = threading.Event()
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    ray.init(
        address="local",
        num_cpus=4,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=80 * 1024 * 1024,
        _temp_dir=f"{folder}/tmp",
        _node_ip_address="127.0.0.1",
    )
    signal.signal(signal.SIGTERM, lambda *_: stop.set())

    def start(function: str) -> None:
        serve.start(
            proxy_location="HeadOnly",
            http_options={"host": "127.0.0.1", "port": http_port},
            grpc_options={"port": grpc_port, "grpc_servicer_functions": [function]},
        )

    start("tests.platform.ray_facts.add_facts")
    start("tests.platform.ray_facts.add_late")
    make: Any = serve.deployment(Facts)
    few = {"max_ongoing_requests": 1, "max_queued_requests": 1}
    targets = [
        serve.RunTarget(
            make.options(name=name, ray_actor_options={"num_cpus": 0.1}, **options).bind(folder),
            name=name,
            route_prefix=prefix,
        )
        for name, prefix, options in (
            ("open", "/open", {}),
            ("narrow", "/narrow", few),
            ("hidden", None, {}),
        )
    ]
    serve.run_many(targets)
    try:
        serve.run(make.options(name="second").bind(folder), name="second", route_prefix="/open")
        same_prefix = ""
    except Exception as error:
        same_prefix = f"{type(error).__name__}: {error}"
    out.write(json.dumps({"same_prefix": same_prefix}) + "\n")
    out.flush()
    stop.wait()
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
