"""A writer in London on Tuesday 24 November 2026, and a short way to ask what a text holds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from slmesh.recognise import Context, Value, recognise

REFERENCE = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)

Find = Callable[..., list[tuple[str, Value]]]


@pytest.fixture
def find() -> Find:
    """Return the texts and values of one kind, in order."""

    def found(text: str, kind: str, **context: object) -> list[tuple[str, Value]]:
        settings = {"time_zone": "Europe/London", "reference_time": REFERENCE} | context
        matches = recognise(text, {kind}, Context(**settings))  # type: ignore[arg-type]
        return [(match.text, match.value) for match in matches]

    return found
