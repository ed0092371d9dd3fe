"""Writes the card of a measured passages bundle. It measures nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from slmesh.training.ranking_data import OWN, PUBLIC, UNRELATED

__all__ = ["card"]

_SOURCES = (*PUBLIC, OWN)
_LIMITS = (
    "- English.",
    "- The probability is calibrated for bank_help and belongs to the first passage. Other"
    " collections and candidates of a request get an order, and none.",
    "- The heads were trained on hotels, restaurants, medicine and banking. Of other texts, the figures"
    " of sets left out of training tell more than the others.",
    "- How long a transfer to another bank takes is answered with the passage on transfers from another"
    " bank: both carry the intent of such questions, so training does not tell them apart.",
    "- dstc11_knowledge: its snippets are the same in training and validation, only the dialogues"
    " differ; of snippets never seen, the figure of leaving the set out is the better guess.",
    "- A passage that nearly answers is taken for one that does: among snippets of one entity the"
    " score tells little about whether the right one is there at all.",
    "- Of a passage the encoder reads 256 tokens; the words are read to the end.",
)


def card(content: Mapping[str, Any], plots: Sequence[str], tested: Mapping[str, Any]) -> str:
    """Return the card, in Markdown.

    Args:
        content: What the bundle says.
        plots: Names of files beside the card.
        tested: What `slmesh eval` printed on shared test rows; nothing to leave that out.
    """
    lines = [
        f"# {content['name']} {content['version']}",
        "",
        "Orders passages by the cosine of all-MiniLM-L6-v2 (as published, int8), behind one trained"
        " head for queries and one for passages, mixed with BM25; and tells how likely the first one"
        " answers."
        " Without the compiled encoder: BM25 alone.",
        "",
        *_trained_lines(content["metrics"]),
        "All figures but those of the test are on validation rows: bucket 7 of sha256 mod 10 of the"
        " entity (dstc9_faq), the dialogue (dstc11_knowledge), the focus (medquad) or the text"
        " (banking77, asked of bank_help, whose right passages are those that carry the question's"
        " intent). Candidates: all snippets of the entity; medquad, all answers of the split, first 128"
        " tokens; rows of medquad with the same question share their answers.",
        "",
        *_order_lines(content),
        *_tested_lines(tested),
    ]
    for tier in ("encoder", "lexical"):
        lines += _tier_lines(tier, content["thresholds"][tier], content["metrics"][tier])
    lines += [f"![{name.removesuffix('.svg')}]({name})" for name in plots] + [""]
    speed = content["metrics"]["speed"]
    lines += [
        "## Speed",
        "",
        "Processor time of one thread, through the service: a question to 10,000 indexed passages of"
        f" 30 words takes {speed['rank_ms']:.1f} ms (p50; p99 {speed['rank_p99_ms']:.1f} ms),"
        f" {speed['encode_ms']:.1f} ms of them to encode it. Repeat with"
        " `python -m slmesh.slm.passages.measure`.",
        "",
        "## Limits",
        "",
        *_LIMITS,
        "",
        "## Data",
        "",
    ]
    lines += [
        f"- {entry['name']}: {entry['source']} at {entry['commit']}; {entry['licence']};"
        f" {entry['attribution']}"
        for entry in content["data"]
    ]
    lines.append("- bank_help and general_help, golden.jsonl: written for this project")
    return "\n".join(lines) + "\n"


def _trained_lines(metrics: Mapping[str, Any]) -> list[str]:
    counts = metrics["trained_on"]
    if not counts:
        return []
    shown = ", ".join(f"{count:,} of {source}" for source, count in counts.items())
    return [f"The heads were trained on questions of buckets 0 to 6: {shown}.", ""]


def _order_lines(content: Mapping[str, Any]) -> list[str]:
    metrics = content["metrics"]
    lines = [
        "## Order (MRR@10) by the weight of the words",
        "",
        "| weight | " + " | ".join(_SOURCES) + " |",
        "|---|" + "---|" * len(_SOURCES),
    ]
    for words, row in metrics["tried"].items():
        mark = " (chosen)" if float(words) == content["parameters"]["encoder"]["words"] else ""
        lines.append(f"| {words}{mark} | {_cells(row)} |")
    plain = metrics["tried_without_heads"]
    for words in ("0.0", "0.2"):
        lines.append(f"| {words}, without heads | {_cells(plain[words])} |")
    left_out = {source: row["mrr_10"] for source, row in metrics["left_out"].items()}
    if left_out:
        shown = content["parameters"]["encoder"]["words"]
        lines.append(f"| {shown}, the set left out of training | {_cells(left_out)} |")
    return [*lines, f"| words alone | {_cells(metrics['lexical']['mrr_10'])} |", ""]


def _cells(row: Mapping[str, float]) -> str:
    return " | ".join(f"{row[source]:.4f}" for source in _SOURCES)


def _tested_lines(tested: Mapping[str, Any]) -> list[str]:
    if not tested:
        return []
    lines = [
        "## Shared test (MRR@10)",
        "",
        "Read once, after every choice was made: buckets 8 and 9, by `slmesh eval passages --split"
        " test`.",
        "",
        "| set | questions' answers | the row's own answer |",
        "|---|---|---|",
    ]
    own = tested.get("mrr_10_own_answer", {})
    for source, value in tested["mrr_10_by_source"].items():
        strict = f"{own[source]:.4f}" if source in own else ""
        lines.append(f"| {source} | {value:.4f} | {strict} |")
    return [*lines, ""]


def _tier_lines(tier: str, least: Mapping[str, float], rows: Mapping[str, Any]) -> list[str]:
    lines = [
        f"## Does the first passage answer: {tier} tier",
        "",
        "One half of the questions sets the numbers, the other is measured here. For bank_help, the"
        " probability is logistic in score and lead; below"
        f" {least['probability']:.3f} the service abstains, so that 5 % of unrelated questions get an"
        f" answer. Elsewhere it abstains below a score of {least['score']:.3f}, so that no public set"
        " loses more than 5 % of its right answers (encoder tier: by heads trained without the set)."
        f" ECE (15 bins, bank_help and unrelated questions together): {rows['ece']:.4f}.",
        "",
        "| questions | n | first is right | answered | right of answered |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {rows[name]['n']} | {rows[name]['right_first']:.3f} |"
        f" {rows[name]['answered']:.3f} | {rows[name]['right_of_answered']:.3f} |"
        for name in (OWN, UNRELATED, *PUBLIC)
    ]
    return [*lines, ""]
