"""The tables of spending. They are created by the migrations of the ledger's database."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Index, MetaData, String, Table

__all__ = ["METADATA", "RESERVATION", "WINDOW"]

METADATA = MetaData()

WINDOW = Table(
    "budget_window",
    METADATA,
    Column("scope", String(300), primary_key=True),  # tenant:acme, flow:support
    Column("start_s", BigInteger, primary_key=True, autoincrement=False),  # since 1970, UTC
    Column("demand", BigInteger, nullable=False, default=0),  # requests that wanted the reasoner
    Column("answers", BigInteger, nullable=False, default=0),  # settled ones, for the mean size
    # spent and reserved together: what a new request has to fit beside
    Column("requests", BigInteger, nullable=False, default=0),
    Column("tokens", BigInteger, nullable=False, default=0),
    Column("usd_micros", BigInteger, nullable=False, default=0),
    # the part of it that is reserved and not settled
    Column("reserved_tokens", BigInteger, nullable=False, default=0),
    Column("reserved_usd_micros", BigInteger, nullable=False, default=0),
)
"""One row a scope and window."""

RESERVATION = Table(
    "budget_reservation",
    METADATA,
    Column("id", String(600), primary_key=True),  # tenant and request id
    Column("scope", String(300), primary_key=True),
    Column("start_s", BigInteger, nullable=False),
    Column("state", String(8), nullable=False),  # active, settled or released
    Column("requests", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("usd_micros", BigInteger, nullable=False),
    Column("expires_s", Float, nullable=False),
    Index("budget_reservation_active", "scope", "state", "expires_s"),
)
"""One row a request and scope it counts against."""
