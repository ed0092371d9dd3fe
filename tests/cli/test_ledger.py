"""The ledger's commands over a ledger with a few records, and how a decision is drawn."""

from __future__ import annotations

import json
import time

import pytest
from google.protobuf.duration_pb2 import Duration
from pyarrow import parquet
from tests.ledger.conftest import make_record
from typer.testing import CliRunner

from slmesh.api.route.v1 import route_pb2
from slmesh.cli.app import app
from slmesh.cli.explaining import paths_not_taken, waterfall
from slmesh.ledger.database import Database, Filter, database_url
from slmesh.ledger.rows import read_record, row_of
from slmesh.mesh.errors import FailedPrecondition, InvalidArgument, MeshError, NotFound


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return the ledger's folder of a state with three records."""
    monkeypatch.setenv("SLMESH_STATE_DIR", str(tmp_path))
    folder = tmp_path / "ledger"
    folder.mkdir()
    database = Database(database_url("", folder))
    database.prepare()
    now_s = time.time()
    records = [
        full_record(1, tenant="acme", created_s=now_s - 30, subject="ann"),
        full_record(2, tenant="acme", flow="other", created_s=now_s - 20),
        full_record(3, tenant="zeta", created_s=now_s - 10, path=route_pb2.PATH_ESCALATED),
    ]
    database.insert([row_of(payload) for payload in records])
    database.close()
    return folder


def full_record(name, **values):
    record = read_record(make_record(name, **values))
    decision = record.explanation.decision
    decision.latency.FromMilliseconds(100)
    step = decision.steps.add(name="intent", service="intent", state=1)
    step.start_offset.FromMilliseconds(10)
    step.latency.FromMilliseconds(50)
    answer = step.signal.classification
    answer.labels.labels.add(name="card_arrival", probability=0.93)
    answer.provenance.model, answer.provenance.version = "intent", "0.2.0"
    answer.provenance.digest = "sha256:" + "ab" * 32
    record.explanation.conditions.add(
        code="INTENT_UNCERTAIN", step="intent", quantity="probability", value=0.93, threshold=0.6,
        path=route_pb2.PATH_ESCALATED, threshold_source="flow desk, escalate_when[0]",
    )  # fmt: skip
    return record.SerializeToString()


def run(*arguments):
    result = CliRunner().invoke(app, ["ledger", *arguments])
    if isinstance(result.exception, MeshError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_decisions_are_listed_newest_first(folder):
    rows = [json.loads(line) for line in run("list", "--json").splitlines()]
    assert [row["decision_id"] for row in rows] == ["d3", "d2", "d1"]
    assert "record" not in rows[0]
    shown = run("list", "--tenant", "acme", "--limit", "1")
    assert "1 of 2 decisions" in shown
    assert "d2" in shown


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (("--flow", "other"), ["d2"]),
        (("--path", "escalated"), ["d3"]),
        (("--since", "2000-01-01"), ["d3", "d2", "d1"]),
        (("--before", "2000-01-01T10:00+02:00"), []),
    ],
)
def test_a_filter_chooses(folder, arguments, names):
    rows = [json.loads(line) for line in run("list", "--json", *arguments).splitlines()]
    assert [row["decision_id"] for row in rows] == names


def test_a_record_is_shown_with_who_said_what_and_why(folder):
    shown = run("show", "d1")
    for text in (
        "where is it",
        "card_arrival 0.93",
        "0.2.0",
        "abababab",
        "escalate_when[0]",
        "acme",
    ):
        assert text in shown, text
    record = json.loads(run("show", "d1", "--json"))
    assert record["request"]["text"] == "where is it"


def test_what_is_not_recorded_is_not_found(folder):
    with pytest.raises(NotFound):
        run("show", "nothing")


def test_records_are_exported_as_parquet(folder, tmp_path):
    file = tmp_path / "out.parquet"
    run("export", str(file))
    rows = parquet.read_table(file).to_pylist()
    assert [row["decision_id"] for row in rows] == ["d3", "d2", "d1"]
    (step,) = rows[0]["steps"]
    assert (step["model"], step["first"], step["latency_ms"]) == ("intent", "card_arrival", 50.0)
    assert step["probability"] == pytest.approx(0.93)
    assert rows[0]["conditions"][0]["threshold"] == 0.6
    assert rows[0]["text"] == "where is it"


