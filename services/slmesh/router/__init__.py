"""Runs declared flows over the services of the mesh: small models first, the reasoner when needed.

``flow`` and ``flow_book`` read declarations, ``conditions``, ``cascade`` and ``answer`` decide, and
know neither gRPC nor Ray; ``engine`` runs a flow over any transport; ``server`` is the process that
clients call, and ``attach`` puts a router into a mesh of this process.
"""
