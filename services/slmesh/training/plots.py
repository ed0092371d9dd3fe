"""Draws a card's plots as small SVG files: calibration, risk over coverage, and what is confused.

Plain code, so that a card needs no plotting library and the same figures give the same bytes. It
measures nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

__all__ = [
    "BLUE",
    "GREY",
    "RED",
    "confusion",
    "curves",
    "reliability",
    "risk_coverage",
    "svg_document",
    "svg_text",
]

_LEFT, _TOP, _SIDE = 56, 34, 240
_WIDTH, _HEIGHT = _LEFT + _SIDE + 20, _TOP + _SIDE + 48
_INK, GREY, BLUE, RED = "#222", "#999", "#2b6cb0", "#c53030"
_COLOURS = (BLUE, RED, "#2f855a", "#6b46c1", "#b7791f")
_BINS = 15
_WORST = 10
_CELL = 26
_NAME_LENGTH = 26
_CURVE_POINTS = 100


def reliability(confidences: np.ndarray, right: np.ndarray) -> str:
    """Draw accuracy over confidence in 15 bins, with the share of rows in each.

    Args:
        confidences: (B,) in [0, 1].
        right: bool (B,).
    """
    places = np.minimum((confidences * _BINS).astype(int), _BINS - 1)
    shapes = [_line([(0, 0), (1, 1)], GREY, dashed=True)]
    for place in range(_BINS):
        chosen = places == place
        if not chosen.any():
            continue
        share, accuracy = float(chosen.mean()), float(right[chosen].mean())
        mean = float(confidences[chosen].mean())
        width = _SIDE / _BINS
        height = share * _SIDE
        shapes.append(
            f'<rect x="{_LEFT + place * width:.1f}" y="{_TOP + _SIDE - height:.1f}"'
            f' width="{width - 1:.1f}" height="{height:.1f}" fill="{BLUE}" opacity="0.2"/>'
        )
        x, y = _place(mean, accuracy)
        shapes.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{BLUE}"/>')
    title = f"Reliability, {len(right):,} rows (bars: share of rows)"
    return _frame(title, "confidence", "accuracy", shapes)


def risk_coverage(confidences: np.ndarray, right: np.ndarray) -> str:
    """Draw the share of wrong answers over the share answered, surest rows first.

    The vertical axis ends at the error of answering everything, or at 1 % if that is less.

    Args:
        confidences: (B,).
        right: bool (B,).
    """
    order = np.argsort(-confidences, kind="stable")
    wrong = np.cumsum(~right[order]) / np.arange(1, len(order) + 1)
    most = max(float(wrong.max()) if len(wrong) else 0.0, 0.01)
    places = np.linspace(0, len(order) - 1, _CURVE_POINTS).astype(int)
    chosen = np.unique(places).tolist() if len(order) else []
    points = [((at + 1) / len(order), float(wrong[at]) / most) for at in chosen]
    area = float(wrong.mean()) if len(wrong) else 0.0
    title = f"Risk over coverage, area {area:.4f}"
    return _frame(title, "share answered", "error", [_line(points, RED)], top=most)


def curves(
    title: str,
    below: str,
    beside: str,
    lines: Mapping[str, Sequence[tuple[float, float]]],
    right: float = 1.0,
    top: float = 1.0,
) -> str:
    """Draw lines with their names, from 0 to `right` and from 0 to `top`.

    Args:
        title: Above the plot.
        below: What the horizontal axis is.
        beside: What the vertical axis is.
        lines: Points by name; points beyond the axes are left out.
        right: Where the horizontal axis ends, > 0.
        top: Where the vertical axis ends, > 0.
    """
    shapes = []
    for at, (name, points) in enumerate(lines.items()):
        colour = _COLOURS[at % len(_COLOURS)]
        inside = [(x / right, y / top) for x, y in points if 0 <= x <= right]
        shapes.append(_line(inside, colour))
        y = _TOP + _SIDE - 10 - 14 * (len(lines) - 1 - at)
        shapes.append(svg_text(_LEFT + _SIDE - 8, y, name, anchor="end", colour=colour))
    return _frame(title, below, beside, shapes, top=top, right=right)


def confusion(truth: Sequence[str], found: Sequence[str]) -> str:
    """Draw how often the labels with the most mistakes are taken for one another.

    Args:
        truth: The right label of each row.
        found: The label each row was given.
    """
    mistakes: Counter[str] = Counter()
    for right, given in zip(truth, found, strict=True):
        if right != given:
            mistakes[right] += 1
            mistakes[given] += 1
    ranked = sorted(set(truth) | set(found), key=lambda label: (-mistakes[label], label))
    labels = ranked[:_WORST]
    counts = Counter(zip(truth, found, strict=True))
    left, top = 200, 210
    side = _CELL * len(labels)
    shapes = []
    for row, right in enumerate(labels):
        y = top + row * _CELL
        total = max(1, sum(counts[right, given] for given in ranked))
        shapes.append(svg_text(left - 6, y + 17, _short(right), anchor="end"))
        for column, given in enumerate(labels):
            x, count = left + column * _CELL, counts[right, given]
            colour = BLUE if right == given else RED
            shapes.append(
                f'<rect x="{x}" y="{y}" width="{_CELL - 1}" height="{_CELL - 1}" fill="{colour}"'
                f' fill-opacity="{count / total:.2f}" stroke="#ddd"/>'
            )
            if count:
                shapes.append(svg_text(x + _CELL / 2 - 0.5, y + 17, str(count), anchor="middle"))
    for column, given in enumerate(labels):
        x = left + column * _CELL + 17
        shapes.append(
            f'<text x="{x}" y="{top - 6}" transform="rotate(-60 {x} {top - 6})">'
            f"{escape(_short(given))}</text>"
        )
    title = f"The {len(labels)} labels with the most mistakes (rows: right, columns: given)"
    shapes.append(svg_text(10, 20, title, bold=True))
    return svg_document(max(left + side + 110, 520), top + side + 16, shapes)


def _frame(
    title: str, below: str, beside: str, shapes: list[str], top: float = 1.0, right: float = 1.0
) -> str:
    """Draw a square plot with axes from 0 to `right` and from 0 to `top`."""
    parts = [svg_text(10, 20, title, bold=True)]
    parts.append(
        f'<rect x="{_LEFT}" y="{_TOP}" width="{_SIDE}" height="{_SIDE}" fill="none" stroke="{GREY}"/>'
    )
    for step in (0.0, 0.5, 1.0):
        x, y = _place(step, step)
        parts.append(svg_text(x, _TOP + _SIDE + 16, f"{step * right:.3g}", anchor="middle"))
        parts.append(svg_text(_LEFT - 6, y + 4, f"{step * top:.3g}", anchor="end"))
    parts.append(svg_text(_LEFT + _SIDE / 2, _TOP + _SIDE + 36, below, anchor="middle"))
    middle = _TOP + _SIDE / 2
    parts.append(
        f'<text x="14" y="{middle}" text-anchor="middle" transform="rotate(-90 14 {middle})">'
        f"{escape(beside)}</text>"
    )
    return svg_document(_WIDTH, _HEIGHT, parts + shapes)


def _place(x: float, y: float) -> tuple[float, float]:
    return _LEFT + x * _SIDE, _TOP + (1 - y) * _SIDE


def _line(points: Sequence[tuple[float, float]], colour: str, *, dashed: bool = False) -> str:
    path = " ".join("{:.1f},{:.1f}".format(*_place(x, y)) for x, y in points)
    dash = ' stroke-dasharray="4 4"' if dashed else ""
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"{dash}/>'


def svg_text(
    x: float,
    y: float,
    words: str,
    *,
    anchor: str = "start",
    colour: str = "",
    bold: bool = False,
) -> str:
    """Return words at a place; in the document's ink where no colour is named."""
    fill = f' fill="{colour}"' if colour else ""
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{fill}{weight}>{escape(words)}</text>'


def _short(label: str) -> str:
    return label if len(label) <= _NAME_LENGTH else label[: _NAME_LENGTH - 1] + "…"


def svg_document(width: float, height: float, shapes: Sequence[str]) -> str:
    """Return an SVG file of some shapes on white."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}"'
        f' width="{width:g}" height="{height:g}" font-family="sans-serif" font-size="11"'
        f' fill="{_INK}"><rect width="100%" height="100%" fill="white"/>\n'
        + "\n".join(shapes)
        + "\n</svg>\n"
    )
