"""The triage service, with the bundle that ships."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slmesh.api.score.v1.score_pb2 import ScoreRequest
from slmesh.mesh.bundle import find_bundle, load_bundle
from slmesh.mesh.errors import InvalidArgument
from slmesh.mesh.manifest import load_manifest
from slmesh.mesh.service import Resources
from slmesh.slm.triage.service import Triage

REPOSITORY = Path(__file__).parents[2]
SCALES = ["urgency", "sentiment", "complexity"]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Triage:
    """Return the service as a machine without compiled models runs it."""
    manifest = load_manifest(REPOSITORY / "services/slmesh/slm/triage/service.yaml")
    bundle = load_bundle(find_bundle(manifest.model, [REPOSITORY / "models"]))
    service = Triage()
    service.load(Resources(manifest, bundle, tmp_path_factory.mktemp("cache"), threads=1))
    return service


def value(service: Triage, scale: str, text: str) -> float:
    (response,) = service.answer([ScoreRequest(text=text, scales=[scale])])
    return response.scores.scores[0].value


@pytest.mark.parametrize("scale", SCALES)
def test_the_golden_rows_are_placed_right(service: Triage, scale: str) -> None:
    path = REPOSITORY / "models" / "triage" / "golden.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if row["scale"] == scale]
    requests = [ScoreRequest(text=row["text"], scales=[scale]) for row in rows]
    right = 0
    for response, row in zip(service.answer(requests), rows, strict=True):
        levels = response.scores.scores[0].levels
        right += max(levels, key=lambda level: level.probability).name == row["label"]
    assert right >= 0.8 * len(rows)


def test_all_scales_are_answered_in_the_order_of_the_service(service: Triage) -> None:
    (response,) = service.answer([ScoreRequest(text="my card is gone")])
    assert [score.scale for score in response.scores.scores] == SCALES


@pytest.mark.parametrize(
    ("scale", "lower", "higher"),
    [
        pytest.param(
            "urgency",
            "Thanks, no hurry at all, just a suggestion for some day.",
            "Someone is emptying my account right now, stop it!",
            id="urgency",
        ),
        pytest.param(
            "sentiment", "This is awful and I hate it.", "Wonderful, I love it!", id="sentiment"
        ),
        pytest.param(
            "complexity",
            "Set a timer for ten minutes",
            "Compare three mortgages over twenty years under different interest rates, show the"
            " total cost of each and defend your choice.",
            id="complexity",
        ),
    ],
)
def test_a_scale_orders_clear_cases(service: Triage, scale: str, lower: str, higher: str) -> None:
    assert value(service, scale, lower) < value(service, scale, higher)


def test_an_unknown_scale_names_the_nearest(service: Triage) -> None:
    with pytest.raises(InvalidArgument, match="did you mean 'urgency'") as caught:
        service.check(ScoreRequest(text="x", scales=["urgenci"]))
    assert caught.value.field == "scales[0]"


def test_a_batch_is_answered_like_single_requests(service: Triage) -> None:
    requests = [ScoreRequest(text=text) for text in ("help me now", "thanks", "what is 2 + 2", "")]
    singles = [service.answer([request])[0] for request in requests]
    assert list(service.answer(requests)) == singles
