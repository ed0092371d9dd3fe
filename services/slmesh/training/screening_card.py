"""Writes the guard's card from the figures of a measured bundle. It measures nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from slmesh.slm.guard.injection import HEADS

__all__ = ["card"]

_INTRODUCTION = (
    "Screens text for personal data (rules with checksums, cues, and a tagger for names and addresses:"
    " convolutions over words under a chain of tags) and for injected instructions (n-grams and counts"
    " of kinds of words, then both with the embedding of all-MiniLM-L6-v2)."
)
_ROWS = (
    "All figures are on validation rows: bucket 7 of sha256(group) mod 10, group being the template,"
    " the near-duplicate group or the normalised text. Test rows (buckets 8 and 9) and xstest were not"
    " read where nothing else is said."
)
_ABOUT_INJECTION = (
    "The share of texts with at least one finding, with its 95 % Wilson interval. A window is a finding"
    " when its probability reaches the threshold of either tier. The threshold of a tier is the lowest"
    " at which at most {rate:.1%} of the texts of every benign public source are flagged (or one text,"
    " of a source of 100 or more), over its validation rows and its out-of-fold training rows together:"
    " half of the 1 % that is allowed, because there are two tiers, and because the figures of benign"
    " sources are not independent of the threshold. The last column is the share of flagged training"
    " texts by the second tier, each judged by a model that has not seen its group. The rows of bipia"
    " are 12 attacks in 9 documents each, so its interval is too narrow. written and phrases are hard"
    " texts of this project; pasted are harmless documents judged as if a user had sent them."
)
_LIMITS = (
    "English; other languages only as far as the attack sets and this project's phrases hold some.",
    'An attempt that is harmless without its system prompt ("how do I bake bread?" to a bot that must'
    " not) is not seen: the guard reads no system prompt.",
    "An attempt in Base64, binary, hexadecimal, Morse or spaced letters is decoded and judged; ROT13"
    " only where the text names it; other ciphers are not seen.",
    "Places, organisations, titles, ages and dates other than birthdays are not looked for; a city by"
    " itself is no address.",
    "Addresses are cut into parts as presidio_pii does only as far as form tells it; redaction covers"
    " them whole.",
    "Redaction has a lower threshold than the findings (redaction_leniency), so it covers some words"
    " that are no personal data.",
    'In a document, what asks its human reader to do something ("reply to this mail") must not be'
    " flagged and sometimes is.",
    "Of a text with more than 64 suspicious windows the encoder reads the 64 most suspicious; the"
    " n-grams decide the others.",
)


def card(content: Mapping[str, Any], plots: Sequence[str]) -> str:
    """Return the card of a measured bundle, in Markdown.

    Args:
        content: What ``bundle.json`` says.
        plots: Names of files beside the card.
    """
    metrics = content["metrics"]
    lines = [f"# {content['name']} {content['version']}", "", _INTRODUCTION, "", _ROWS]
    lines += _injection_lines(content)
    if "left_out" in metrics:
        lines += _left_out_lines(metrics["left_out"])
    if "test" in metrics:
        lines += _test_lines(metrics["test"])
    lines += _personal_lines("unseen templates (bucket 7)", metrics["personal_data"])
    lines += _personal_lines(
        "training templates by cross-validation over their texts (buckets 0 to 6; the rules were"
        " written on them)",
        metrics["personal_data_seen"],
    )
    lines += _redaction_lines(content)
    lines += ["", "## Plots", "", *[f"![{name.removesuffix('.svg')}]({name})" for name in plots]]
    lines += ["", "## Limits", "", *[f"- {limit}" for limit in _LIMITS]]
    lines += ["", "## Data", ""]
    lines += [
        f"- {entry['name']}: {entry['source']} at {entry['commit']}; {entry['licence']};"
        f" {entry['attribution']}"
        for entry in content["data"]
    ]
    lines += [
        "- written for this project: models/guard/written.jsonl, phrases.yaml, templates.yaml and"
        " golden.jsonl",
        "- names.yaml: lists of Faker 40.63.0 (MIT) and of CLDR (Unicode licence)",
    ]
    return "\n".join(lines) + "\n"


def _injection_lines(content: Mapping[str, Any]) -> list[str]:
    about = _ABOUT_INJECTION.format(rate=content["parameters"]["injection"]["allowed"])
    lines = ["", "## Injected instructions", "", about, ""]
    lines += [
        "| origin | source | n | first tier | both tiers | interval | out of fold |",
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


def _left_out_lines(left_out: Mapping[str, Mapping[str, float]]) -> list[str]:
    lines = [
        "",
        "With a source left out of training, its texts found by either tier: all of its training"
        " and validation texts, thresholds set as above, 95 % Wilson intervals. This project's"
        " phrases stay in training; some of them, and of the words that are counted, were written"
        " after training rows of these sources had been read. `slmesh card guard --left-out`"
        " measures it again.",
        "",
        "| source | n | first tier | found | interval |",
        "|---|---|---|---|---|",
    ]
    for source, row in left_out.items():
        both = f"{row['flagged']:.3f} | {row['low']:.3f}-{row['high']:.3f}"
        lines.append(f"| {source} | {row['n']} | {row['linear']:.3f} | {both} |")
    return lines


def _test_lines(test: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = [
        "",
        "## Test rows, read once",
        "",
        "By `slmesh eval guard`: buckets 8 and 9, the test files, and the safe prompts of xstest; 95 %"
        " Wilson intervals. Every version is read once, after its last choice; a part that a version"
        " does not train is not read again, and its figures are those of the version that trained it.",
        "",
        "| source | n | flagged | interval |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {source} | {row['n']} | {row['flagged']:.3f} | {row['low']:.3f}-{row['high']:.3f} |"
        for source, row in test["injection"].items()
    ]
    for name, row in test["personal_data"].items():
        kinds = ", ".join(f"{kind} {f1:.3f}" for kind, f1 in row["span_f1_by_type"].items())
        redacted = ", ".join(f"{kind} {s:.3f}" for kind, s in row["redacted_by_kind"].items())
        lines += [
            "",
            f"{name}: n {row['n']}, exact span F1 {row['span_f1']:.3f} ({kinds}), character recall"
            f" {row['character_recall']:.3f}, token F2 {row['token_f2']:.3f}; characters redacted:"
            f" {redacted}.",
        ]
    return lines


def _personal_lines(templates: str, metrics: Mapping[str, Any]) -> list[str]:
    lines = ["", f"## Personal data: presidio_pii, {templates}, exact spans", ""]
    for name, result in metrics.items():
        total = result["all"]
        lines += [
            f"{name}: n {result['n']}, precision {total['precision']:.3f}, recall"
            f" {total['recall']:.3f}, F1 {total['f1']:.3f}, character recall"
            f" {result['character_recall']:.3f}, token F2 {result['token_f2']:.3f},"
            f" {result['characters_per_s']:,} characters/s.",
            "",
            "| kind | n | precision | recall | F1 | characters found | characters redacted |",
            "|---|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {kind} | {row['n']} | {row['precision']:.3f} | {row['recall']:.3f} |"
            f" {row['f1']:.3f} | {row['character_recall']:.3f} |"
            f" {result['redaction'].get(kind, 1.0):.3f} |"
            for kind, row in result["kinds"].items()
        ]
        lines.append("")
    return lines[:-1]


def _redaction_lines(content: Mapping[str, Any]) -> list[str]:
    chosen = content["thresholds"]["personal"]["redaction_leniency"]
    lines = [
        "",
        "## Redaction",
        "",
        "Names and addresses by cross-validation over templates, both files. Leniency is taken off the"
        " score of being no name, in log-odds; the findings have none. Redaction uses"
        f" {chosen:g}.",
        "",
        "| leniency | characters of names and addresses covered | other characters covered |",
        "|---|---|---|",
    ]
    return lines + [
        f"| {point['leniency']:g} | {point['recall']:.4f} | {point['in_vain']:.4f} |"
        for point in content["metrics"]["redaction_curve"]
    ]
