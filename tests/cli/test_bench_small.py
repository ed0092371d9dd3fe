"""What the command for small models prints, and what it refuses."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from tests.services import run_slmesh

from slmesh.cli.bench_small import _show

measured = partial(run_slmesh, "bench", "slm", "--json", folder=Path(__file__).parents[2])


def test_every_row_and_ratio_is_printed(capsys) -> None:
    row = {"p50_ms": 1.5, "p99_ms": 2.5, "per_second": 640.0}
    rows = {
        "slmesh, grpc": {1: row, 8: row},
        "a peer, http": {1: row | {"failed": 3}, 8: row},
        "slmesh BatchClassify, grpc": {2: row | {"texts_per_s": 5120.0}},
    }
    tier = {"linear_share": 0.5, "accuracy": 0.9321, "texts_per_s": 1000.0}
    _show(
        {
            "machine": {"cores": 2},
            "intent": {
                "model": "intent 0.2.0",
                "data": ["x"],
                "tiers": {"texts": 9, "tiers": {"cascade": tier}, "cascade_to_encoder": 3.25},
                "curve": [{"linear_share": 0.0, "accuracy": 0.9444}],
            },
            "peers": {
                "linear": {
                    "rows": rows,
                    "ratios": {"in_flight_1": {"times_the_best": 1.75, "best": "a peer, http"}},
                    "left_out": {"other": "cannot be installed"},
                }
            },
        }
    )
    printed = capsys.readouterr().out
    for word in ("cores", "0.9321", "3.25", "0.9444", "a peer, http", "5120", "1.75", "installed"):
        assert word in printed
    lines = [line for line in printed.splitlines() if line.startswith("a peer, http")]
    assert len(lines) == 2
    assert lines[0].split()[-1] == "3"


def test_a_run_of_one_part_is_one_json_object(tmp_path: Path) -> None:
    rows = [{"text": "How do I change my PIN?", "label": "change_pin"}] * 3
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = str(tmp_path / "own.jsonl")
    done = measured("intent", "--only", "tiers", "--rounds", "1", "--data", data)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found["intent"]["tiers"]["tiers"]) == {"cascade", "linear", "encoder"}
    assert found["intent"]["tiers"]["tiers"]["cascade"]["accuracy"] == 1.0
    assert found["targets"]["tiers"]["cascade_to_encoder"] == 3.0


def test_an_unknown_part_is_one_sentence() -> None:
    done = measured("--only", "encodr")
    assert done.returncode == 1
    assert "did you mean 'encoder'" in done.stderr
    assert "Traceback" not in done.stderr
