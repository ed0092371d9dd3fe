"""Reads the rows of an extractor's recipe as texts with their fields.

It knows columns and splits, and no model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from slmesh.mesh.errors import FailedPrecondition
from slmesh.training.recipe import DataFile, Recipe
from slmesh.training.rows import normalised, read_file, split_rows
from slmesh.training.token_rows import SlotText

__all__ = ["read_slot_texts"]

BESIDE = "beside"
"""What a recipe calls data whose fields are learnt beside the extractor's own."""


def read_slot_texts(recipe: Recipe, data_dir: Path) -> tuple[list[SlotText], list[SlotText]]:
    """Return the training and the validation texts; the extractor's own come first.

    Spans stand in the column ``label`` of a file: a list of objects with ``start``, ``end`` and
    ``slot`` or ``label``, or an object of objects with ``span``, by label. A text that is in both is
    taken out of the training texts.

    Raises:
        FailedPrecondition: See ``rows.read_file``; or a span cannot be read, or there is none.
    """
    own: list[SlotText] = []
    beside: list[SlotText] = []
    held: list[SlotText] = []
    for data_set in recipe.data:
        for file in data_set.files:
            train, validation = split_rows(read_file(recipe, file, data_dir), file)
            target = beside if file.kind == BESIDE else own
            target += [_slot_text(row, file, data_set.name) for row in train]
            if file.kind != BESIDE:
                held += [_slot_text(row, file, data_set.name) for row in validation]
    known = {normalised(row.text) for row in held}
    training = [row for row in own + beside if normalised(row.text) not in known]
    if not any(row.spans for row in own) or not any(row.spans for row in held):
        raise FailedPrecondition(
            f"recipe '{recipe.name}': an extractor needs marked texts to train and to validate on",
            reason="INVALID_DATA",
        )
    return training, held


def _slot_text(row: Mapping[str, Any], file: DataFile, source: str) -> SlotText:
    text = str(row[file.text])
    try:
        spans = tuple(sorted(_spans(text, row[file.label]), key=lambda span: span[1:]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FailedPrecondition(
            f"{file.path}: a span of the text '{text:.40}' cannot be read: {error!r}",
            reason="INVALID_DATA",
        ) from error
    asked = tuple(map(str, row.get(file.asked) or ())) if file.asked else ()
    return SlotText(text, spans, asked, str(row.get(file.about) or ""), source)


def _spans(text: str, written: Any) -> Iterator[tuple[str, int, int]]:
    if isinstance(written, Mapping):
        found = [(label, *item["span"]) for label, item in written.items()]
    else:
        found = [
            (item.get("slot") or item["label"], item["start"], item["end"]) for item in written
        ]
    for label, start, end in found:
        start, end = int(start), int(end)
        if not 0 <= start < end <= len(text):
            raise ValueError(f"[{start}, {end}) is no part of the text")
        while start < end and text[start].isspace():
            start += 1
        while end > start and text[end - 1].isspace():
            end -= 1
        if start < end:
            yield str(label), start, end