def test_records_are_exported_as_json_lines(folder, tmp_path):
    file = tmp_path / "out.jsonl"
    run("export", str(file), "--tenant", "acme")
    records = [json.loads(line) for line in file.read_text().splitlines()]
    assert [one["explanation"]["decision"]["decision_id"] for one in records] == ["d2", "d1"]


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        pytest.param(("export", "out.csv"), InvalidArgument, id="format"),
        pytest.param(("export", "/nowhere/out.jsonl"), FailedPrecondition, id="no-folder"),
        pytest.param(("list", "--since", "yesterday"), InvalidArgument, id="time"),
        pytest.param(("delete", "--subject", ""), InvalidArgument, id="no-subject"),
    ],
)
def test_bad_input_is_told(folder, arguments, kind):
    with pytest.raises(kind):
        run(*arguments)


def test_there_is_a_word_where_there_is_no_ledger(tmp_path, monkeypatch):
    monkeypatch.setenv("SLMESH_STATE_DIR", str(tmp_path / "empty"))
    with pytest.raises(FailedPrecondition) as caught:
        run("list")
    assert caught.value.reason == "NO_LEDGER"
    assert not (tmp_path / "empty").exists()


def test_a_subject_is_deleted_for_its_tenant_only(folder):
    assert "0 records" in run("delete", "--subject", "ann")
    assert "1 records" in run("delete", "--subject", "ann", "--tenant", "acme")
    database = Database(database_url("", folder))
    assert database.count(Filter()) == 2
    database.close()


def decided(path, **fields):
    return route_pb2.ExplainResponse(decision=route_pb2.Decision(path=path, **fields))


def milliseconds(count):
    found = Duration()
    found.FromMilliseconds(count)
    return found


def test_bars_stand_where_the_steps_ran():
    decision = route_pb2.Decision(latency=milliseconds(100))
    for name, start, took in (("guard", 0, 25), ("intent", 25, 50), ("never", None, None)):
        step = decision.steps.add(name=name)
        if start is not None:
            step.start_offset.CopyFrom(milliseconds(start))
            step.latency.CopyFrom(milliseconds(took))
    first, second, last = waterfall(decision)
    bars = [line.split("│")[1] for line in (first, second)]
    assert bars[0] == "█" * 12 + " " * 36
    assert bars[1] == " " * 12 + "█" * 24 + " " * 12
    assert first.startswith("guard ")
    assert second.endswith("25.0 + 50.0 ms")
    assert "100.0 ms in all" in last


def test_a_step_without_any_time_still_shows():
    decision = route_pb2.Decision(latency=milliseconds(0))
    decision.steps.add(name="x", start_offset=milliseconds(0), latency=milliseconds(0))
    bar = waterfall(decision)[0].split("│")[1]
    assert bar.strip()
    assert len(bar) == 48


def test_a_path_that_was_not_taken_says_why():
    explained = decided(route_pb2.PATH_SMALL)
    explained.conditions.add(
        code="INJECTION", step="guard", quantity="finding", value=0.1, threshold=0.5,
        path=route_pb2.PATH_REFUSED,
    )  # fmt: skip
    why = dict(paths_not_taken(explained))
    assert set(why) == {"refused", "escalated", "fallback"}
    assert why["refused"] == "no rule held: INJECTION (guard finding 0.100 against 0.5)"
    assert "no rule" in why["escalated"]


def test_a_rule_that_held_in_vain_is_told():
    explained = decided(route_pb2.PATH_FALLBACK)
    explained.decision.degradations.add(code="REASONER_UNAVAILABLE")
    explained.conditions.add(code="UNSURE", held=True, path=route_pb2.PATH_ESCALATED)
    explained.decision.reasons.add(code="UNSURE")
    why = dict(paths_not_taken(explained))
    assert why["escalated"] == "UNSURE asked for it, but REASONER_UNAVAILABLE"
    assert why["small"] == "UNSURE"
