"""Reading rows: splits that never mix, and files that are not as expected."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.training.test_recipe import content, write

from slmesh.mesh.bundle import digest_of
from slmesh.mesh.errors import FailedPrecondition
from slmesh.training.recipe import Recipe, load_recipe
from slmesh.training.rows import bucket, normalised, read_file, read_labelled, validates

ROWS = [{"text": f"text number {i}", "label": "odd" if i % 2 else "even"} for i in range(200)]


def recipe_of(folder: Path, content_rows: list[dict[str, Any]], **file: Any) -> Recipe:
    """Write rows beside a recipe that names them, and return it."""
    path = folder / file.pop("path", "rows.jsonl")
    raw = "\n".join(json.dumps(row, ensure_ascii=False) for row in content_rows).encode()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    values = content()
    values["data"][0]["files"] = [
        {
            "path": path.name,
            "sha256": digest_of(path).removeprefix("sha256:"),
            "split": "bucket",
            "kind": "in_scope",
            "label": "label",
        }
        | file
    ]
    return load_recipe(write(folder, values))


def test_the_validation_rows_are_bucket_seven(tmp_path: Path) -> None:
    train, held = read_labelled(recipe_of(tmp_path, ROWS), tmp_path)
    assert len(train.texts) + len(held.texts) == 200
    assert {bucket(normalised(text)) for text in held.texts} == {7}
    assert 7 not in {bucket(normalised(text)) for text in train.texts}


def test_spacing_and_case_do_not_move_a_text_between_splits() -> None:
    assert validates("Where is  my card") == validates("where is my CARD")


def test_a_text_that_validates_is_not_trained_on(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, ROWS)
    file = recipe.data[0].files[0]
    both = replace(recipe.data[0], files=(file, replace(file, split="validation")))
    with pytest.raises(FailedPrecondition, match="two labels or more"):
        read_labelled(replace(recipe, data=(both,)), tmp_path)


def test_compressed_rows_are_read(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, ROWS, path="rows.jsonl.gz")
    assert len(read_file(recipe, recipe.data[0].files[0], tmp_path)) == 200


def test_rows_with_a_skipped_value_are_left_out(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, ROWS, skip={"label": ["odd"]})
    rows = read_file(recipe, recipe.data[0].files[0], tmp_path)
    assert {row["label"] for row in rows} == {"even"}


def test_the_same_rows_are_drawn_every_time(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, ROWS, rows=20)
    first, again = (read_file(recipe, recipe.data[0].files[0], tmp_path) for _ in range(2))
    assert first == again
    assert len(first) == 20


def test_a_line_separator_inside_a_text_does_not_end_the_row(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, [{"text": "one\u2028two\u0085three", "label": "x"}])
    assert len(read_file(recipe, recipe.data[0].files[0], tmp_path)) == 1


def test_texts_out_of_scope_have_no_label(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, ROWS)
    file = recipe.data[0].files[0]
    outside = replace(file, kind="out_of_scope", skip={"label": ["even"]})
    inside = replace(file, split="train")
    data_set = replace(recipe.data[0], files=(inside, outside))
    train, held = read_labelled(replace(recipe, data=(data_set,)), tmp_path)
    assert len(train.outside) + len(held.outside) == 100
    assert not held.texts


def test_a_changed_file_is_refused_with_both_digests(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, ROWS)
    (tmp_path / "rows.jsonl").write_text("{}")
    with pytest.raises(FailedPrecondition, match=r"expected sha256:.*found sha256:"):
        read_labelled(recipe, tmp_path)


def test_a_missing_file_names_the_option(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="--data-dir"):
        read_labelled(recipe_of(tmp_path, ROWS), tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        pytest.param([*ROWS[:2], {"text": "x"}], "row 3: no column 'label'", id="no-label"),
        pytest.param([{"txt": "x", "label": "y"}], "row 1: no column 'text'", id="no-text"),
        pytest.param(ROWS[::2], "two labels or more", id="one-label"),
    ],
)
def test_wrong_rows_are_named(tmp_path: Path, rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(FailedPrecondition, match=message):
        read_labelled(recipe_of(tmp_path, rows), tmp_path)


def test_a_row_that_is_no_json_is_named(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, ROWS)
    (tmp_path / "rows.jsonl").write_text('{"text": "a", "label": "b"}\n{"text": \n')
    digest = digest_of(tmp_path / "rows.jsonl").removeprefix("sha256:")
    file = replace(recipe.data[0].files[0], sha256=digest)
    with pytest.raises(FailedPrecondition, match="row 2: not JSON"):
        read_file(recipe, file, tmp_path)


def test_a_file_in_another_encoding_is_named_with_its_row(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, ROWS)
    path = tmp_path / "rows.jsonl"
    path.write_bytes(path.read_bytes() + '\n{"text": "café", "label": "odd"}'.encode("latin-1"))
    digest = digest_of(path).removeprefix("sha256:")
    file = replace(recipe.data[0].files[0], sha256=digest)
    with pytest.raises(FailedPrecondition, match=r"rows\.jsonl, row 201: byte 0xe9 is not UTF-8"):
        read_file(recipe, file, tmp_path)
