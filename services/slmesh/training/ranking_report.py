"""Writes the card of a measured passages bundle. It measures nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slmesh.training.ranking_data import OWN, PUBLIC, UNRELATED

__all__ = ["card"]

_SOURCES = (*PUBLIC, OWN)


def card(content: Mapping[str, Any]) -> str:
    """Return the card, in Markdown."""
    metrics = content["metrics"]
    lines = [
        f"# {content['name']} {content['version']}",
        "",
        "Orders passages by the cosine of all-MiniLM-L6-v2 (as published, int8) mixed with BM25, and"
        " tells how likely the first one answers. Without the compiled encoder: BM25 alone.",
        "",
        "All figures are on validation rows: bucket 7 of sha256 mod 10 of the entity (dstc9_faq), the"
        " dialogue (dstc11_knowledge), the focus (medquad) or the text (banking77, asked of bank_help,"
        " whose right passages are those that carry the question's intent). Candidates: all snippets"
        " of the entity; medquad, all answers of the split. Test rows were not read.",
        "",
        "## Order (MRR@10) by the weight of the words",
        "",
        "| weight | " + " | ".join(_SOURCES) + " |",
        "|---|---|---|---|---|",
    ]
    for words, row in metrics["tried"].items():
        cells = " | ".join(f"{row[source]:.4f}" for source in _SOURCES)
        mark = " (chosen)" if float(words) == content["parameters"]["encoder"]["words"] else ""
        lines.append(f"| {words}{mark} | {cells} |")
    alone = " | ".join(f"{metrics['lexical']['mrr_10'][source]:.4f}" for source in _SOURCES)
    lines += [f"| words alone | {alone} |", ""]
    for tier in ("encoder", "lexical"):
        lines += _tier_lines(tier, content["thresholds"][tier], metrics[tier])
    speed = metrics["speed"]
    lines += [
        "## Speed",
        "",
        f"One core: a question is encoded in {speed['encode_ms']:.1f} ms; 10,000 indexed passages are"
        f" scored and ordered in {speed['rank_10000_ms']:.1f} ms (least of 31 runs, on a machine that"
        " had other work).",
        "",
        "## Limits",
        "",
        "- English.",
        "- The probability is calibrated for bank_help and belongs to the first passage. Other"
        " collections and candidates of a request get an order, and none.",
        "- A passage that nearly answers is taken for one that does: among snippets of one entity the"
        " score tells little about whether the right one is there at all.",
        "- Of a passage the encoder reads 256 tokens; the words are read to the end.",
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


def _tier_lines(tier: str, least: Mapping[str, float], rows: Mapping[str, Any]) -> list[str]:
    lines = [
        f"## Does the first passage answer: {tier} tier",
        "",
        "One half of the questions sets the numbers, the other is measured here. For bank_help, the"
        " probability is logistic in score and lead; below"
        f" {least['probability']:.3f} the service abstains, so that 5 % of unrelated questions get an"
        f" answer. Elsewhere it abstains below a score of {least['score']:.3f}, so that no public set"
        " loses more than 5 % of its right answers."
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
