"""What is said of a user's rows before they train, and which of them train."""

from __future__ import annotations

import pytest

from slmesh.factory.inspection import Inspected, inspect
from slmesh.factory.table import TableRow
from slmesh.mesh.errors import InvalidArgument
from slmesh.training.rows import bucket


def rows_of(count: int = 120, split: str = "") -> list[TableRow]:
    """Return rows of two labels, numbered from 2."""
    return [
        TableRow(i + 2, f"words of row {i}", "even" if i % 2 == 0 else "odd", split)
        for i in range(count)
    ]


def finding(inspected: Inspected, kind: str) -> str:
    (found,) = [f for f in inspected.findings if f.kind == kind]
    return found.message


def test_good_rows_are_split_by_the_bucket_of_their_text():
    inspected = inspect(rows_of(1500), "a.csv")
    assert inspected.buckets == (7,)
    assert {bucket(row.text) for row in inspected.validation} == {7}
    assert len(inspected.train) + len(inspected.validation) == 1500
    assert inspected.findings == ()


def test_few_rows_validate_with_more_buckets_and_it_is_said():
    inspected = inspect(rows_of(120), "a.csv")
    assert inspected.buckets == (7, 8, 9)
    assert f"{len(inspected.validation)} rows validate" in finding(inspected, "few-validation-rows")


ADDED = [
    pytest.param("empty-text", [TableRow(900, " ", "odd")], "900", id="empty"),
    pytest.param("no-label", [TableRow(900, "a b", "")], "900", id="unlabelled"),
    pytest.param("duplicates", [TableRow(900, "Words  of row 3", "odd")], "900", id="duplicate"),
    pytest.param(
        "conflicting-labels", [TableRow(900, "words of row 3", "even")], "5, 900", id="torn"
    ),
    pytest.param("few-rows", [TableRow(900, "rare", "rare")], "900", id="few"),
    pytest.param(
        "similar-labels", [TableRow(900 + i, f"n{i}", "Odd") for i in range(6)], "900", id="case"
    ),
    pytest.param("other-split", [TableRow(900, "new", "odd", "test")], "900", id="test-split"),
]


@pytest.mark.parametrize(("kind", "added", "numbers"), ADDED)
def test_a_finding_names_its_rows(kind, added, numbers):
    assert numbers in finding(inspect(rows_of() + added, "a.csv"), kind)


def test_many_rows_are_counted_and_the_first_named():
    added = [TableRow(900 + i, "", "odd") for i in range(40)]
    message = finding(inspect(rows_of() + added, "a.csv"), "empty-text")
    assert message == "40 rows without a text, left out: rows 900, 901, 902, 903, 904, ..."


def test_a_text_under_two_labels_neither_trains_nor_validates():
    inspected = inspect([*rows_of(), TableRow(900, "Words of row 3", "even")], "a.csv")
    texts = {row.text.lower() for row in inspected.train + inspected.validation}
    assert "words of row 3" not in texts


def test_a_split_of_the_files_own_is_kept_and_its_leaks_are_left_out():
    held = [
        TableRow(500 + i, f"held row {i}", "odd" if i % 2 else "even", "dev") for i in range(20)
    ]
    leak = TableRow(900, "Held row 4", "even", "train")
    inspected = inspect([*rows_of(split="train"), *held, leak], "a.csv")
    assert list(inspected.validation) == held
    assert leak not in inspected.train
    assert "row 900" in finding(inspected, "split-leakage")


def test_every_label_trains():
    single = next(f"lone {i}" for i in range(99) if bucket(f"lone {i}") == 7)
    inspected = inspect([*rows_of(), TableRow(900, single, "lone")], "a.csv")
    assert "lone" in {row.label for row in inspected.train}
    assert "900" in finding(inspected, "no-training-row")


def test_rows_out_of_scope_are_no_label():
    added = [TableRow(900 + i, f"elsewhere {i}", "other") for i in range(60)]
    inspected = inspect(rows_of() + added, "a.csv", outside_label="other")
    assert "other" not in {row.label for row in inspected.train + inspected.validation}
    assert len(inspected.outside) + len(inspected.held_outside) == 60


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        pytest.param(
            [TableRow(2, "a", "x"), TableRow(3, "b", "x")],
            "two labels or more.*'x'.*row 2",
            id="one-class",
        ),
        pytest.param([TableRow(2, "", "x")], "two labels or more", id="nothing-usable"),
        pytest.param(rows_of(12), "12 usable rows leave", id="too-few"),
    ],
)
def test_rows_nothing_can_be_made_of_are_refused(rows, message):
    with pytest.raises(InvalidArgument, match=message) as caught:
        inspect(rows, "a.csv")
    assert "a.csv" in caught.value.message
