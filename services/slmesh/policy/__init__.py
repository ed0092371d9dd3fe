"""Which data may reach which model: policies, the seal that carries a decision, and the gate.

Policies are written in Cedar; what none permits is denied. Nothing here knows a transport.
"""

from slmesh.policy.gate import PolicyGate, open_gate

__all__ = ["PolicyGate", "open_gate"]
