"""Recipes: what is read, and every way one may be wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from slmesh.mesh.errors import FailedPrecondition, NotFound
from slmesh.training.make import train
from slmesh.training.recipe import load_recipe

REPOSITORY = Path(__file__).parents[2]


def content() -> dict[str, Any]:
    file = {"path": "a.jsonl", "sha256": "0" * 64, "split": "bucket", "kind": "in_scope"}
    data = {
        "name": "set",
        "source": "https://example.org",
        "commit": "abc",
        "licence": "MIT",
        "attribution": "somebody",
        "files": [file],
    }
    return {
        "name": "topics",
        "version": "0.1.0",
        "contract": "classify",
        "seed": 1,
        "description": "Names topics.",
        "data": [data],
        "linear": {},
        "encoder": {},
        "scope": {},
    }


def write(folder: Path, values: Any) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_defaults_are_filled_in(tmp_path: Path) -> None:
    (data_set,) = load_recipe(write(tmp_path, content())).data
    (file,) = data_set.files
    assert (file.text, file.label, file.rows, file.skip) == ("text", "", 0, {})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"sed": 1}, "unknown key 'sed'; did you mean 'seed'", id="misspelt-key"),
        pytest.param({"data": [{"name": "x"}]}, "data set 'x': the key 'source'", id="no-source"),
        pytest.param({"data": [{"name": "x", "licens": "MIT"}]}, "'licence'", id="misspelt-in-set"),
    ],
)
def test_a_wrong_recipe_says_what_is_wrong(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(FailedPrecondition, match=message):
        load_recipe(write(tmp_path, content() | change))


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    values = content()
    del values["seed"]
    with pytest.raises(FailedPrecondition, match="the key 'seed' is missing"):
        load_recipe(write(tmp_path, values))


def test_an_unknown_split_is_named(tmp_path: Path) -> None:
    values = content()
    values["data"][0]["files"][0]["split"] = "test"
    with pytest.raises(FailedPrecondition, match="unknown split 'test'"):
        load_recipe(write(tmp_path, values))


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [", ""], ids=["list", "broken", "empty"])
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(FailedPrecondition, match="recipe"):
        load_recipe(path)


def test_an_unknown_model_names_the_nearest() -> None:
    with pytest.raises(NotFound, match="did you mean 'intent'"):
        train("intents", REPOSITORY / "models", Path("data"), Path("cache"))


@pytest.mark.parametrize("name", ["intent", "assistant", "triage"])
def test_the_recipes_of_the_project_are_complete(name: str) -> None:
    recipe = load_recipe(REPOSITORY / "models" / name / "recipe.yaml")
    assert recipe.name == name
    assert recipe.limits
    for data_set in recipe.data:
        assert data_set.licence
        assert all(len(file.sha256) == 64 for file in data_set.files)
        assert not any("test" in Path(file.path).name for file in data_set.files)
