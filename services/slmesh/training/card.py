"""Writes a model's card from its recipe and the figures measured in the run that made it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from slmesh.training.recipe import Recipe

__all__ = ["data_table", "figures_table", "write_card"]

_PERCENT = ("accuracy", "in_scope_accuracy", "in_scope_accuracy_forced", "oos_recall", "macro_f1")
_NAMES = {
    "n": "rows",
    "accuracy": "accuracy, all rows",
    "in_scope_accuracy": "accuracy in scope, an abstention is wrong",
    "in_scope_accuracy_forced": "accuracy in scope, forced",
    "oos_recall": "out-of-scope recall",
    "macro_f1": "macro-F1",
    "ece": "calibration error (ECE, 15 bins)",
    "spearman": "Spearman",
    "abstained": "share abstained",
    "p50_ms": "p50, one text, ms",
    "p99_ms": "p99, one text, ms",
    "texts_per_s": "texts/s, batches of 32",
}


def write_card(
    recipe: Recipe,
    method: Sequence[str],
    tables: Mapping[str, Mapping[str, Mapping[str, Any]]],
    thresholds: Mapping[str, Any],
    size_bytes: int,
    plots: Sequence[str] = (),
) -> str:
    """Return the card as Markdown.

    Args:
        recipe: The recipe.
        method: Sentences on how the model was made.
        tables: Figures by table title and column.
        thresholds: The operating thresholds.
        size_bytes: Size of the weights in the bundle.
        plots: Names of files beside the card.
    """
    lines = [f"# {recipe.name} {recipe.version}", "", recipe.description.strip(), ""]
    lines += ["## Data", "", *data_table(recipe), ""]
    lines += ["## Method", "", *[f"- {sentence}" for sentence in method], ""]
    lines += ["## Figures on validation rows", ""]
    lines += [
        "Thresholds, temperatures and shares were chosen on these rows, so the figures flatter the"
        " model a little. Test rows were not read. Times are processor time of one"
        " thread, from text to response, without any transport.",
        "",
    ]
    for title, figures in tables.items():
        lines += [f"### {title}", "", *figures_table(figures), ""]
    if plots:
        lines += ["### Plots", ""]
        lines += [f"![{name.removesuffix('.svg')}]({name})" for name in plots] + [""]
    lines += ["## Thresholds", ""]
    lines += [f"- {name}: {value}" for name, value in _flat(thresholds)]
    lines += ["", "## Limits", "", *[f"- {limit}" for limit in recipe.limits], ""]
    lines += ["## Size", "", f"Weights in this bundle: {size_bytes / 1e6:.2f} MB.", ""]
    return "\n".join(lines)


def data_table(recipe: Recipe) -> list[str]:
    """Return the data sets as a Markdown table."""
    lines = ["| set | source | commit | licence | attribution |", "|---|---|---|---|---|"]
    lines += [
        f"| {d.name} | {d.source} | {d.commit} | {d.licence} | {d.attribution} |"
        for d in recipe.data
    ]
    return lines


def figures_table(figures: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return figures as a Markdown table: a row for each figure, a column for each tier or scale."""
    columns = list(figures)
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for key, name in _NAMES.items():
        if any(key in figures[column] for column in columns):
            values = [_shown(key, figures[column].get(key)) for column in columns]
            lines.append(f"| {name} | " + " | ".join(values) + " |")
    shares = [figures[column].get("tiers", {}).get("linear", 0.0) for column in columns]
    lines.append("| share of the linear tier | " + " | ".join(f"{s:.1%}" for s in shares) + " |")
    return lines


def _shown(key: str, value: Any) -> str:
    if value is None:
        return ""
    if key in _PERCENT or key == "abstained":
        return f"{value:.2%}"
    if key in ("n", "texts_per_s"):
        return f"{value:,.0f}"
    return f"{value:.3f}"


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            pairs += _flat(value, f"{prefix}{key}.")
        else:
            pairs.append((prefix + key, f"{value:.4f}"))
    return pairs
