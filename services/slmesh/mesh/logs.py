"""Log events: one JSON object a line, with fields from one list, and never a user's text.

Modules log with ``extra`` fields of :data:`FIELDS`; only a process's entry point calls
:func:`configure`.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path

__all__ = ["FIELDS", "configure"]

FIELDS = frozenset(
    {
        "service", "method", "code", "reason", "duration_ms", "tenant", "decision_id", "items",
        "trace_id", "error_id", "flow", "step", "path", "address", "port", "pid", "version", "digest",
        "state", "age_s", "zone", "region", "instance_id", "index", "attempt", "engine", "model",
        "tokens", "file", "error", "delay_s", "count", "bytes", "revision",
    }
)  # fmt: skip
"""Every field a log event may have beside time, level, logger and event."""


_ENCODED = json.JSONEncoder(default=str, ensure_ascii=False).encode


class _JsonLines(logging.Formatter):
    _second = -1
    _written = ""

    def format(self, record: logging.LogRecord) -> str:
        second = int(record.created)
        if second != self._second:
            # the same for all events of a second, and a tenth of what one costs
            self._written = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second
        event = {
            "time": f"{self._written}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        event |= {key: value for key, value in record.__dict__.items() if key in FIELDS}
        if record.exc_info:
            event["traceback"] = self.formatException(record.exc_info)
        return _ENCODED(event)


def configure(level: str, file: Path | None = None) -> None:
    """Send slmesh's events to a file, or to standard error; for a process's entry point only."""
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        handler: logging.Handler = logging.FileHandler(file, encoding="utf-8")
    else:
        handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    logger = logging.getLogger("slmesh")
    logger.handlers[:] = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False
