"""Reads which decisions a ledger has, once what waits to be shipped has been."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Set

from slmesh.ledger.database import Database, Filter, database_url
from slmesh.ledger.ledger import ledger_folder
from slmesh.mesh.settings import Settings

__all__ = ["recorded_decisions"]

_PAUSE_S = 0.5


async def recorded_decisions(
    settings: Settings, flow: str, answered: Set[str], within_s: float
) -> frozenset[str]:
    """Return the recorded decisions of a flow, once every answered one is there or no more comes.

    Args:
        settings: Where the ledger is.
        flow: The flow's name.
        answered: The decisions that were told.
        within_s: The longest wait for them, in seconds.
    """
    end_s = time.monotonic() + within_s
    recorded = await asyncio.to_thread(_recorded, settings, flow)
    while not answered <= recorded and time.monotonic() < end_s:
        await asyncio.sleep(_PAUSE_S)
        recorded = await asyncio.to_thread(_recorded, settings, flow)
    return recorded


def _recorded(settings: Settings, flow: str) -> frozenset[str]:
    database = Database(database_url(settings.ledger_url, ledger_folder(settings)))
    database.prepare()
    try:
        return frozenset(row["decision_id"] for row in database.rows(Filter(flow=flow)))
    finally:
        database.close()
