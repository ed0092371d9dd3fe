"""Measures ranking: ``python -m slmesh.slm.passages.measure [--passages 10000]``.

Indexes passages made of the words of the shipped collections, then asks the shipped service, in this
process, one question at a time. Prints how long indexing took, and the median and the 99th percentile
of a question, with and without the time to encode it. Times are processor time of one thread, so other
work of the machine does not count. Vectors are kept, so a second run indexes words alone.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import typer

from slmesh.api.rank.v1.rank_pb2 import RankRequest, RankResponse
from slmesh.mesh.bundle import Bundle, find_bundle, load_bundle
from slmesh.mesh.catalog import bundle_folders
from slmesh.mesh.manifest import load_manifest
from slmesh.mesh.service import Resources
from slmesh.mesh.settings import load_settings
from slmesh.slm.passages.collection import parse_passages
from slmesh.slm.passages.service import Passages
from slmesh.tiers.encoder import load_encoder

__all__ = ["main", "rank_speed"]

_FOLDER = Path(__file__).parent
_SHIPPED = ("bank_help.jsonl", "general_help.jsonl")
_WORDS = (
    30  # of one passage; a snippet of dstc9_faq has 13, an answer of MedQuAD cut at 128 tokens 90
)
_REPEATS = 201
_WARM = 10


def main() -> None:
    """Measure what the command line names and print two lines."""
    parser = argparse.ArgumentParser(description="Measure how fast passages are ranked.")
    parser.add_argument("--passages", type=int, default=10_000)
    count = parser.parse_args().passages
    settings = load_settings()
    bundle = load_bundle(find_bundle("passages", bundle_folders(settings)))
    speed = rank_speed(bundle, settings.cache_dir, count)
    typer.echo(f"{count:,} passages indexed in {speed['index_s']:.1f} s of processor time")
    typer.echo(
        f"a question: p50 {speed['rank_ms']:.2f} ms, p99 {speed['rank_p99_ms']:.2f} ms, of which"
        f" {speed['encode_ms']:.2f} ms encode it"
    )


def rank_speed(bundle: Bundle, cache_dir: Path, count: int = 10_000) -> dict[str, float]:
    """Return ``index_s``, ``rank_ms`` (median), ``rank_p99_ms`` and ``encode_ms`` of one thread.

    Args:
        bundle: A bundle of passages.
        cache_dir: Where its encoder and vectors are kept.
        count: Passages to index.
    """
    manifest = load_manifest(_FOLDER / "service.yaml")
    words = sorted(
        {
            word
            for name in _SHIPPED
            for passage in parse_passages(_FOLDER / name)
            for word in passage.text.split()
        }
    )
    draw = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "measured.jsonl"
        rows = (
            json.dumps({"id": f"p{number}", "text": " ".join(draw.choice(words, _WORDS))})
            for number in range(count)
        )
        path.write_text("\n".join(rows), encoding="utf-8")
        service = Passages()
        asked_of = replace(manifest, options={"collections": {"measured": str(path)}})
        started = time.process_time()
        service.load(Resources(asked_of, bundle, cache_dir, 1))
        index_s = time.process_time() - started
    questions = [" ".join(draw.choice(words, 10)) for _ in range(_WARM + _REPEATS)]
    requests = [RankRequest(query=text, collection="measured", top_k=10) for text in questions]

    def answer(place: int) -> None:
        found = service.answer([requests[place]])[0]
        if not isinstance(found, RankResponse):
            raise found

    asked = _times_ms(answer)
    encoder = load_encoder(cache_dir, (bundle.backbone or {}).get("digest", ""))
    encode = _times_ms(lambda place: encoder.encode([questions[place]])) if encoder else [0.0]
    return {
        "index_s": index_s,
        "rank_ms": float(np.median(asked)),
        "rank_p99_ms": float(np.percentile(asked, 99)),
        "encode_ms": float(np.median(encode)),
    }


def _times_ms(call: Callable[[int], object]) -> list[float]:
    """Return the processor time of a call for each question but the first, which warm up."""
    times = []
    for place in range(_WARM + _REPEATS):
        started = time.process_time()
        call(place)
        times.append(1e3 * (time.process_time() - started))
    return times[_WARM:]


if __name__ == "__main__":
    main()
