"""The passages service: order, abstention, collections, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slmesh.api.rank.v1 import rank_pb2 as pb
from slmesh.api.types.v1 import abstention_pb2
from slmesh.mesh.bundle import load_bundle
from slmesh.mesh.errors import FailedPrecondition, InvalidArgument, MeshError, NotFound
from slmesh.mesh.manifest import Manifest, load_manifest
from slmesh.mesh.service import Resources
from slmesh.slm.passages.collection import read_collection
from slmesh.slm.passages.heads import Heads, load_heads
from slmesh.slm.passages.lexical import LexicalIndex
from slmesh.slm.passages.measure import rank_speed
from slmesh.slm.passages.scoring import load_scorer
from slmesh.slm.passages.service import Passages
from slmesh.tiers.encoder import SentenceEncoder

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "services/slmesh/slm/passages"
BUNDLE = ROOT / "models" / "passages" / "0.2.0"
GOLDEN = [json.loads(line) for line in (BUNDLE / "golden.jsonl").read_text().splitlines()]


def load(manifest: Manifest, cache_dir: Path) -> Passages:
    """Return a loaded service."""
    service = Passages()
    service.load(Resources(manifest, load_bundle(BUNDLE), cache_dir, 1))
    return service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Passages:
    """The service on a machine without a compiled encoder."""
    return load(load_manifest(FOLDER / "service.yaml"), tmp_path_factory.mktemp("cache"))


def rank(service: Passages, query: str, **fields: Any) -> pb.RankResponse:
    """Rank for one query."""
    answer = service.answer([pb.RankRequest(query=query, **fields)])[0]
    assert isinstance(answer, pb.RankResponse), answer
    return answer


def candidates(*texts: str) -> pb.Candidates:
    """Return candidates c0, c1, ..."""
    items = [pb.Candidate(id=f"c{index}", text=text) for index, text in enumerate(texts)]
    return pb.Candidates(candidates=items)


def test_passages_come_in_order_of_falling_score(service: Passages) -> None:
    response = rank(service, "How do I activate my new card?", collection="bank_help", top_k=5)
    scores = [passage.score for passage in response.ranking.passages]
    assert len(scores) == 5
    assert scores == sorted(scores, reverse=True)
    assert response.ranking.passages[0].id == "activate-card"
    assert response.ranking.passages[0].text.startswith("Open the app")


def test_the_answer_names_collection_revision_and_tier(service: Passages) -> None:
    response = rank(service, "How do I change my PIN?", collection="bank_help")
    assert response.collection_revision.startswith("sha256:")
    assert response.provenance.tier == "lexical"
    assert response.provenance.service == "passages"


def test_three_passages_come_when_no_number_is_asked_for(service: Passages) -> None:
    response = rank(service, "How do I activate my new card?", collection="bank_help")
    assert len(response.ranking.passages) == 3


def test_a_passage_scores_as_the_best_of_its_example_questions(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    rows = [
        {"id": "a", "text": "Turn it off and on."},
        {"id": "b", "text": "Wait a day.", "questions": ["Why is my parcel late?", "Lost parcel"]},
        {"id": "c", "text": "Ask the clerk."},
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    collection = read_collection(path, None, "", tmp_path)
    scorer = load_scorer(load_bundle(BUNDLE), "lexical")
    scores = scorer.scores(None, collection.lexical.scores("late parcel"), collection.starts)
    assert scores.shape == (3,)
    assert scores.argmax() == 1


def test_a_collection_that_was_not_calibrated_has_an_order_and_no_probability(
    service: Passages,
) -> None:
    response = rank(service, "How long do I boil an egg?", collection="general_help")
    assert response.ranking.passages[0].id == "boil-eggs"
    assert not response.ranking.passages[0].HasField("probability")


def test_only_the_first_passage_has_a_probability(service: Passages) -> None:
    response = rank(service, "How do I change my PIN?", collection="bank_help")
    assert [passage.HasField("probability") for passage in response.ranking.passages] == [
        True,
        False,
        False,
    ]


def test_candidates_are_ranked_without_a_collection(service: Passages) -> None:
    given = candidates("The museum opens at nine.", "Bake the bread for forty minutes.")
    response = rank(service, "how long do I bake bread", candidates=given)
    assert response.ranking.passages[0].id == "c1"
    assert response.ranking.passages[0].text == ""
    assert response.collection_revision == ""


def test_a_question_that_nothing_fits_is_abstained_from(service: Passages) -> None:
    response = rank(service, "Who composed the opera Aida?", collection="bank_help")
    assert response.abstention.reason == abstention_pb2.ABSTENTION_REASON_LOW_CONFIDENCE
    assert 0 <= response.abstention.confidence < 1


def test_a_query_without_words_is_abstained_from(service: Passages) -> None:
    response = rank(service, " ?! ", collection="bank_help")
    assert response.abstention.reason == abstention_pb2.ABSTENTION_REASON_NO_CONTENT


@pytest.mark.parametrize(
    ("request_", "error", "field", "message"),
    [
        pytest.param(
            pb.RankRequest(query="x", collection="bank_hlp"),
            NotFound,
            None,
            "did you mean 'bank_help'",
            id="unknown-collection",
        ),
        pytest.param(
            pb.RankRequest(query="x"), InvalidArgument, "source", "source", id="no-source"
        ),
        pytest.param(
            pb.RankRequest(query="x", candidates=pb.Candidates()),
            InvalidArgument,
            "candidates.candidates",
            "required",
            id="no-candidate",
        ),
        pytest.param(
            pb.RankRequest(
                query="x",
                candidates=pb.Candidates(candidates=[pb.Candidate(id="a", text="b")] * 2),
            ),
            InvalidArgument,
            "candidates.candidates[1].id",
            "used twice",
            id="duplicate-id",
        ),
        pytest.param(
            pb.RankRequest(query="x", collection="bank_help", top_k=0),
            InvalidArgument,
            "top_k",
            "[1, 100]",
            id="top-k-zero",
        ),
        pytest.param(
            pb.RankRequest(query="x", collection="bank_help", top_k=101),
            InvalidArgument,
            "top_k",
            "[1, 100]",
            id="top-k-too-large",
        ),
    ],
)
def test_a_bad_request_is_refused_and_its_neighbour_answered(
    service: Passages,
    request_: pb.RankRequest,
    error: type[MeshError],
    field: str | None,
    message: str,
) -> None:
    good = pb.RankRequest(query="How do I change my PIN?", collection="bank_help")
    answers = service.answer([good, request_, good])
    assert isinstance(answers[1], error)
    assert answers[1].field == field
    assert message in answers[1].message
    assert answers[0] == answers[2] == service.answer([good])[0]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param("", "holds no passage", id="empty"),
        pytest.param('{"id": "a"}', "line 1: must be an object with id and text", id="no-text"),
        pytest.param("[1]", "line 1: must be an object", id="not-an-object"),
        pytest.param('{"id": 1, "text": "x"}', "line 1: id, title, text", id="number-as-id"),
        pytest.param('{"id": "a", "text": " "}', "line 1: id and text must not", id="blank-text"),
        pytest.param(
            '{"id": "a", "text": "x"}\n{"id": "a", "text": "y"}', "line 2: repeats", id="same-id"
        ),
        pytest.param("{", "line 1: must be an object", id="broken-json"),
    ],
)
def test_a_wrong_collection_is_refused_with_its_line(
    tmp_path: Path, content: str, problem: str
) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text(content)
    with pytest.raises(FailedPrecondition, match=problem.replace("(", r"\(")):
        read_collection(path, None, "", tmp_path)


def test_a_missing_collection_is_refused_at_load(tmp_path: Path) -> None:
    manifest = load_manifest(FOLDER / "service.yaml")
    declared = dataclasses.replace(manifest, options={"collections": {"faq": "no_such.jsonl"}})
    with pytest.raises(FailedPrecondition, match=r"no_such\.jsonl"):
        load(declared, tmp_path)


def test_another_file_is_another_revision(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    revisions = set()
    for text in ("x", "y"):
        path.write_text(json.dumps({"id": "a", "text": text}))
        revisions.add(read_collection(path, None, "", tmp_path).revision)
    assert len(revisions) == 2


def test_words_shared_raise_the_score_within_its_range() -> None:
    scores = LexicalIndex(["cats chase mice", "dogs chase cats", "rain"]).scores("mice and cats")
    assert scores[0] > scores[1] > scores[2] == 0
    assert scores.max() <= 1


def test_a_query_of_stop_words_scores_nothing() -> None:
    assert not LexicalIndex(["cats chase mice"]).scores("what is it").any()


def test_heads_move_a_question_to_its_answer_and_keep_the_length() -> None:
    rows = np.eye(3, dtype=np.float32)
    change = np.zeros((3, 3), np.float32)
    change[0, 1] = 4.0
    moved = Heads(query=change).of_queries(rows)
    assert moved[0] @ rows[1] > 0.95
    assert np.allclose(np.linalg.norm(moved, axis=1), 1)
    assert np.array_equal(moved[1:], rows[1:])


def test_a_bundle_without_heads_changes_nothing() -> None:
    rows = np.eye(3, dtype=np.float32)
    heads = load_heads({"encoder.line": np.zeros(3, np.float32)})
    assert heads.of_queries(rows) is rows
    assert heads.of_passages(rows) is rows


def test_the_shipped_bundle_has_heads_of_the_encoders_size() -> None:
    heads = load_heads(load_bundle(BUNDLE).tensors())
    assert heads.query is not None
    assert heads.passage is not None
    assert heads.query.shape == heads.passage.shape == (384, 384)


def test_every_banking_intent_has_a_passage() -> None:
    rows = [json.loads(line) for line in (FOLDER / "bank_help.jsonl").read_text().splitlines()]
    assert len({intent for row in rows for intent in row["intents"]}) == 77
    assert len({row["id"] for row in rows}) == len(rows)


@pytest.fixture(scope="module")
def compiled_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache folder that has the compiled backbone and nothing else."""
    import os

    cache = Path(os.environ.get("SLMESH_CACHE_DIR", ROOT / ".slmesh/cache"))
    if not (cache / "encoders").is_dir():
        pytest.skip("the backbone is not compiled: run `slmesh models compile`")
    own = tmp_path_factory.mktemp("compiled")
    (own / "encoders").symlink_to((cache / "encoders").resolve())
    return own


