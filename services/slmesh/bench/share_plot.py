"""Draws accuracy over the linear tier's share as a small SVG file. It measures nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from slmesh.training.plots import BLUE, GREY, RED, svg_document, svg_text

__all__ = ["share_plot"]

_LEFT, _TOP, _WIDTH, _HEIGHT = 60, 34, 360, 240
_STEP = 0.02
"""The vertical axis begins at a multiple of this."""


def share_plot(title: str, rows: Sequence[Mapping[str, float]], shipped: float) -> str:
    """Draw the curve of ``tier_speed.share_curve``.

    Args:
        title: What it is of.
        rows: Its rows, by rising share.
        shipped: The share of the shipped switch, drawn as a line.
    """
    lines = {"accuracy, forced": ("accuracy", BLUE), "out-of-scope recall": ("oos_recall", RED)}
    drawn = {name: line for name, line in lines.items() if line[0] in rows[0]}
    least = min(row["accuracy"] for row in rows)
    low = max(0.0, int(least / _STEP) * _STEP - _STEP)
    shapes = [svg_text(10, 20, title, bold=True), _box()]
    for part in (0.0, 0.5, 1.0):
        shapes.append(
            svg_text(_LEFT + part * _WIDTH, _TOP + _HEIGHT + 16, f"{part:g}", anchor="middle")
        )
        y = _TOP + (1 - part) * _HEIGHT + 4
        shapes.append(svg_text(_LEFT - 6, y, f"{low + part * (1 - low):.3g}", anchor="end"))
    x = _LEFT + shipped * _WIDTH
    shapes.append(
        f'<line x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{_TOP + _HEIGHT}" stroke="{GREY}"'
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
        shapes.append(svg_text(_LEFT + 8, _TOP + _HEIGHT - 10 - 14 * place, name, colour=colour))
    below = "share of texts that the linear tier answers (dashed: as shipped)"
    shapes.append(svg_text(_LEFT + _WIDTH / 2, _TOP + _HEIGHT + 36, below, anchor="middle"))
    return svg_document(_LEFT + _WIDTH + 20, _TOP + _HEIGHT + 48, shapes)


def _box() -> str:
    return (
        f'<rect x="{_LEFT}" y="{_TOP}" width="{_WIDTH}" height="{_HEIGHT}" fill="none"'
        f' stroke="{GREY}"/>'
    )
