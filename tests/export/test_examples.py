"""The examples of exported folders, run by Python and by Node, beside the services they came from."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import slmesh
from slmesh.api.classify.v1.classify_pb2 import ClassifyRequest
from slmesh.api.score.v1.score_pb2 import ScoreRequest
from slmesh.export import export_service
from slmesh.export.folder import TOLERANCE
from slmesh.mesh.bundle import digest_of
from slmesh.mesh.catalog import discover
from slmesh.mesh.errors import InvalidArgument
from slmesh.mesh.settings import load_settings

ROOT = Path(__file__).parents[2]
SETTINGS = load_settings({"SLMESH_CACHE_DIR": str(ROOT / ".slmesh" / "cache")})
SERVICES = ("intent", "triage")
ODD = [
    "",
    " \t\n",
    "?",
    "😀👩‍👩‍👧‍👦🏳️‍🌈 my card 💳",
    "كيف يمكنني تغيير الرقم السري",
    "זה טקסט בעברית עם נִקּוּד",
    "How do I get مرحبا 世界 money back?",
    "ΣΊΣΥΦΟΣ İstanbul straße ﬁ ſ naïve",
    "1½ ² ③ Ⅷ 漢字 don’t “quote”—dash…",
    "a\u200bb\u00adc\ufeffd\x00e\x1cf\x85g",
    "x" * 150,
    "My card has not arrived yet. " * 200,
    "transfer 😀 " * 9_000,
]
TEXTS = [
    *ODD,
    "How do I change my PIN?",
    "My card has not arrived yet",
    "I was charged twice for the same ticket, can you help?",
    "URGENT: somebody is emptying my account right now",
    "What is a good recipe for lasagne?",
    "why",
    "could you check whether the transfer i made on monday has gone through, and cancel it if not",
]
_UNREACHABLE = ("ENOTFOUND", "ECONNREFUSED", "ETIMEDOUT", "EAI_AGAIN", "ECONNRESET", "ENETUNREACH")

Answer = dict[str, Any]


@pytest.fixture(scope="module", params=SERVICES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("export") / name
    return export_service(discover(SETTINGS)[name], SETTINGS, target).folder


@pytest.fixture(scope="module")
def served(name: str, folder: Path) -> list[Answer]:
    """Return the service's answers in the examples' form; it has the encoder the folder has."""
    with slmesh.Blocking(slmesh.Mesh.local(settings=SETTINGS)) as mesh:
        return [_asked(mesh, name, text) for text in TEXTS]


def _asked(mesh: Any, name: str, text: str) -> Answer:
    try:
        if name == "triage":
            response = mesh.score(name, ScoreRequest(text=text))
            scores = {
                score.scale: {level.name: level.probability for level in score.levels}
                for score in response.scores.scores
            }
            return {scale: {"probabilities": levels} for scale, levels in scores.items()}
        response = mesh.classify(name, ClassifyRequest(text=text, top_k=100))
    except InvalidArgument:  # the service refuses a text of nothing at all
        return {}
    abstains = response.HasField("abstention")
    labels = response.nearest if abstains else response.labels.labels
    named = {label.name: label.probability for label in labels}
    tier = response.provenance.tier
    return {"label": {"tier": tier, "abstains": abstains, "probabilities": named}} if named else {}


def test_the_texts_are_answered_by_both_tiers_and_some_are_abstained(name, served) -> None:
    if name == "triage":
        pytest.skip("the score contract names one tier for all scales and never abstains")
    answers = [answer["label"] for answer in served if answer]
    assert {answer["tier"] for answer in answers} == {"linear", "encoder"}
    assert {answer["abstains"] for answer in answers} == {True, False}


PYTHON = """
import json, sys
sys.path.insert(0, ".")
from pathlib import Path
from example import Model
model = Model(Path("."))
print(json.dumps([model.answer(text) for text in json.load(sys.stdin)]))
assert not [name for name in sys.modules if name.startswith("slmesh")]
"""

JAVASCRIPT = """
import { readFileSync } from "node:fs";
import { Model } from "./example.mjs";
const model = await Model.load("./");
const answers = [];
for (const text of JSON.parse(readFileSync(0, "utf8"))) answers.push(await model.answer(text));
console.log(JSON.stringify(answers));
"""


def test_python_answers_as_the_service(folder: Path, served: list[Answer]) -> None:
    found = _answers([sys.executable, "-I", "-c", PYTHON], folder)
    _assert_same(found, served)


def test_javascript_answers_as_the_service(folder: Path, served: list[Answer]) -> None:
    _link_packages(folder)
    (folder / "ask.mjs").write_text(JAVASCRIPT)
    found = _answers(["node", "ask.mjs"], folder)
    _assert_same(found, served)


def test_both_print_a_line_for_each_argument(folder: Path) -> None:
    _link_packages(folder)
    commands = ([sys.executable, "example.py"], ["node", "example.mjs"])
    printed = [
        subprocess.run(
            [*command, "How do I change my PIN?", ""],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout
        for command in commands
    ]
    python, javascript = ([json.loads(line) for line in text.splitlines()] for text in printed)
    assert len(python) == 2
    assert python[1] == javascript[1] == {}
    assert list(python[0]) == list(javascript[0])


def _answers(command: list[str], folder: Path) -> list[Answer]:
    done = subprocess.run(
        command, cwd=folder, input=json.dumps(TEXTS), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _assert_same(found: list[Answer], served: list[Answer]) -> None:
    for text, answer, expected in zip(TEXTS, found, served, strict=True):
        assert list(answer) == list(expected), f"{text[:40]!r}: {answer}"
        for scale, truth in expected.items():
            own = answer[scale]
            probabilities = truth.pop("probabilities")
            assert truth.items() <= own.items(), text[:40]
            top = max(own["probabilities"], key=own["probabilities"].get)
            assert top == max(probabilities, key=probabilities.get), text[:40]
            for label, probability in probabilities.items():
                assert abs(own["probabilities"][label] - probability) <= TOLERANCE, text[:40]
            truth["probabilities"] = probabilities


def _link_packages(folder: Path) -> None:
    """Install the npm packages once into the cache, and link them; skip where that cannot be."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    wanted = folder / "package.json"
    cache = ROOT / ".slmesh" / "cache" / "npm" / digest_of(wanted)[7:19]
    if not (cache / "installed").is_file():
        cache.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(wanted, cache / "package.json")
        command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=cache, capture_output=True, text=True, timeout=600)
        if any(word in done.stderr for word in _UNREACHABLE):
            pytest.skip("npm's registry is not reachable")
        assert done.returncode == 0, done.stderr
        (cache / "installed").touch()
    if not (folder / "node_modules").exists():
        (folder / "node_modules").symlink_to(cache / "node_modules")
