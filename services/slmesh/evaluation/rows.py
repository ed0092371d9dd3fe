"""Reads the rows of JSON Lines files, and says where a row that is wrong stands.

Compressed or not is told by the content, not by the name. It knows no data set.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from slmesh.mesh.errors import InvalidArgument

__all__ = ["Row", "read_rows"]

_GZIP_MAGIC = b"\x1f\x8b"

_T = TypeVar("_T")


@dataclass(frozen=True)
class Row:
    """One row of a file.

    Attributes:
        file: The file's name, for messages.
        line: Its line, from 1.
        values: What it holds, by column.
    """

    file: str
    line: int
    values: Mapping[str, Any]

    @property
    def place(self) -> str:
        """Where the row stands, for messages."""
        return f"{self.file}, line {self.line}"

    def text(self, column: str) -> str:
        """Return a column that must hold a text which is not empty.

        Raises:
            InvalidArgument: It does not.
        """
        value = self._typed(column, str, "a text")
        if not value:
            raise self.wrong(f"the column '{column}' is empty")
        return value

    def items(self, column: str) -> list[Any]:
        """Return a column that must hold a list.

        Raises:
            InvalidArgument: It does not.
        """
        return self._typed(column, list, "a list")

    def truth(self, column: str) -> bool:
        """Return a column that must hold true or false.

        Raises:
            InvalidArgument: It does not.
        """
        return self._typed(column, bool, "true or false")

    def wrong(self, problem: str) -> InvalidArgument:
        """Return the error that says what is wrong with the row."""
        return InvalidArgument(f"{self.place}: {problem}", reason="INVALID_ROW")

    def _typed(self, column: str, kind: type[_T], name: str) -> _T:
        if column not in self.values:
            raise self.wrong(f"there is no column '{column}'")
        value = self.values[column]
        if not isinstance(value, kind):
            raise self.wrong(f"the column '{column}' must hold {name}, it holds {value!r:.60}")
        return value


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a JSON Lines file, gzip or not; empty lines are passed over.

    Raises:
        InvalidArgument: The file cannot be read or has no rows, or a line is no JSON object; the
            file and the line are named.
    """
    try:
        data = path.read_bytes()
        if data.startswith(_GZIP_MAGIC):
            data = gzip.decompress(data)
    except (OSError, EOFError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise InvalidArgument(f"{path} cannot be read: {why}", reason="FILE_UNREADABLE") from None
    rows = []
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        row = Row(str(path), number, {})
        try:
            values = json.loads(line.decode("utf-8"))
        except UnicodeDecodeError:
            raise row.wrong("not UTF-8; the file must be UTF-8 text or gzip of it") from None
        except (json.JSONDecodeError, RecursionError) as error:
            raise row.wrong(f"not JSON: {error}") from None
        if not isinstance(values, dict):
            raise row.wrong("not a JSON object")
        rows.append(Row(str(path), number, values))
    if not rows:
        raise InvalidArgument(f"{path} has no rows", reason="EMPTY_FILE")
    return rows
