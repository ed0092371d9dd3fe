"""Starts peers, each in a folder and processes of its own, and says how each is called.

A peer is started as its documentation recommends for throughput; the same peer without batching stands
beside it, because batching costs where calls come one at a time.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import grpc

import slmesh
from slmesh.bench.chains import end_child
from slmesh.bench.levels import Call
from slmesh.bench.peers.environments import peer_python
from slmesh.bench.peers.prediction import CONFIG_FILE
from slmesh.bench.subjects import BenchSubject
from slmesh.mesh.errors import MeshError, Unavailable
from slmesh.mesh.settings import Settings, child_environment
from slmesh.mesh.wire import mesh_error
from slmesh.platform.ports import free_ports

__all__ = ["VARIANTS", "Running", "Variant", "calls", "peer_server"]

_START_S = 240.0
_MLSERVER_INFER = "/inference.GRPCInferenceService/ModelInfer"


@dataclass(frozen=True)
class Variant:
    """One way to start a peer.

    Attributes:
        peer: One of ``environments.PEERS``.
        batch_size: Most texts of a batch; 1 without batching.
        batch_wait_ms: How long a batch may wait for company, where the peer must be told.
        protocols: How it is called; each is a row of the report.
    """

    peer: str
    batch_size: int
    batch_wait_ms: float
    protocols: tuple[str, ...]

    @property
    def name(self) -> str:
        """Its name in the report."""
        return f"{self.peer} {'batching' if self.batch_size > 1 else 'unbatched'}"


VARIANTS = (
    Variant("litserve", 32, 2.0, ("http",)),
    Variant("litserve", 1, 0.0, ("http",)),
    Variant("bentoml", 32, 0.0, ("http",)),
    Variant("bentoml", 1, 0.0, ("http",)),
    Variant("mlserver", 32, 2.0, ("http", "grpc")),
    Variant("mlserver", 1, 0.0, ("http", "grpc")),
)
"""LitServe and MLServer wait for company as long as they are told, BentoML learns it."""


@dataclass(frozen=True)
class Running:
    """A peer that was started.

    Attributes:
        variant: How.
        folder: Where; its log is there.
        python: The interpreter of its environment.
        port: Of HTTP.
        grpc_port: Of gRPC, where it has that.
        process: Its first process.
    """

    variant: Variant
    folder: Path
    python: Path
    port: int
    grpc_port: int
    process: subprocess.Popen[bytes]


@contextlib.contextmanager
def peer_server(
    variant: Variant,
    subject: BenchSubject,
    tier: str,
    settings: Settings,
    on_progress: Callable[[str], None] = lambda step: None,
) -> Iterator[Running]:
    """Run one peer; it may not answer yet, see :func:`calls`.

    Raises:
        Unavailable: It cannot be installed here.
    """
    python = peer_python(variant.peer, settings, on_progress)
    ports = free_ports(3)
    with TemporaryDirectory(prefix="slmesh-peer-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        _write(folder, variant, subject, tier, settings, ports)
        environment = child_environment(
            Settings(),
            {
                "PYTHONPATH": f"{Path(slmesh.__file__).parent.parent}:{folder}",
                "OMP_NUM_THREADS": "1",
                "OPENBLAS_NUM_THREADS": "1",
                "BENTOML_DO_NOT_TRACK": "True",
                "BENTOML_HOME": str(folder / "home"),
                # a line for each call is work the others do not do
                "BENTOML_CONFIG_OPTIONS": "services.Classify.logging.access.enabled=false",
            },
        )
        with (folder / "log").open("w", encoding="utf-8") as log:
            process = subprocess.Popen(
                _command(variant.peer, python, ports),
                cwd=folder,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                yield Running(variant, folder, python, ports[0], ports[1], process)
            finally:
                end_child(process)


def _write(
    folder: Path,
    variant: Variant,
    subject: BenchSubject,
    tier: str,
    settings: Settings,
    ports: Sequence[int],
) -> None:
    config = {
        "bundle": str(subject.bundle.folder.resolve()),
        "cache_dir": str(settings.cache_dir.resolve()),
        "tier": tier,
        "threads": subject.manifest.threads,
        "batch_size": variant.batch_size,
        "batch_wait_ms": variant.batch_wait_ms,
        "port": ports[0],
    }
    (folder / CONFIG_FILE).write_text(json.dumps(config), encoding="utf-8")
    source = files("slmesh.bench.peers").joinpath(f"{variant.peer}_server.txt")
    (folder / "server.py").write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    if variant.peer != "mlserver":
        return
    model: dict[str, Any] = {"name": "classify", "implementation": "server.Classify"}
    if variant.batch_size > 1:
        model["max_batch_size"] = variant.batch_size
        model["max_batch_time"] = variant.batch_wait_ms / 1e3
    server = {
        "host": "127.0.0.1",
        "http_port": ports[0],
        "grpc_port": ports[1],
        "metrics_port": ports[2],
        "parallel_workers": 1,
        "debug": False,
    }
    (folder / "model-settings.json").write_text(json.dumps(model), encoding="utf-8")
    (folder / "settings.json").write_text(json.dumps(server), encoding="utf-8")


def _command(peer: str, python: Path, ports: Sequence[int]) -> list[str]:
    if peer == "litserve":
        return [str(python), "server.py"]
    program = str(python.parent / peer)
    if peer == "mlserver":
        return [program, "start", "."]
    address = ["--host", "127.0.0.1", "--port", str(ports[0])]
    return [program, "serve", "server:Classify", *address]


@contextlib.asynccontextmanager
async def calls(running: Running, texts: Sequence[str]) -> AsyncIterator[Mapping[str, Call]]:
    """Yield a call for each protocol of a peer, by the name of its row, once the peer answers.

    Raises:
        Unavailable: It does not; the end of its log is in the message.
    """
    async with contextlib.AsyncExitStack() as open_:
        found: dict[str, Call] = {}
        for protocol in running.variant.protocols:
            made = _http_call(running, texts) if protocol == "http" else _grpc_call(running, texts)
            call = await open_.enter_async_context(made)
            await _answering(running, call)
            found[f"{running.variant.name}, {protocol}"] = call
        yield found


@contextlib.asynccontextmanager
async def _http_call(running: Running, texts: Sequence[str]) -> AsyncIterator[Call]:
    peer = running.variant.peer
    payloads = [json.dumps(_body(peer, text)).encode() for text in texts]
    path = "/v2/models/classify/infer" if peer == "mlserver" else "/predict"
    url = f"http://127.0.0.1:{running.port}{path}"
    headers = {"content-type": "application/json"}
    # servers close idle connections after 5 s, and others have their turn for longer than that
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=2)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def once(place: int) -> bytes:
            payload = payloads[place % len(payloads)]
            async with session.post(url, data=payload, headers=headers) as response:
                answer = await response.read()
                if response.status != 200:
                    raise Unavailable(f"{running.variant.name}: {response.status} {answer[:300]!r}")
                return answer

        async def call(place: int) -> bytes:
            try:
                return await once(place)
            except aiohttp.ServerDisconnectedError:  # closed just as it was taken up again
                return await once(place)
            except aiohttp.ClientError as error:
                raise Unavailable(f"{running.variant.name}: {error}") from None

        yield call


def _body(peer: str, text: str) -> dict[str, Any]:
    if peer == "litserve":
        return {"text": text}
    if peer == "bentoml":
        return {"texts": [text]}
    tensor = {"name": "texts", "shape": [1, 1], "datatype": "BYTES", "data": [text]}
    return {"inputs": [tensor]}


@contextlib.asynccontextmanager
async def _grpc_call(running: Running, texts: Sequence[str]) -> AsyncIterator[Call]:
    """Call MLServer with requests that its own code serialised."""
    done = await asyncio.to_thread(
        subprocess.run,
        [str(running.python), "server.py", "requests"],
        cwd=running.folder,
        env=child_environment(Settings(), {"PYTHONPATH": str(Path(slmesh.__file__).parent.parent)}),
        input=json.dumps(list(texts)),
        capture_output=True,
        text=True,
        check=True,
    )
    payloads = [base64.b64decode(line) for line in json.loads(done.stdout)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{running.grpc_port}") as channel:
        method: Any = channel.unary_unary(_MLSERVER_INFER)

        async def call(place: int) -> bytes:
            try:
                answer: bytes = await method(payloads[place % len(payloads)], timeout=60)
            except grpc.aio.AioRpcError as error:
                raise mesh_error(error, running.variant.name) from None
            return answer

        yield call


async def _answering(running: Running, call: Call) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        try:
            await call(0)
        except (aiohttp.ClientError, MeshError) as error:
            if time.monotonic() > deadline or running.process.poll() is not None:
                log = (running.folder / "log").read_text(encoding="utf-8", errors="replace")
                raise Unavailable(
                    f"{running.variant.name} does not answer ({error}): {log[-2000:]}"
                ) from None
            await asyncio.sleep(0.5)
        else:
            return
