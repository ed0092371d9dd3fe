"""A router in a process of its own, as tests kill, stop and starve it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import urllib.request

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from slmesh.api.route.v1 import route_pb2
from slmesh.mesh.client import Mesh

__all__ = ["RouterProcess"]


class RouterProcess:
    """A router in a process of its own, on the same state as the one before it."""

    def __init__(self, settings, ingress_port, **environment):
        self._environment = settings.to_environment() | {
            "SLMESH_INGRESS_PORT": str(ingress_port),
            # on a disk that is full Python would leave half a file of it: python/cpython#126606
            "PYTHONDONTWRITEBYTECODE": "1",
            **environment,
        }
        self._settings = settings
        self.errors = b""

    async def start(self, prepare=None):
        clean = {key: value for key, value in os.environ.items() if not key.startswith("SLMESH_")}
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "slmesh.router",
            env=clean | self._environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            preexec_fn=prepare,
        )  # fmt: skip
        self._reading = asyncio.create_task(self.process.stderr.read())
        async with asyncio.timeout(120):
            self.told = json.loads(await self.process.stdout.readline())
        self.client = Mesh.connect(self.told["address"], settings=self._settings)
        return self

    async def route(self, text, flow="desk", *, context=None, **fields):
        request = route_pb2.RouteRequest(flow=flow, text=text, **fields)
        return (await self.client.route(request, timeout_s=30, context=context)).decision

    async def explain(self, decision_id):
        return await self.client.explain(route_pb2.ExplainRequest(decision_id=decision_id))

    async def metrics(self):
        url = f"http://{self.told['metrics_address']}/metrics"
        return await asyncio.to_thread(lambda: urllib.request.urlopen(url).read().decode())

    async def ledger_health(self):
        async with grpc.aio.insecure_channel(self.told["address"]) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            try:
                answer = await stub.Check(health_pb2.HealthCheckRequest(service="ledger"))
            except grpc.aio.AioRpcError:
                return "unknown"
            return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)

    async def stop(self):
        if self.process.returncode is None:
            self.process.terminate()
        await self._end()

    async def kill(self):
        if self.process.returncode is None:
            self.process.kill()
        await self._end()

    async def _end(self):
        self.errors = await self._reading
        await self.process.wait()
        await self.client.close()
