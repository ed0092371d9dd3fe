"""Measures the entities model on validation data and writes its card.

The tagger is judged by exact spans, the rules by normalised values. Knows nothing of training.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from slmesh.recognise import Context, Match, Money, recognise
from slmesh.slm.entities.tagger import Tagger
from slmesh.training.tagging_data import MarkedText, bucket, read_rows

_VALIDATION_BUCKET = 7
_RULES = frozenset(
    {"money", "date", "time", "date_time", "date_range", "duration", "number", "ordinal"}
    | {"percentage", "email", "phone", "url", "ip_address", "people"}
)


def measured(tagger: Tagger, texts: Sequence[MarkedText], data_dir: Path) -> dict[str, Any]:
    """Return the figures of the card: spans, calibration, values and speed.

    Args:
        tagger: the calibrated tagger.
        texts: the validation texts with their marked names.
        data_dir: where the data sets lie, for the values of the rules.
    """
    started = time.perf_counter()
    found = tagger.tag([marked.text for marked in texts])
    seconds = time.perf_counter() - started
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for marked, spans in zip(texts, found, strict=True):
        gold = set(marked.spans)
        ours = {(span.label, span.start, span.end) for span in spans}
        for group in (marked.source, "all"):
            counts[group].update(right=len(gold & ours), found=len(ours), gold=len(gold))
        for kind in ("person", "place", "organisation"):
            counts[kind].update(
                right=sum(span[0] == kind for span in gold & ours),
                found=sum(span[0] == kind for span in ours),
                gold=sum(span[0] == kind for span in gold),
            )
    return {
        "validation_texts": len(texts),
        "spans": {group: _scores(count) for group, count in counts.items()},
        "texts_per_s": round(len(texts) / seconds),
        "values": {**nlupp_values(data_dir), **specification_values(data_dir)},
    }


def _scores(count: Mapping[str, int]) -> dict[str, float]:
    precision = count["right"] / max(count["found"], 1)
    recall = count["right"] / max(count["gold"], 1)
    both = precision + recall
    return {
        "n": count["gold"],
        "precision": round(precision, 3),
        "recall": round(recall, 3),
        "f1": round(2 * precision * recall / both if both else 0.0, 3),
    }


def calibration_error(tagger: Tagger, texts: Sequence[MarkedText], bins: int = 15) -> float:
    """Return the expected calibration error of the spans' probabilities, over equal bins."""
    sums: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])
    total = 0
    for marked, spans in zip(texts, tagger.tag([row.text for row in texts]), strict=True):
        for span in spans:
            cell = sums[min(int(span.probability * bins), bins - 1)]
            cell[0] += span.probability
            cell[1] += (span.label, span.start, span.end) in marked.spans
            total += 1
    return sum(abs(expected - right) for expected, right in sums.values()) / max(total, 1)


def nlupp_values(data_dir: Path) -> dict[str, dict[str, float]]:
    """Return the share of exact values by slot of NLU++'s validation bucket; a miss is wrong."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    context = Context(reference_time=datetime(2022, 3, 15, 9, tzinfo=UTC))
    for row in read_rows(data_dir / "nlupp/all.jsonl"):
        if bucket(row["text"]) != _VALIDATION_BUCKET:
            continue
        matches = recognise(row["text"], _RULES, context)
        for slot, gold in row["slots"].items():
            expected = gold.get("value", gold.get("values"))
            if slot not in _NLUPP_SLOTS or not isinstance(expected, dict | int | float):
                continue
            start, end = gold["span"]
            near = [match for match in matches if match.start < end and start < match.end]
            right = any(_nlupp_equal(slot, expected, match) for match in near)
            counts[f"nlupp {slot}"].update(n=1, right=right)
    return _shares(counts)


_NLUPP_SLOTS = frozenset(
    {"date", "date_from", "date_to", "time", "time_from", "time_to", "amount_of_money", "number"}
)


def _nlupp_equal(slot: str, expected: Any, match: Match) -> bool:
    if match.value is None:
        return False
    if slot == "number":
        return bool(match.value == expected)
    if slot == "amount_of_money":
        minor = round(float(expected["amount"]) * 100)
        return match.value == Money(str(expected["currency"]), minor)
    if slot.startswith("time"):
        written = f"{expected['hour']:02}:{expected['minute']:02}:00"
        return written in str(match.value)
    day = date(expected["year"], expected["month"], expected["day"])
    if match.kind == "date_range":
        since, until = str(match.value).split("/")
        last = date.fromisoformat(until[:10]) - timedelta(days=1)
        return day == (last if slot == "date_to" else date.fromisoformat(since[:10]))
    return str(match.value).startswith(day.isoformat())


_SPECIFICATION_KINDS = {
    "NumberModel": {"number": "number"},
    "CurrencyModel": {"currency": "money"},
    "PercentModel": {"percentage": "percentage"},
    "OrdinalModel": {"ordinal": "ordinal"},
    "PhoneNumberModel": {"phonenumber": "phone"},
    "EmailModel": {"email": "email"},
    "URLModel": {"url": "url"},
    "IpAddressModel": {"ip": "ip_address"},
    "DateTimeModel": {
        "datetimeV2.date": "date",
        "datetimeV2.time": "time",
        "datetimeV2.datetime": "date_time",
        "datetimeV2.daterange": "date_range",
        "datetimeV2.duration": "duration",
    },
}


def specification_values(data_dir: Path) -> dict[str, dict[str, float]]:
    """Return the share of exact values by type of Recognizers-Text's validation bucket.

    Every row counts, those that hold the engine's own conventions too. Where it lists several
    readings of a date, any of them is right.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in read_rows(data_dir / "recognizers_text/all.jsonl"):
        kinds = _SPECIFICATION_KINDS.get(row["model"])
        if kinds is None or bucket(row["text"]) != _VALIDATION_BUCKET:
            continue
        moment = datetime.fromisoformat(row["reference_datetime"] or "2020-01-01")
        context = Context("en-US", reference_time=moment.replace(tzinfo=UTC))
        matches = recognise(row["text"], set(kinds.values()), context)
        for gold in row["results"]:
            kind = kinds.get(gold.get("typeName", ""))
            if kind is None:
                continue
            start = gold.get("start", row["text"].lower().find(gold["text"].lower()))
            end = start + len(gold["text"])
            near = [
                match
                for match in matches
                if match.kind == kind and match.start < end and start < match.end
            ]
            written = list(_readings(kind, gold))
            right = any(_reading(match) in written for match in near)
            counts[f"recognizers_text {kind}"].update(n=1, right=right)
    return _shares(counts)


