"""The parts of a router that its health service tells of, each under a name of its own.

A part that does not serve leaves the router itself serving: with what it had before, or without it.
"""

from __future__ import annotations

__all__ = ["FLOWS", "LEDGER", "POLICY"]

FLOWS = "flows"
"""Tells whether every flow is served as its file declares it."""

POLICY = "policy"
"""Tells whether the policy is in force as its files say."""

LEDGER = "ledger"
"""Tells whether the ledger's database takes records."""
