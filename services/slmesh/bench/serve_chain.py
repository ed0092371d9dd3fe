"""The other way to build it: the router as a Serve deployment that calls a deployment handle.

``python -m slmesh.bench.serve_chain FOLDER GRPC_PORT HTTP_PORT`` runs it with Serve's defaults, but for
the limit of 5 requests at a time, which would decide the throughput alone. It prints one JSON line
with its address when it serves, and ends Ray at SIGTERM.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from typing import Any

from slmesh.api.score.v1 import score_pb2
from slmesh.bench.load import ECHO

__all__ = ["main"]

_MAX_ONGOING = 100


class _Answers:
    """The second hop: parses and answers, as Serve hands it over."""

    async def Score(self, _: score_pb2.ScoreRequest) -> score_pb2.ScoreResponse:  # noqa: N802
        return score_pb2.ScoreResponse(scores=score_pb2.Scores(scores=[]))


class _PassesOn:
    """The first hop: calls the second one by its handle."""

    def __init__(self, service: Any) -> None:
        self._service = service

    async def Score(self, request: score_pb2.ScoreRequest) -> score_pb2.ScoreResponse:  # noqa: N802
        response: score_pb2.ScoreResponse = await self._service.Score.remote(request)
        return response


def main(folder: str, grpc_port: int, http_port: int) -> None:
    """Run the chain until SIGTERM."""
    import ray
    from ray import serve

    stop = threading.Event()
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    ray.init(
        address="local",
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=80 * 1024 * 1024,
        _temp_dir=folder,
        _node_ip_address="127.0.0.1",
    )
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    serve.start(
        http_options={"host": "127.0.0.1", "port": http_port},
        grpc_options={
            "port": grpc_port,
            "grpc_servicer_functions": [
                "slmesh.api.score.v1.score_pb2_grpc.add_ScoreServiceServicer_to_server"
            ],
        },
    )
    make: Any = serve.deployment
    options = {"max_ongoing_requests": _MAX_ONGOING, "ray_actor_options": {"num_cpus": 0.1}}
    answers = make(_Answers).options(name="answers", **options).bind()
    passes_on = make(_PassesOn).options(name="passes_on", **options).bind(answers)
    serve.run(passes_on, name=ECHO, route_prefix=f"/{ECHO}")
    out.write(json.dumps({"address": f"127.0.0.1:{grpc_port}"}) + "\n")
    out.flush()
    stop.wait()
    serve.shutdown()  # type: ignore[no-untyped-call]
    ray.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
