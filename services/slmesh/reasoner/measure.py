"""Measures local engines: ``python -m slmesh.reasoner.measure [--engine onnx] [--threads 1]``.

Prints, for a short and a long prompt, the median time to the first token and the tokens per second
after it, then the time to load and the resident memory. Each engine is best measured in a process
of its own, on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from dataclasses import replace
from pathlib import Path

import typer

from slmesh.api.reason.v1.reason_pb2 import ReasonRequest
from slmesh.mesh.manifest import load_manifest
from slmesh.mesh.service import Resources
from slmesh.mesh.settings import load_settings
from slmesh.reasoner.service import ReasonerService
from slmesh.weights.engines import ENGINES

__all__ = ["main"]

_PROMPTS = {
    "short": "My card has not arrived yet and I ordered it two weeks ago. What should I do?",
    "long": "My card has not arrived yet and I ordered it two weeks ago. " * 20,
}
_OUTPUT_TOKENS = 60


def main() -> None:
    """Measure what the command line names and print one line for each prompt."""
    parser = argparse.ArgumentParser(description="Measure an engine of the reasoner.")
    parser.add_argument("--engine", choices=[e for e in ENGINES if e != "openai"], default="onnx")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    chosen = parser.parse_args()
    manifest = load_manifest(Path(__file__).parent / "service.yaml")
    manifest = replace(manifest, options={"engine": chosen.engine})
    started = time.perf_counter()
    service = ReasonerService()
    service.load(Resources(manifest, None, load_settings().cache_dir, chosen.threads))
    load_s = time.perf_counter() - started
    for name, text in _PROMPTS.items():
        request = ReasonRequest(
            instruction="You are a bank assistant. Answer at length.",
            text=text,
            max_output_tokens=_OUTPUT_TOKENS,
        )
        runs = [asyncio.run(_run(service, request)) for _ in range(chosen.repeats)]
        first_s, rate = (statistics.median(column) for column in list(zip(*runs, strict=True))[:2])
        typer.echo(
            f"{chosen.engine} threads={chosen.threads} prompt={name} ({runs[0][2]} tokens):"
            f" first token {first_s * 1e3:.0f} ms, then {rate:.1f} tokens/s"
        )
    typer.echo(f"{chosen.engine} load {load_s:.1f} s, resident {_resident_mib():.0f} MiB")
    service.close()


async def _run(service: ReasonerService, request: ReasonRequest) -> tuple[float, float, int]:
    """Return seconds to the first token, tokens/s after it, and the prompt's length in tokens."""
    started = time.perf_counter()
    first_s = 0.0
    async for event in service.stream(request):
        if not first_s and event.WhichOneof("event") == "text_delta":
            first_s = time.perf_counter() - started
    usage = event.completion.usage
    rate = (usage.output_tokens - 1) / (time.perf_counter() - started - first_s)
    return first_s, rate, usage.prompt_tokens


def _resident_mib() -> float:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return float("nan")


if __name__ == "__main__":
    main()
