"""The file formats that can be evaluated on, and how a file is recognised by its columns.

A format is a data set's own columns, or those of this project's golden files. What its rows mean to a
contract is the readers' business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slmesh.evaluation.rows import Row, read_rows
from slmesh.evaluation.splits import OwnSplits, belongs, normalised
from slmesh.mesh.errors import InvalidArgument
from slmesh.mesh.naming import suggestion

__all__ = ["FORMATS", "DataFile", "DataFormat", "group_of", "open_file", "split_of"]

_SNIPS_INTENTS = frozenset(
    {"AddToPlaylist", "BookRestaurant", "GetWeather", "PlayMusic", "RateBook"}
    | {"SearchCreativeWork", "SearchScreeningEvent"}
)


def _is_snips(row: Row) -> bool:
    return row.values.get("intent") in _SNIPS_INTENTS


def _anything(_: Row) -> bool:
    return True


@dataclass(frozen=True)
class DataFormat:
    """One format.

    Attributes:
        name: Its name, for ``--format``.
        columns: Those that tell it; a file may have more.
        contracts: The contracts its rows can be read for.
        splits: Which splits its files are already.
        group: The column of what must not be separated; the text where empty.
        text: The column of the text.
        tells: Tells it from a format with the same columns, by the first row.
    """

    name: str
    columns: frozenset[str]
    contracts: frozenset[str]
    splits: OwnSplits = OwnSplits.NONE
    group: str = ""
    text: str = "text"
    tells: Callable[[Row], bool] = _anything


@dataclass(frozen=True)
class DataFile:
    """A file with its format and its rows."""

    path: Path
    format: DataFormat
    rows: tuple[Row, ...]


def _format(
    name: str,
    columns: str,
    contracts: str,
    splits: OwnSplits = OwnSplits.NONE,
    group: str = "",
    text: str = "text",
    tells: Callable[[Row], bool] = _anything,
) -> DataFormat:
    known = frozenset(columns.split())
    return DataFormat(name, known, frozenset(contracts.split()), splits, group, text, tells)


_ALL, _PARTLY, _TEST = OwnSplits.ALL, OwnSplits.NO_VALIDATION, OwnSplits.TEST_ONLY

FORMATS: Mapping[str, DataFormat] = {
    known.name: known
    for known in (
        _format("clinc150", "text intent domain", "classify guard", _ALL),
        _format("banking77", "text intent", "classify guard", _PARTLY),
        _format("hwu64", "text intent spans", "classify extract guard", _PARTLY),
        _format("snips", "text intent spans", "classify extract guard", _PARTLY, tells=_is_snips),
        _format("restaurant8k", "text requested_slots spans", "extract", _PARTLY),
        _format("wnut17", "tokens tags", "extract", _ALL),
        _format("nlupp", "text domain fold slots", "extract"),
        _format("recognizers_text", "text model reference_datetime results", "extract"),
        _format("presidio_pii", "text template_id spans", "guard", group="template_id"),
        _format("goemotions", "text emotions sentiment", "score classify guard", _ALL),
        _format("gsm8k", "question answer final steps", "score guard", _PARTLY, text="question"),
        _format("purplellama_injection", "text label injection_type variant", "guard"),
        _format("purplellama_frr", "text label attack_type", "guard"),
        _format("jailbreak_prompts", "text label source group", "guard", group="group"),
        _format("bipia_attacks", "kind category attack", "guard", _PARTLY, text="attack"),
        _format("bipia_contexts", "context question ideal", "guard", _PARTLY, text="context"),
        _format("xstest", "text label type focus", "guard", _TEST),
        _format(
            "dstc9_faq",
            "entity_id doc question answer",
            "rank",
            group="entity_id",
            text="question",
        ),
        _format(
            "dstc11_turns",
            "query dialogue_key knowledge_seeking relevant",
            "rank",
            group="dialogue_key",
            text="query",
        ),
        # the passages of dstc11_turns; they belong to every split
        _format("dstc11_knowledge", "doc_id entity_id doc_type text", "rank", _ALL),
        _format("medquad", "question answer qtype focus", "rank", group="focus", text="question"),
        _format("golden_labels", "text label", "classify"),
        _format("golden_levels", "text scale label", "score"),
        _format("golden_fields", "text expected", "extract"),
        _format("golden_findings", "text origin injection personal_data", "guard"),
        _format("golden_questions", "query collection id", "rank", text="query"),
        _format("urgency", "text urgency template", "score"),
        _format("complexity", "text complexity template", "score"),
    )
}
"""Every format by name. The last seven are this project's own."""

