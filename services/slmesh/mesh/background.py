"""Tasks that run in the background until they are told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

__all__ = ["end", "repeat"]


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


async def repeat(
    work: Callable[[], Awaitable[None]], pause_s: float, log: logging.Logger, failed: str
) -> NoReturn:
    """Do some work over and over; an error is logged and ends nothing.

    Args:
        work: The work.
        pause_s: Seconds between its end and its next beginning.
        log: Where an error is written.
        failed: The event of an error.
    """
    while True:
        try:
            await work()
        except Exception:
            log.exception(failed)
        await asyncio.sleep(pause_s)
