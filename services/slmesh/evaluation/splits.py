"""Splits a data set that comes without splits, the same way every time.

``sha256(group) mod 10``: 0 to 6 train, 7 validates, 8 and 9 test. The group is a column of the set
whose rows must not be separated, or the text. It knows no format by name.
"""

from __future__ import annotations

import hashlib
from enum import Enum

__all__ = ["SPLITS", "OwnSplits", "belongs", "bucket", "normalised"]

SPLITS = ("all", "train", "validation", "test")
"""What may be asked for."""

_VALIDATION_BUCKET = 7
_TEST_BUCKETS = (8, 9)


class OwnSplits(Enum):
    """Which splits the files of a set are already."""

    NONE = "one file, to be split by group"
    NO_VALIDATION = "train and test files; validation is a part of train"
    ALL = "a file for each split"
    TEST_ONLY = "one file, never to train on"


def normalised(text: str) -> str:
    """Return a text in lower case with single spaces: what makes two texts the same."""
    return " ".join(text.lower().split())


def bucket(group: str) -> int:
    """Return the bucket of a group, in [0, 9]."""
    return int(hashlib.sha256(group.encode()).hexdigest(), 16) % 10


def belongs(group: str, split: str, own: OwnSplits) -> bool:
    """Return whether the rows of a group belong to a split.

    Args:
        group: The group, or the normalised text where a set has no groups.
        split: One of :data:`SPLITS`; of a set with a train file, a split of that file.
        own: Which splits the set's files are already.
    """
    if split == "all":
        return True
    if own is OwnSplits.TEST_ONLY:
        return split == "test"
    number = bucket(group)
    if split == "validation":
        return number == _VALIDATION_BUCKET
    if own is OwnSplits.NO_VALIDATION:
        return split == "train" and number != _VALIDATION_BUCKET
    return (number in _TEST_BUCKETS) == (split == "test") and number != _VALIDATION_BUCKET
