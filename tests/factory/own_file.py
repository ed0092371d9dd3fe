"""A user's file, generated: messages to a shop about four topics, and some about nothing of it."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

TOPICS = {
    "delivery": ["where is my parcel", "my order has not arrived", "when will it be delivered"],
    "refund": ["i want my money back", "how do i return this", "please refund my purchase"],
    "account": ["i forgot my password", "how do i change my email", "delete my account"],
    "praise": ["thank you so much", "great service as always", "i love this shop"],
}
BEFORE = ["", "hello, ", "hi there, ", "sorry, ", "quick question: ", "once more: "]
AFTER = ["", " please", " today", " thanks", "?", " if you can"]
OUTSIDE = [
    f"{ask} {thing}"
    for ask in ("what is the weather in", "who was the king of", "play a song about", "translate")
    for thing in ("paris", "france", "winter", "the sea", "spain", "norway", "apples", "stars")
]


def rows_of_topics() -> list[tuple[str, str]]:
    """Return texts with their topic."""
    return [
        (f"{before}{phrase}{after}", topic)
        for topic, phrases in TOPICS.items()
        for before, phrase, after in itertools.product(BEFORE, phrases, AFTER)
    ]


def write_csv(path: Path, rows: list[tuple[str, str]]) -> Path:
    """Write rows with the columns ``message`` and ``topic``."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["message", "topic"])
        writer.writerows(rows)
    return path