def _encoder(cache: Path) -> SentenceEncoder:
    from slmesh.tiers.encoder import load_encoder

    digest = (load_bundle(BUNDLE).backbone or {})["digest"]
    encoder = load_encoder(cache, digest)
    if encoder is None:
        pytest.skip("the backbone is not compiled: run `slmesh models compile`")
    return encoder


@pytest.fixture(scope="module")
def encoding_service(compiled_cache: Path) -> Passages:
    """Return the service with its encoder; skipped where the backbone is not compiled."""
    return load(load_manifest(FOLDER / "service.yaml"), compiled_cache)


@pytest.mark.parametrize("row", GOLDEN, ids=lambda row: row["query"][:40])
def test_every_golden_question_is_answered_as_written(
    encoding_service: Passages, row: dict[str, Any]
) -> None:
    response = rank(encoding_service, row["query"], collection=row["collection"])
    if row["id"] is None:
        assert response.HasField("abstention")
    else:
        assert response.ranking.passages[0].id == row["id"]


def test_the_encoder_tier_is_named(encoding_service: Passages) -> None:
    response = rank(encoding_service, "How do I change my PIN?", collection="bank_help")
    assert response.provenance.tier == "encoder"


def test_meaning_finds_what_no_word_does(encoding_service: Passages) -> None:
    given = candidates("The museum opens at nine.", "Purchases may be returned within two weeks.")
    response = rank(encoding_service, "can I bring an item back to the shop", candidates=given)
    assert response.ranking.passages[0].id == "c1"


