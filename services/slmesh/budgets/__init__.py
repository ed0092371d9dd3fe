"""Budgets: what tenants and flows may spend on the reasoner, and which requests it is kept for."""
