"""Tells the libraries that compute how many threads they may use, before they are loaded.

ONNX Runtime is told by its session's options; these variables are for the rest: NumPy's BLAS, PyTorch
(OpenMP), the tokenisers (Rayon). They are read once, when a library is loaded.
"""

from __future__ import annotations

__all__ = ["thread_environment"]

_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "RAYON_NUM_THREADS",
)


def thread_environment(threads: int) -> dict[str, str]:
    """Return the variables of a process that computes with so many threads, >= 1."""
    return dict.fromkeys(_VARIABLES, str(threads))
