"""Runs a module that ends when the process that started it ends, even by SIGKILL.

``python -m slmesh.platform.tether MODULE``: Linux sends the module's process a SIGTERM when its parent
is gone. Elsewhere the module runs without the tether.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Tie this process to its parent and run a module in it.

    Args:
        arguments: The parent's process id, the module, and the module's own arguments.
    """
    parent, module, *rest = arguments
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):
        sys.exit(0)  # it ended before the tether held
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
