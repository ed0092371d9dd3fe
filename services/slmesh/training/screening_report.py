"""Measures the guard's bundle on validation rows and writes its card.

It judges texts by the code that serves them. It does not train, and reads no test row.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np

from slmesh.mesh.bundle import Bundle
from slmesh.slm.guard.injection import HEADS, InjectionModel
from slmesh.slm.guard.personal import find_personal_data
from slmesh.slm.guard.tagger import Tagger
from slmesh.tiers.calibration import expected_calibration_error
from slmesh.tiers.encoder import SentenceEncoder
from slmesh.training.screening_data import Example, bucket, read_rows, template_of

__all__ = ["LABEL_MAP", "card", "injection_metrics", "personal_metrics"]

LABEL_MAP: Mapping[str, str] = {
    "PERSON": "person",
    "STREET_ADDRESS": "address",
    "ADDRESS": "address",
    "CREDIT_CARD": "card",
    "PHONE_NUMBER": "phone",
    "EMAIL_ADDRESS": "email",
    "IBAN_CODE": "iban",
    "IP_ADDRESS": "ip_address",
    "DOMAIN_NAME": "url",
    "US_SSN": "national_id",
    "US_DRIVER_LICENSE": "driving_licence",
}
"""Labels of presidio_pii and the kinds they stand for. Places, organisations, titles, ages, dates and
nationalities are not personal data by themselves and have no kind."""


def injection_metrics(
    bundle: Bundle, encoder: SentenceEncoder, examples: Sequence[Example]
) -> dict[str, Any]:
    """Return the rate of flagged texts by tier, head and source, and the calibration error."""
    measured: dict[str, Any] = {}
    for tier, model in (
        ("linear", InjectionModel(bundle, None)),
        ("encoder", InjectionModel(bundle, encoder)),
    ):
        measured[tier] = {}
        for head in HEADS:
            rows = [example for example in examples if example.head == head]
            flagged = [bool(model.find(example.text, head)) for example in rows]
            probabilities = np.array([model.probability(example.text, head) for example in rows])
            truth = np.array([example.injected is not None for example in rows])
            sources: dict[str, Any] = {}
            for source in sorted({(row.source, row.injected is not None) for row in rows}):
                hits = [
                    hit
                    for hit, row in zip(flagged, rows, strict=True)
                    if (row.source, row.injected is not None) == source
                ]
                name = f"{source[0]} ({'injections' if source[1] else 'benign'})"
                low, high = _interval(sum(hits), len(hits))
                sources[name] = {
                    "n": len(hits),
                    "flagged": sum(hits) / len(hits),
                    "low": low,
                    "high": high,
                }
            measured[tier][head] = {
                "sources": sources,
                "ece": expected_calibration_error(probabilities, truth),
            }
    return measured


def personal_metrics(
    folder: Path, buckets: range, tagger_of: Callable[[str], Tagger]
) -> dict[str, Any]:
    """Return exact span scores and character recall on some templates of presidio_pii.

    Args:
        folder: The data set.
        buckets: Of the templates to measure on.
        tagger_of: The tagger for a template.
    """
    measured: dict[str, Any] = {}
    for name in ("synth_v2", "generated_large"):
        rows = [
            row
            for row in read_rows(folder / f"{name}.jsonl")
            if bucket(row["template_id"]) in buckets
        ]
        counts = {"right": Counter[str](), "wrong": Counter[str](), "missed": Counter[str]()}
        characters = covered = read = 0
        started = time.process_time()  # of one core, whatever else the machine does
        answers = [find_personal_data(row["text"], tagger_of(template_of(row))) for row in rows]
        elapsed = time.process_time() - started
        for row, answer in zip(rows, answers, strict=True):
            gold = {
                (LABEL_MAP[span["label"]], span["start"], span["end"])
                for span in row["spans"]
                if span["label"] in LABEL_MAP
            }
            found = {(match.kind, match.start, match.end) for match in answer}
            found = {item for item in found if item[0] in LABEL_MAP.values()}
            counts["right"].update(kind for kind, _, _ in gold & found)
            counts["wrong"].update(kind for kind, _, _ in found - gold)
            counts["missed"].update(kind for kind, _, _ in gold - found)
            wanted = {index for _, start, end in gold for index in range(start, end)}
            had = {index for _, start, end in found for index in range(start, end)}
            characters, covered = characters + len(wanted), covered + len(wanted & had)
            read += len(row["text"])
        kinds = sorted(set().union(*counts.values()))
        measured[name] = {
            "n": len(rows),
            "character_recall": covered / max(1, characters),
            "characters_per_s": round(read / elapsed),
            "kinds": {kind: _scored(*(counts[key][kind] for key in counts)) for kind in kinds},
            "all": _scored(*(counts[key].total() for key in counts)),
        }
    return measured


def _scored(right: int, wrong: int, missed: int) -> dict[str, float]:
    return {
        "n": right + missed,
        "precision": right / max(1, right + wrong),
        "recall": right / max(1, right + missed),
        "f1": 2 * right / max(1, 2 * right + wrong + missed),
    }


def _interval(hits: int, count: int) -> tuple[float, float]:
    """Return the 95 % Wilson interval of a rate. Source: Wilson, JASA 22, 1927."""
    z = 1.96
    rate = hits / count
    middle = rate + z * z / (2 * count)
    half = z * sqrt(rate * (1 - rate) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def card(content: Mapping[str, Any]) -> str:
    """Return the card of a measured bundle, in Markdown."""
    lines = [
        f"# {content['name']} {content['version']}",
        "",
        "Screens text for personal data (rules, cues and a linear tagger for names and addresses) and"
        " for injected instructions (n-grams, then n-grams with the embedding of all-MiniLM-L6-v2).",
        "",
        "All figures are on validation rows: bucket 7 of sha256(group) mod 10, group being the"
        " template, the near-duplicate group or the normalised text. Test rows (buckets 8 and 9)"
        " and xstest were not read.",
    ]
    lines += _injection_lines(content)
    seen, unseen = content["metrics"]["personal_data_seen"], content["metrics"]["personal_data"]
    lines += _personal_lines("unseen templates (bucket 7)", unseen)
    lines += _personal_lines(
        "templates the rules were written on (buckets 0 to 6; the tagger by cross-validation over"
        " templates)",
        seen,
    )
    lines += [
        "",
        "## Limits",
        "",
        "- English; other languages only as far as the attack sets hold some.",
        '- An attempt that is harmless without its system prompt ("write a poem about the'
        ' password") is not seen: the guard reads no system prompt.',
        "- Names and addresses in running text are often missed in sentences unlike those learnt from;"
        " places, organisations, titles, ages and dates other than birthdays are not looked for.",
        '- In a document, what asks its human reader to do something ("reply to this mail") must not'
        " be flagged and sometimes is.",
        "- Of a text with more than 64 suspicious windows the encoder reads the 64 most suspicious;"
        " the n-grams decide the others.",
        "",
        "## Data",
        "",
    ]
    lines += [
        f"- {entry['name']}: {entry['source']} at {entry['commit']}; {entry['licence']};"
        f" {entry['attribution']}"
        for entry in content["data"]
    ]
    lines.append(
        "- written for this project: models/guard/written.jsonl, phrases.yaml and golden.jsonl"
    )
    return "\n".join(lines) + "\n"


def _injection_lines(content: Mapping[str, Any]) -> list[str]:
    lines = [
        "",
        "## Injected instructions",
        "",
        "The share of texts with at least one finding, with its 95 % Wilson interval. A window is a"
        " finding when its probability reaches the threshold of the tier that judged it. Thresholds"
        " are the lowest at which at most 0.5 % of the texts of every benign public source are"
        " flagged (or one text, of a source of 100 to 199), over its validation rows and its"
        " out-of-fold training rows together: half of the"
        " 1 % that is allowed, because the figures of benign sources are not independent of the"
        " threshold. The last column is the share of flagged training texts, each judged by a model"
        " that has not seen its group. The rows of bipia are 12 attacks in 9 documents each, so its"
        " interval is too narrow. written and phrases are hard texts of this project.",
        "",
        "| origin | source | n | n-grams alone | with encoder | interval | out of fold |",
        "|---|---|---|---|---|---|---|",
    ]
    injection = content["metrics"]["injection"]
    for head in HEADS:
        outside = content["metrics"]["out_of_fold"][head]["encoder"]
        for source, row in injection["encoder"][head]["sources"].items():
            alone = injection["linear"][head]["sources"][source]["flagged"]
            lines.append(
                f"| {head} | {source} | {row['n']} | {alone:.3f} | {row['flagged']:.3f} |"
                f" {row['low']:.3f}-{row['high']:.3f} | {outside.get(source, float('nan')):.3f} |"
            )
    lines += ["", "Thresholds and calibration error (ECE, 15 bins, on the same rows):", ""]
    for head in HEADS:
        for tier in ("linear", "encoder"):
            threshold = content["thresholds"]["injection"][head][tier]
            error = injection[tier][head]["ece"]
            lines.append(f"- {head}, {tier}: threshold {threshold:.4f}, ECE {error:.4f}")
    return lines


def _personal_lines(templates: str, metrics: Mapping[str, Any]) -> list[str]:
    lines = ["", f"## Personal data: presidio_pii, {templates}, exact spans", ""]
    for name, result in metrics.items():
        total = result["all"]
        lines += [
            f"{name}: n {result['n']}, precision {total['precision']:.3f}, recall"
            f" {total['recall']:.3f}, F1 {total['f1']:.3f}, character recall"
            f" {result['character_recall']:.3f}, {result['characters_per_s']:,} characters/s.",
            "",
            "| kind | n | precision | recall | F1 |",
            "|---|---|---|---|---|",
        ]
        lines += [
            f"| {kind} | {row['n']} | {row['precision']:.3f} | {row['recall']:.3f} | {row['f1']:.3f} |"
            for kind, row in result["kinds"].items()
        ]
        lines.append("")
    return lines[:-1]
