"""Suggests the valid name nearest to a wrong one.

Used by every message about an unknown key, service, flow or collection. It knows nothing of what
the names stand for.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["nearest", "suggestion"]


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """Return the valid name nearest to ``name``, or None when none is near."""
    matches = difflib.get_close_matches(name, list(valid), n=1, cutoff=0.5)
    return matches[0] if matches else None


def suggestion(name: str, valid: Iterable[str]) -> str:
    """Return the end of an error message that helps: the nearest name, or the names there are."""
    names = sorted(valid)
    near = nearest(name, names)
    if near is not None:
        return f"; did you mean '{near}'?"
    return f"; there are: {', '.join(names)}" if names else ""
