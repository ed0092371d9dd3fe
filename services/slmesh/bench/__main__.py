"""``python -m slmesh.bench hop|ledger|memory|policy|startup``: measures and prints one JSON object."""

from __future__ import annotations

import argparse
import json
import sys

from slmesh.mesh.settings import load_settings

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run one benchmark."""
    parser = argparse.ArgumentParser(prog="python -m slmesh.bench")
    parser.add_argument("what", choices=("hop", "ledger", "memory", "policy", "startup"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--kills", type=int, default=20, help="of the router, by ledger")
    parser.add_argument("--json", action="store_true", help="the only format; kept for scripts")
    chosen = parser.parse_args(arguments)
    settings = load_settings()

    def progress(step: str) -> None:
        sys.stderr.write(f"{step}\n")

    if chosen.what == "hop":
        from slmesh.bench.hop import run as measure_hop

        result = measure_hop(settings, rounds=chosen.rounds, on_progress=progress)
    elif chosen.what == "ledger":
        from slmesh.bench.ledger import run as measure_ledger

        result = measure_ledger(
            settings, kills=chosen.kills, rounds=chosen.rounds, on_progress=progress
        )
    elif chosen.what == "memory":
        from slmesh.bench.memory import run as measure_memory

        result = measure_memory(settings)
    elif chosen.what == "policy":
        from slmesh.bench.policy_hop import run as measure_policy

        result = measure_policy(settings, rounds=chosen.rounds)
    else:
        from slmesh.bench.startup import run as measure_startup

        result = measure_startup(settings, on_progress=progress)
    sys.stdout.write(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
