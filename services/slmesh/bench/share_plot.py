"""Draws accuracy over the linear tier's share as a small SVG file. It measures nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

__all__ = ["share_plot"]

_LEFT, _TOP, _WIDTH, _HEIGHT = 60, 34, 360, 240
_INK, _GREY, _BLUE, _RED = "#222", "#999", "#2b6cb0", "#c53030"
_STEP = 0.02
"""The vertical axis begins at a multiple of this."""


def share_plot(title: str, rows: Sequence[Mapping[str, float]], shipped: float) -> str:
    """Draw the curve of ``tier_speed.share_curve``.

    Args:
        title: What it is of.
        rows: Its rows, by rising share.
        shipped: The share of the shipped switch, drawn as a line.
    """
    lines = {"accuracy, forced": ("accuracy", _BLUE), "out-of-scope recall": ("oos_recall", _RED)}
    drawn = {name: line for name, line in lines.items() if line[0] in rows[0]}
    least = min(row["accuracy"] for row in rows)
    low = max(0.0, int(least / _STEP) * _STEP - _STEP)
    shapes = [_text(10, 20, title, bold=True), _box()]
    for part in (0.0, 0.5, 1.0):
        shapes.append(_text(_LEFT + part * _WIDTH, _TOP + _HEIGHT + 16, f"{part:g}", "middle"))
        y = _TOP + (1 - part) * _HEIGHT + 4
        shapes.append(_text(_LEFT - 6, y, f"{low + part * (1 - low):.3g}", "end"))
    x = _LEFT + shipped * _WIDTH
    shapes.append(
        f'<line x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{_TOP + _HEIGHT}" stroke="{_GREY}"'
        ' stroke-dasharray="4 4"/>'
    )
    for place, (name, (key, colour)) in enumerate(drawn.items()):
        points = " ".join(
            f"{_LEFT + row['linear_share'] * _WIDTH:.1f},"
            f"{_TOP + (1 - (max(row[key], low) - low) / (1 - low)) * _HEIGHT:.1f}"
            for row in rows
        )
        shapes.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        )
        shapes.append(_text(_LEFT + 8, _TOP + _HEIGHT - 10 - 14 * place, name, colour=colour))
    below = "share of texts that the linear tier answers (dashed: as shipped)"
    shapes.append(_text(_LEFT + _WIDTH / 2, _TOP + _HEIGHT + 36, below, "middle"))
    width, height = _LEFT + _WIDTH + 20, _TOP + _HEIGHT + 48
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
        f' height="{height}" font-family="sans-serif" font-size="11" fill="{_INK}">'
        '<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(shapes) + "\n</svg>\n"
    )


def _box() -> str:
    return (
        f'<rect x="{_LEFT}" y="{_TOP}" width="{_WIDTH}" height="{_HEIGHT}" fill="none"'
        f' stroke="{_GREY}"/>'
    )


def _text(
    x: float, y: float, words: str, anchor: str = "start", *, colour: str = _INK, bold: bool = False
) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="{colour}"{weight}>'
        f"{escape(words)}</text>"
    )
