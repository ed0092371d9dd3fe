"""Runs a whole mesh on this machine: Ray, Serve, the services and the router, and stops it again.

``Supervisor`` starts and watches, ``down`` ends, ``status`` looks. None of them imports Ray: it lives
in a process of its own, so that its death is an event here and not an end.
"""
