"""From a file of questions and passages to a service that ranks them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.factory.own_file import AFTER, BEFORE, TOPICS, write_csv

import slmesh
from slmesh.api.rank.v1.rank_pb2 import RankRequest
from slmesh.factory.new_model import Made, Order
from slmesh.factory.new_ranking import make_ranking
from slmesh.factory.table import Columns
from slmesh.mesh.drift import DriftWatch
from slmesh.mesh.errors import InvalidArgument
from slmesh.mesh.settings import Settings
from slmesh.weights.fetch import silent

pytest.importorskip("sklearn")

PASSAGES = {
    "delivery": "Parcels arrive within three working days; the order page shows where yours is.",
    "refund": "Send a purchase back within thirty days and the money returns to your card.",
    "account": "Change your email or password, or delete your account, on the settings page.",
    "praise": "We are glad you like us; reviews help other customers.",
}
PAIRS = [
    (f"{before}{phrase}{after}", PASSAGES[topic])
    for topic, phrases in TOPICS.items()
    for phrase in phrases
    for before in BEFORE
    for after in AFTER
]
COLUMNS = Columns("message", "topic")


def made_from(folder: Path, pairs: list[tuple[str, str]]) -> Made:
    file = write_csv(folder / "faq.csv", pairs)
    order = Order("faq", "rank", file, folder / "services", COLUMNS, backbone="")
    return make_ranking(order, folder / "cache", silent, lambda findings: None)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranking")


@pytest.fixture(scope="module")
def made(home: Path) -> Made:
    return made_from(home, [*PAIRS, ("", PASSAGES["refund"]), PAIRS[0]])


@pytest.fixture
def mesh(made: Made, home: Path):
    settings = Settings(service_path=(home / "services",), state_dir=home / "state")
    with slmesh.Blocking(slmesh.Mesh.local(settings=settings)) as mesh:
        yield mesh


def test_the_passage_that_answers_comes_first_with_its_probability(mesh) -> None:
    request = RankRequest(query="so where is my parcel", collection="faq")
    first = mesh.rank("faq", request).ranking.passages[0]
    assert first.text == PASSAGES["delivery"]
    assert first.probability > 0.5


def test_it_abstains_on_what_no_passage_answers(mesh) -> None:
    request = RankRequest(query="zebra crossing xylophone", collection="faq")
    assert mesh.rank("faq", request).HasField("abstention")


def test_questions_that_measure_are_not_indexed(made: Made) -> None:
    indexed = (made.service_folder / "faq.jsonl").read_text()
    golden = (made.bundle.folder / "golden.jsonl").read_text().splitlines()
    assert len(golden) >= 20
    assert DriftWatch.of(made.bundle) is not None
    assert made.training_rows + made.validation_rows == len(PAIRS)
    assert indexed.count('"id"') == 4


def test_the_card_says_what_was_left_out(made: Made) -> None:
    card = (made.bundle.folder / "card.md").read_text()
    assert "1 row without a question, left out: row 434" in card
    assert "1 row that repeat a pair, left out: row 435" in card


def test_a_question_may_have_two_passages(tmp_path: Path) -> None:
    both = [(text, PASSAGES["praise"]) for text, passage in PAIRS if passage == PASSAGES["refund"]]
    made = made_from(tmp_path, PAIRS + both)
    assert made.bundle.metrics["lexical"]["right_first"] > 0.9


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        pytest.param([(f"q{i}", "the only one") for i in range(99)], "two passages", id="one"),
        pytest.param(PAIRS[100:120] + PAIRS[:5], "25 different questions leave", id="few"),
    ],
)
def test_a_file_nothing_can_be_made_of_is_refused(tmp_path, pairs, message):
    with pytest.raises(InvalidArgument, match=message):
        made_from(tmp_path, pairs)
    assert not (tmp_path / "services").exists()
