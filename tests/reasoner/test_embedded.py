"""The embedded model itself, where its weights have been fetched: real text from real weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import slmesh.reasoner
from slmesh.api.reason.v1.reason_pb2 import FinishReason, ReasonRequest
from slmesh.mesh.errors import FailedPrecondition
from slmesh.mesh.manifest import load_manifest
from slmesh.mesh.service import Resources
from slmesh.mesh.settings import load_settings
from slmesh.reasoner.engines.onnx import compile_model
from slmesh.reasoner.service import ReasonerService
from slmesh.weights.engines import EMBEDDED_MODEL
from slmesh.weights.fetch import weights_folder
from slmesh.weights.gguf import ConvertedModel, convert
from slmesh.weights.sources import find_source


@pytest.fixture(scope="module")
def cache_dir() -> Path:
    """The cache that ``slmesh models compile`` fills; nothing is downloaded by a test."""
    folder = load_settings().cache_dir
    if not weights_folder(folder, EMBEDDED_MODEL).is_dir():
        pytest.skip(f"{EMBEDDED_MODEL} is not in the cache; `slmesh models compile` fetches it")
    return folder


@pytest.fixture(scope="module")
def reasoner(cache_dir: Path) -> Iterator[ReasonerService]:
    manifest = load_manifest(Path(slmesh.reasoner.__file__).parent / "service.yaml")
    service = ReasonerService()
    service.load(Resources(manifest, None, cache_dir, 1))
    yield service
    service.close()


async def ask(service: ReasonerService, request: ReasonRequest) -> tuple[str, int]:
    service.check(request)
    events = [event async for event in service.stream(request)]
    text = "".join(event.text_delta for event in events)
    return text, events[-1].completion.finish_reason


async def test_greedy_text_is_sensible_and_repeatable(reasoner: ReasonerService) -> None:
    request = ReasonRequest(
        instruction="Answer in one short sentence.",
        text="What is the capital of France?",
        max_output_tokens=24,
    )
    text, reason = await ask(reasoner, request)
    assert "Paris" in text
    assert reason == FinishReason.FINISH_REASON_STOP
    assert await ask(reasoner, request) == (text, reason)


async def test_a_schema_gives_json_that_fits(reasoner: ReasonerService) -> None:
    schema = {
        "type": "object",
        "properties": {"topic": {"enum": ["card", "loan"]}, "urgent": {"type": "boolean"}},
        "required": ["topic", "urgent"],
        "additionalProperties": False,
    }
    text, reason = await ask(
        reasoner,
        ReasonRequest(
            instruction="Answer as JSON.",
            text="My card was stolen!",
            output_schema=json.dumps(schema),
        ),
    )
    assert reason == FinishReason.FINISH_REASON_STOP
    assert json.loads(text)["topic"] in ("card", "loan")


def test_the_provenance_names_the_pinned_file(reasoner: ReasonerService) -> None:
    (file,) = find_source(EMBEDDED_MODEL).files
    assert reasoner._provenance.digest == "sha256:" + file.sha256
    assert reasoner._provenance.version == "embedded"


def test_a_graph_that_was_changed_is_refused(cache_dir: Path, tmp_path: Path) -> None:
    model = convert(EMBEDDED_MODEL, cache_dir)
    graph = compile_model(model)
    copied = tmp_path / graph.parent.name
    shutil.copytree(graph.parent, copied, ignore=shutil.ignore_patterns("*.onnx"))
    (copied / graph.name).write_bytes(b"not the graph")
    elsewhere: ConvertedModel = replace(model, folder=tmp_path / model.folder.name)
    with pytest.raises(FailedPrecondition, match="compile it again"):
        compile_model(elsewhere)