def _readings(kind: str, gold: Mapping[str, Any]) -> Iterator[str]:
    """Yield every reading that the specification gives, as `_reading` writes ours."""
    resolution = gold.get("resolution") or {}
    if kind == "phone":
        yield gold["text"].lower()
    for value in resolution.get("values", ()):
        if "start" in value and "end" in value:
            yield f"{value['start']}/{value['end']}".replace(" ", "T")
        elif "value" in value:
            yield str(value["value"]).replace(" ", "T")
    if "value" in resolution and resolution["value"] is not None:
        plain = str(resolution["value"]).rstrip("%").lower()
        try:
            yield f"{float(plain):.6g}"
        except ValueError:
            yield plain


def _reading(match: Match) -> str:
    value = match.value
    if match.kind == "phone":
        return match.text.lower()
    if match.kind == "date_time":
        return str(value)[:19]
    if match.kind == "duration":
        return f"{value}"
    if isinstance(value, Money):
        decimals = 0 if value.currency == "JPY" else 2
        return f"{value.minor_units / 10**decimals:.6g}"
    if isinstance(value, int | float):
        return f"{value:.6g}"
    return (
        "not resolved" if value is None else value.lower() if match.kind != "date_range" else value
    )


def _shares(counts: Mapping[str, Counter[str]]) -> dict[str, dict[str, float]]:
    return {
        name: {"n": count["n"], "exact": round(count["right"] / count["n"], 3)}
        for name, count in sorted(counts.items())
    }


_LIMITS = (
    "## Limits",
    "",
    "- The tagger is weak on names in running text without capitals or cue words, and on"
    " social-media text (see wnut17). It is a first model; treat its probability seriously.",
    "- Words for numbers, dates and durations are English; digits, currencies, month names and"
    " the order of day and month follow the locale.",
    "- A date without a year is its next occurrence (in the current month, this year's), even"
    " where the past is meant.",
    "",
)


def card(recipe: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """Return the model card in Markdown, written from the measured figures."""
    spans = metrics["spans"]
    lines = [
        f"# {recipe['name']} {recipe['version']}",
        "",
        "Persons, places and organisations: a linear-chain conditional random field over hashed"
        f" features ({1 << recipe['numbers']['bits']} buckets, 8-bit weights), decoded in numpy."
        " Everything else the service finds by rule (slmesh.recognise), without training.",
        "",
        "## Data",
        "",
        "| set | source | commit | licence |",
        "|---|---|---|---|",
        *(
            f"| {row['name']} | {row['source']} | {row.get('commit', '')[:12]} | {row['licence']} |"
            for row in recipe["data"]
        ),
        "",
        f"{metrics['training_texts']} training and {metrics['validation_texts']} validation texts."
        " Validation is bucket 7 of sha256(text) mod 10, and WNUT17's dev part. Templates are split"
        " by template, and validation fills them with names that training never sees."
        " Test parts (buckets 8 and 9) were not read.",
        "",
        "## Names: exact spans on validation",
        "",
        "| part | n | precision | recall | F1 |",
        "|---|---|---|---|---|",
        *(
            f"| {group} | {row['n']} | {row['precision']} | {row['recall']} | {row['f1']} |"
            for group, row in spans.items()
        ),
        "",
        "The rows `written` and `nlupp` flatter: some sentences in names.yaml were written after"
        " reading errors on these two validation parts. The others were not read.",
        "",
        f"Expected calibration error of the probabilities, 15 bins: {metrics['ece']} (calibrated on"
        " every other validation text, measured on the rest).",
        "",
        "## Rules: exact values on validation",
        "",
        "| set and kind | n | exact |",
        "|---|---|---|",
        *(f"| {name} | {row['n']} | {row['exact']} |" for name, row in metrics["values"].items()),
        "",
        "A missed span is wrong. recognizers_text is a rule engine's own test suite: its rows for"
        " powers, ranges open at one end and fiscal years follow conventions that these rules do not"
        " share. Fields found by rule carry no probability.",
        "",
        *_LIMITS,
        f"Speed: {metrics['texts_per_s']} validation texts a second through the tagger alone, on"
        " one core, measured by the training run.",
        "",
    ]
    return "\n".join(lines)
