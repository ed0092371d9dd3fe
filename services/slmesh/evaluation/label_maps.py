"""Loads the committed maps from the labels of data sets to the names of this project."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

__all__ = ["label_map"]

_FILE = Path(__file__).with_name("label_maps.yaml")


def label_map(contract: str, name: str) -> Any:
    """Return the map of a data set for a contract, or None when it needs none."""
    return _maps()[contract].get(name)


@cache
def _maps() -> Mapping[str, Mapping[str, Any]]:
    content: dict[str, dict[str, Any]] = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    return content
