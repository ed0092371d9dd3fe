"""The card's plots: well-formed, small, and showing what was measured."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from slmesh.training.plots import confusion, reliability, risk_coverage

CONFIDENCES = np.array([0.95, 0.94, 0.55, 0.5, 0.21])
RIGHT = np.array([True, True, True, False, False])


def shapes(svg: str, kind: str) -> list[ElementTree.Element]:
    return ElementTree.fromstring(svg).findall(f".//{{http://www.w3.org/2000/svg}}{kind}")


def test_reliability_has_a_point_for_each_bin_with_rows():
    assert len(shapes(reliability(CONFIDENCES, RIGHT), "circle")) == 4


def test_risk_falls_to_nothing_where_only_the_surest_are_answered():
    (curve,) = shapes(risk_coverage(CONFIDENCES, RIGHT), "polyline")
    heights = [float(point.split(",")[1]) for point in curve.get("points", "").split()]
    bottom = max(heights)
    assert heights[:3] == [bottom] * 3
    assert heights[-1] == min(heights)


def test_confusion_names_the_worst_labels_first_and_escapes_them():
    svg = confusion(["a<b", "a<b", "c", "d"], ["c", "a<b", "c", "d"])
    words = [text.text for text in shapes(svg, "text")]
    assert words.index("a<b") < words.index("d")


def test_confusion_of_many_labels_stays_small():
    labels = [f"label number {i} with a long name" for i in range(150)]
    svg = confusion(labels, labels[1:] + labels[:1])
    assert len(svg) < 20_000


@pytest.mark.parametrize("draw", [reliability, risk_coverage])
def test_no_rows_are_drawn_as_an_empty_plot(draw):
    assert shapes(draw(np.zeros(0), np.zeros(0, bool)), "rect")


def test_the_same_figures_give_the_same_bytes():
    assert reliability(CONFIDENCES, RIGHT) == reliability(CONFIDENCES, RIGHT)
