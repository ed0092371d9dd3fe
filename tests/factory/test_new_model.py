"""From a file to a service that answers, by the call and by the command."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from tests.factory.own_file import OUTSIDE, rows_of_topics, write_csv
from tests.services import run_slmesh

import slmesh
from slmesh.api.classify.v1.classify_pb2 import ClassifyRequest
from slmesh.api.score.v1.score_pb2 import ScoreRequest
from slmesh.factory.new_model import Made, Order, make_service
from slmesh.mesh.bundle import load_bundle
from slmesh.mesh.errors import FailedPrecondition, InvalidArgument
from slmesh.mesh.settings import Settings
from slmesh.tiers.encoder import COMPILED_FILE, encoder_folder
from slmesh.training.make import train
from slmesh.weights.fetch import silent
from slmesh.weights.sources import MINILM, SOURCES

pytest.importorskip("sklearn")

_DIGEST = "sha256:" + SOURCES[MINILM].files[0].sha256
CACHE = Path(__file__).parents[2] / ".slmesh" / "cache"


def made_from(folder: Path, file: Path, contract: str = "classify", **values: object) -> Made:
    order = Order("topics", contract, file, folder / "services", backbone="", **values)
    return make_service(order, folder / "cache", silent, lambda findings: None)


def mesh_over(folder: Path) -> slmesh.Blocking:
    settings = Settings(service_path=(folder / "services",), state_dir=folder / "state")
    return slmesh.Blocking(slmesh.Mesh.local(settings=settings))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("own")


@pytest.fixture(scope="module")
def made(home: Path) -> Made:
    rows = [*rows_of_topics(), *((text, "none") for text in OUTSIDE), ("", "refund")]
    file = write_csv(home / "my.csv", rows)
    return made_from(home, file, outside_label="none", licence="CC0-1.0")


def test_the_service_answers_in_a_mesh(made: Made, home: Path) -> None:
    with mesh_over(home) as mesh:
        answer = mesh.classify("topics", ClassifyRequest(text="where has my parcel gone"))
        assert answer.labels.labels[0].name == "delivery"
        assert answer.provenance.digest == made.bundle.digest


def test_the_service_abstains_on_what_the_file_has_out_of_scope(made: Made, home: Path) -> None:
    with mesh_over(home) as mesh:
        answer = mesh.classify("topics", ClassifyRequest(text="who was the king of sweden"))
        assert answer.HasField("abstention")


def test_the_bundle_and_the_card_say_where_they_come_from(made: Made) -> None:
    card = (made.bundle.folder / "card.md").read_text()
    for words in ("my.csv", "CC0-1.0", "1 row without a text, left out: row 466"):
        assert words in card
    assert made.bundle.content["data"][0]["commit"].startswith("sha256:")
    assert made.bundle.labels == ("account", "delivery", "praise", "refund")


def test_golden_rows_are_of_every_label(made: Made) -> None:
    text = (made.bundle.folder / "golden.jsonl").read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    assert len(rows) >= 20
    assert {row["label"] for row in rows} == set(made.bundle.labels)


def test_the_recipe_makes_the_same_weights_again(made: Made, home: Path) -> None:
    before = made.bundle.content["files"]["weights.safetensors"]
    models = home / "services" / "models"
    again = train("topics", models, models, home / "cache")
    assert again.content["files"]["weights.safetensors"] == before


def test_a_second_file_makes_a_newer_version_and_keeps_the_services_code(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "my.csv", rows_of_topics())
    first = made_from(tmp_path, file)
    code = first.service_folder / "service.py"
    code.write_text(code.read_text() + "# changed\n")
    second = made_from(tmp_path, write_csv(tmp_path / "more.csv", rows_of_topics()[:-30]))
    assert (first.bundle.version, second.bundle.version) == ("0.1.0", "0.2.0")
    assert code.read_text().endswith("# changed\n")
    assert load_bundle(first.bundle.folder)


def test_a_scale_is_made_of_levels_in_their_order(tmp_path: Path) -> None:
    places = {"praise": "1", "account": "2", "delivery": "3", "refund": "10"}
    rows = [(text, places[topic]) for text, topic in rows_of_topics()]
    made_from(tmp_path, write_csv(tmp_path / "my.csv", rows), "score")
    with mesh_over(tmp_path) as mesh:
        answer = mesh.score("topics", ScoreRequest(text="please refund my purchase"))
    (score,) = answer.scores.scores
    assert [level.name for level in score.levels] == ["1", "2", "3", "10"]
    assert score.value > 0.8


def test_levels_that_are_no_numbers_need_an_order(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "my.csv", rows_of_topics())
    with pytest.raises(InvalidArgument, match="--levels, lowest first"):
        made_from(tmp_path, file, "score")
    with pytest.raises(InvalidArgument, match="'refund' occurs"):
        made_from(tmp_path, file, "score", levels=("praise", "account", "delivery"))


def test_a_name_that_is_taken_by_another_contract_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "services" / "topics"
    folder.mkdir(parents=True)
    manifest = {"name": "topics", "contract": "rank", "class": "Topics"}
    (folder / "service.yaml").write_text(yaml.safe_dump(manifest))
    with pytest.raises(FailedPrecondition, match="contract rank"):
        made_from(tmp_path, tmp_path / "none.csv")


def test_a_name_that_is_no_name_is_refused_before_the_file_is_read(tmp_path: Path) -> None:
    order = Order("My Topics", "classify", tmp_path / "none.csv", tmp_path, backbone="")
    with pytest.raises(FailedPrecondition, match="DNS label"):
        make_service(order, tmp_path, silent, lambda findings: None)


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    settings = {"SLMESH_CACHE_DIR": str(CACHE), "SLMESH_SERVICE_PATH": "my_services"}
    return run_slmesh(*arguments, folder=folder, **settings)


def test_one_command_makes_a_service_that_another_command_calls(tmp_path: Path) -> None:
    write_csv(tmp_path / "my.csv", rows_of_topics())
    compiled = encoder_folder(CACHE, _DIGEST).joinpath(COMPILED_FILE).is_file()
    tiers = () if compiled else ("--linear-only",)
    done = command(tmp_path, "new", "classify", "topics", "--data", "my.csv", *tiers)
    assert done.returncode == 0, done.stderr
    assert "slmesh classify topics" in done.stdout
    asked = command(tmp_path, "classify", "topics", "my parcel never arrived", "--local")
    assert asked.stdout.startswith("delivery"), asked.stderr
    assert not compiled or load_bundle(tmp_path / "my_services/models/topics/0.1.0").tiers == (
        "linear",
        "encoder",
    )


def test_commands_train_calibrate_and_describe_what_was_made(tmp_path: Path) -> None:
    write_csv(tmp_path / "my.csv", rows_of_topics())
    options = ("--models-dir", "my_services/models", "--json")
    command(tmp_path, "new", "classify", "topics", "--data", "my.csv", "--linear-only")
    versions = {
        name: json.loads(command(tmp_path, name, "topics", *options).stdout)["version"]
        for name in ("train", "calibrate", "card")
    }
    assert versions == {"train": "0.1.0", "calibrate": "0.1.1", "card": "0.1.1"}
    own = command(tmp_path, "calibrate", "topics", *options, "--data", "my.csv")
    assert json.loads(own.stdout)["version"] == "0.1.2"


def test_the_command_explains_a_wrong_file_and_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "my.csv").write_text("text,label\n" + "hello,greeting\n" * 30)
    done = command(tmp_path, "new", "classify", "topics", "--data", "my.csv", "--linear-only")
    assert done.returncode == 1
    assert "two labels or more" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "my_services").exists()
