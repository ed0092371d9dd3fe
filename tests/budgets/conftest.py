"""The databases budgets are kept in, as the ledger's tests open them."""

from tests.ledger.conftest import database, url

__all__ = ["database", "url"]
