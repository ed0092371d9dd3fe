"""The ledger: every decision is appended to a local spool and shipped from there to a database.

It keeps records and finds them again. It does not know how a decision is made, who may see one, or
what of a text may be kept: whoever appends has settled that.
"""