_SPLIT_COLUMN = "split"


def open_file(path: Path, format_name: str = "") -> DataFile:
    """Read a file and tell its format, by name or else by the columns of its first row.

    Raises:
        InvalidArgument: The file is wrong, the name is unknown, or no format has such columns.
    """
    if format_name and format_name not in FORMATS:
        raise InvalidArgument(
            f"no format '{format_name}'{suggestion(format_name, FORMATS)}", reason="UNKNOWN_FORMAT"
        )
    rows = read_rows(path)
    if format_name:
        known = FORMATS[format_name]
        missing = sorted(known.columns - rows[0].values.keys())
        if missing:
            raise rows[0].wrong(
                f"the format {format_name} has the columns {', '.join(sorted(known.columns))};"
                f" here is no {', '.join(missing)}"
            )
    else:
        known = _recognised(rows[0])
    return DataFile(path, known, tuple(rows))


def split_of(file: DataFile, split: str) -> tuple[Row, ...]:
    """Return the rows of a file that belong to a split, by the set's group where it has one.

    Raises:
        InvalidArgument: The set has a file for the split, so that no part of this one is it.
    """
    known = file.format
    if split == "all" or known.name == "dstc11_knowledge":
        return file.rows
    if known.splits is OwnSplits.ALL or (
        known.splits is OwnSplits.NO_VALIDATION and split == "test"
    ):
        raise InvalidArgument(
            f"{file.path}: {known.name} comes with a file for its {split} split; name that file and"
            " leave --split out",
            reason="SPLIT_OF_SPLIT",
        )
    return tuple(row for row in file.rows if _in_split(row, known, split))


def _in_split(row: Row, known: DataFormat, split: str) -> bool:
    named = row.values.get(_SPLIT_COLUMN)
    if isinstance(named, str):  # the row says it itself
        return named == split
    return belongs(group_of(row, known), split, known.splits)


def group_of(row: Row, known: DataFormat) -> str:
    """Return what a row must not be separated from.

    Raises:
        InvalidArgument: The row lacks the column.
    """
    if not known.group:
        return normalised(row.text(known.text))
    if known.group not in row.values:
        raise row.wrong(f"there is no column '{known.group}'")
    return str(row.values[known.group])


def _recognised(row: Row) -> DataFormat:
    found = row.values.keys()
    fitting = [known for known in FORMATS.values() if known.columns <= found and known.tells(row)]
    if fitting:
        # the most telling one: a set's own columns before those it shares with others
        return max(fitting, key=lambda known: (len(known.columns), known.tells is not _anything))
    near = max(FORMATS.values(), key=lambda known: _likeness(known.columns, frozenset(found)))
    hint = ""
    if _likeness(near.columns, frozenset(found)) > 0:
        lacking = ", ".join(sorted(near.columns - found))
        hint = f"; the nearest is {near.name}, which also has {lacking}"
    raise InvalidArgument(
        f"{row.place}: no known format has the columns {', '.join(sorted(found)) or '(none)'}"
        f"{hint}; name the format with --format, one of: {', '.join(FORMATS)}",
        reason="UNKNOWN_COLUMNS",
    )


def _likeness(columns: Sequence[str] | frozenset[str], found: frozenset[str]) -> float:
    return len(frozenset(columns) & found) / len(frozenset(columns) | found)
