"""The schema of the ledger's database, step by step."""