def test_batch_and_single_answers_are_the_same(encoding_service: Passages) -> None:
    requests = [
        pb.RankRequest(query=row["query"], collection=row["collection"]) for row in GOLDEN[:8]
    ]
    assert encoding_service.answer(requests) == [
        encoding_service.answer([request])[0] for request in requests
    ]


def test_speed_is_measured_through_the_service(compiled_cache: Path) -> None:
    speed = rank_speed(load_bundle(BUNDLE), compiled_cache, 50)
    assert speed["encode_ms"] > 0
    assert 0 < speed["rank_ms"] <= speed["rank_p99_ms"]


def test_a_long_query_says_where_reading_stopped(encoding_service: Passages) -> None:
    query = "How do I change my PIN? " * 100
    response = rank(encoding_service, query, collection="bank_help")
    assert 0 < response.truncated_at < len(query)


def test_vectors_are_kept_and_a_damaged_file_is_made_anew(
    tmp_path: Path, compiled_cache: Path
) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text(json.dumps({"id": "a", "text": "x"}))
    encoder = _encoder(compiled_cache)
    first = read_collection(path, encoder, "sha256:0", tmp_path)
    [kept] = (tmp_path / "passages").iterdir()
    kept.write_bytes(b"broken")
    again = read_collection(path, encoder, "sha256:0", tmp_path)
    assert first.vectors is not None
    assert again.vectors is not None
    assert np.array_equal(first.vectors, again.vectors)
