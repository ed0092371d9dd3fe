"""Compares our rules with other libraries on the same spans of Recognizers-Text.

``python -m slmesh.evaluation.fields_compare --data FILE [--split validation]``: every reader is given
the span alone and the row's reference time, and says what it is worth (telephone numbers and e-mail
addresses are looked for in the whole text, for their value is what is written); printed are the
share of exact values by type, with the rows that are specific to the engine and without, and the
median time a span. Libraries that are not installed are left out: dateparser, text2num, word2number,
price-parser and recognizers-text-suite (with emoji 1) are needed for nothing else.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import typer

from slmesh.api.extract.v1.extract_pb2 import ExtractRequest
from slmesh.evaluation.field_values import recognizers_readings
from slmesh.evaluation.fields import field_cases
from slmesh.evaluation.formats import open_file, split_of
from slmesh.evaluation.splits import SPLITS
from slmesh.evaluation.subject import Subject, subject_of
from slmesh.evaluation.values import UNRESOLVED, number_reading, readings
from slmesh.mesh.manifest import load_manifest
from slmesh.mesh.settings import load_settings
from slmesh.recognise import Context, recognise
from slmesh.slm.entities.fields import FieldSets, fields_of

__all__ = ["MANIFEST", "Span", "main", "readers"]

_LOCALE = "en-US"
_FOUND = frozenset({"phone", "email"})
"""Types whose values are what is written: the question is where, and the whole text is given."""
MANIFEST = Path(__file__).parents[1] / "slm" / "entities" / "service.yaml"


@dataclass(frozen=True)
class Span:
    """A span of a row with what is expected of it.

    `engine_specific` tells the kind of row, see :mod:`slmesh.evaluation.fields_specific`.
    """

    kind: str
    text: str
    reference: datetime
    expected: frozenset[str]
    engine_specific: bool


@dataclass(frozen=True)
class Reader:
    """One way to read a span: the types it is made for, and its readings of a span."""

    name: str
    kinds: frozenset[str]
    read: Callable[[Span], frozenset[str]]


def main() -> None:
    """Print the table for the file that the command line names."""
    parser = argparse.ArgumentParser(description="Compare readers of values on the same spans.")
    parser.add_argument("--data", type=Path, required=True, help="recognizers_text, JSON Lines")
    parser.add_argument("--split", choices=SPLITS, default="validation")
    chosen = parser.parse_args()
    manifest = load_manifest(MANIFEST)
    subject = subject_of(manifest, load_settings(), local=True)
    spans = list(_spans(chosen.data, chosen.split, subject))
    typer.echo(f"{'reader':<18}{'type':<12}{'n':>5}{'exact':>8}{'n else':>8}{'else':>8}{'ms':>8}")
    for reader in readers(manifest.options):
        for line in _lines(reader, spans):
            typer.echo(line)


def _spans(path: Path, split: str, subject: Subject) -> Iterator[Span]:
    file = open_file(path, "recognizers_text")
    for row in split_of(file, split):
        file_of_row = type(file)(file.path, file.format, (row,))
        for case in field_cases([file_of_row], subject).cases:
            request = case.requests()[0]
            assert isinstance(request, ExtractRequest)
            reference = (
                request.reference_time.ToDatetime(UTC)
                if request.HasField("reference_time")
                else datetime(2016, 11, 7, tzinfo=UTC)
            )
            for field in case.expected.fields:
                if field.values:
                    text = request.text[field.start : field.end]
                    if field.name in _FOUND:
                        text = request.text
                    specific = case.expected.engine_specific
                    yield Span(field.name, text, reference, field.values, specific)


def _lines(reader: Reader, spans: list[Span]) -> Iterator[str]:
    right: Mapping[str, list[tuple[bool, bool]]] = defaultdict(list)
    spent: Mapping[str, list[float]] = defaultdict(list)
    for span in spans:
        if span.kind not in reader.kinds:
            continue
        started = time.perf_counter()
        found = reader.read(span)
        spent[span.kind].append(time.perf_counter() - started)
        right[span.kind].append((bool(found & span.expected), span.engine_specific))
    for kind, judged in sorted(right.items()):
        plain = [exact for exact, specific in judged if not specific]
        yield (
            f"{reader.name:<18}{kind:<12}{len(judged):>5}"
            f"{sum(exact for exact, _ in judged) / len(judged):>8.3f}{len(plain):>8}"
            f"{sum(plain) / max(1, len(plain)):>8.3f}{statistics.median(spent[kind]) * 1e3:>8.2f}"
        )


def readers(options: Mapping[str, Any]) -> Iterator[Reader]:
    """Yield our rules and every library that is installed.

    Args:
        options: Of the entities service: the field sets that the rules fill.
    """
    moments = frozenset({"date", "time", "date_time"})
    ours = frozenset({*moments, "date_range", "duration", "number", "amount", "percentage"})
    yield Reader("slmesh", ours | {"phone", "email", "ordinal"}, _own(options))
    found = _installed("dateparser")
    if found:
        yield Reader("dateparser", moments, _dateparser(found))
    found = _installed("text_to_num")
    if found:
        yield Reader("text2num", frozenset({"number"}), _number(found.text2num, "en"))
    found = _installed("word2number.w2n")
    if found:
        yield Reader("word2number", frozenset({"number"}), _number(found.word_to_num))
    found = _installed("babel.numbers")
    if found:
        yield Reader("babel", frozenset({"number"}), _number(found.parse_decimal, "en_US"))
    found = _installed("price_parser")
    if found:
        yield Reader("price-parser", frozenset({"amount"}), _price(found))
    found = _installed("phonenumbers")
    if found:
        yield Reader("phonenumbers", frozenset({"phone"}), _phone(found))
    found = _installed("recognizers_suite")
    if found:
        yield Reader("recognizers-text", ours | {"phone", "email", "ordinal"}, _engine(found))


def _installed(name: str) -> ModuleType | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of libraries that were written for older Pythons
            return importlib.import_module(name)
    except ImportError:
        return None


def _own(options: Mapping[str, Any]) -> Callable[[Span], frozenset[str]]:
    sets = FieldSets(options)

    def read(span: Span) -> frozenset[str]:
        field_set = "numbers" if span.kind == "number" else "banking"
        wanted = sets.wanted(ExtractRequest(field_set=field_set, fields=[span.kind]))
        context = Context(_LOCALE, reference_time=span.reference)
        fields = fields_of(span.text, wanted, recognise(span.text, wanted.rules, context), ())
        if not fields:
            return frozenset()
        if span.kind in _FOUND:
            return frozenset().union(*map(readings, fields))
        return readings(max(fields, key=lambda field: field.span.end - field.span.start))

    return read


def _dateparser(library: ModuleType) -> Callable[[Span], frozenset[str]]:
    def read(span: Span) -> frozenset[str]:
        settings = {
            "RELATIVE_BASE": span.reference.replace(tzinfo=None),
            "PREFER_DATES_FROM": "future",
            "DATE_ORDER": "MDY",
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            moment = library.parse(span.text, languages=["en"], settings=settings)
        if moment is None:
            return frozenset({UNRESOLVED})
        written = moment.replace(tzinfo=None, microsecond=0).isoformat()
        return frozenset({f"date:{written[:10]}", f"time:{written[11:]}", f"date_time:{written}"})

    return read


def _number(parse: Callable[..., Any], *more: str) -> Callable[[Span], frozenset[str]]:
    def read(span: Span) -> frozenset[str]:
        try:
            return frozenset({number_reading("number", float(parse(span.text.strip(), *more)))})
        except (ValueError, ArithmeticError, IndexError, KeyError, TypeError):
            return frozenset({UNRESOLVED})

    return read


def _price(library: ModuleType) -> Callable[[Span], frozenset[str]]:
    """It gives a sign or a code for the currency: an amount is right when the number is."""

    def read(span: Span) -> frozenset[str]:
        amount = library.Price.fromstring(span.text).amount_float
        if amount is None:
            return frozenset({UNRESOLVED})
        expected = {
            item for item in span.expected if item.startswith("money:") and _is_amount(item, amount)
        }
        return frozenset({number_reading("amount", amount), f"minor:{amount:g}", *expected})

    return read


def _is_amount(reading: str, amount: float) -> bool:
    return reading.endswith((f":{round(amount * 100)}", f":{amount:g}"))


def _phone(library: ModuleType) -> Callable[[Span], frozenset[str]]:
    def read(span: Span) -> frozenset[str]:
        found = library.PhoneNumberMatcher(span.text, "US", leniency=library.Leniency.POSSIBLE)
        return frozenset(f"written:{match.raw_string.lower()}" for match in found)

    return read


def _engine(library: ModuleType) -> Callable[[Span], frozenset[str]]:
    calls = {
        "number": library.recognize_number,
        "ordinal": library.recognize_ordinal,
        "percentage": library.recognize_percentage,
        "amount": library.recognize_currency,
        "phone": library.recognize_phone_number,
        "email": library.recognize_email,
    }

    def read(span: Span) -> frozenset[str]:
        culture = "en-us"
        if span.kind in calls:
            results = calls[span.kind](span.text, culture)
        else:
            moment = span.reference.replace(tzinfo=None)
            results = library.recognize_datetime(span.text, culture, reference=moment)
        return frozenset().union(*(_engine_readings(result) for result in results))

    return read


def _engine_readings(result: Any) -> frozenset[str]:
    resolution = dict(result.resolution or {})
    resolution["values"] = resolution.get("values") or ()
    return recognizers_readings(
        {"typeName": result.type_name, "text": result.text, "resolution": resolution}
    )


if __name__ == "__main__":
    main()
