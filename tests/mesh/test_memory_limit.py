"""A process that may take so much memory and no more: real processes that really take it."""

from __future__ import annotations

import subprocess
import sys

import pytest

LIMITED = """
import sys, time
from slmesh.mesh.memory_limit import limit_memory, resident_mib
limit_mib = round(resident_mib()) + 64
limit_memory(limit_mib, lambda: print("reached", flush=True))
held = []
"""

SLOWLY = """
try:
    while True:
        held.append(b"x" * 2**20)
        time.sleep(0.01)
except MemoryError:  # this small process comes near the kernel's limit too while it says why
    time.sleep(60)
"""
AT_ONCE = """
try:
    held.append(b"x" * 2**30)
except MemoryError:
    print("refused", flush=True)
"""
WITHIN = """
held.append(b"x" * (32 * 2**20))
time.sleep(0.5)
print("fine", flush=True)
"""
MAPPED = """
import mmap, tempfile
with tempfile.TemporaryFile() as file:
    file.truncate(2**30)
    mapped = mmap.mmap(file.fileno(), 2**30, access=mmap.ACCESS_READ)
    print("mapped", flush=True)
"""


def run(code: str) -> tuple[int, str]:
    """Return the exit status and the output of a limited process."""
    ran = subprocess.run(
        [sys.executable, "-c", LIMITED + code], capture_output=True, text=True, timeout=60
    )
    return ran.returncode, ran.stdout.strip()


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (SLOWLY, (137, "reached")),
        (AT_ONCE, (0, "refused")),
        (WITHIN, (0, "fine")),
        (MAPPED, (0, "mapped")),
    ],
    ids=["piece by piece it is ended", "in one piece it is refused", "within", "a mapped file"],
)
def test_a_process_has_its_memory_and_no_more(code, expected):
    assert run(code) == expected


def test_a_process_that_cannot_tell_why_ends_all_the_same():
    code = LIMITED.replace('lambda: print("reached", flush=True)', "lambda: 1 / 0") + SLOWLY
    status = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert status.returncode == 137
