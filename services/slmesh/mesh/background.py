"""Ends tasks that run in the background until they are told to stop."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

__all__ = ["end"]


async def end(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait until it has ended.

    Args:
        task: The task.

    Raises:
        Exception: What the task had failed with before.
    """
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
