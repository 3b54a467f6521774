"""Freed memory is kept for the next step instead of being asked for page by page."""

import subprocess
import sys
from pathlib import Path

import pytest

from kernel_src.common.memory import keep_freed_memory

CODE = """
import resource, sys
from kernel_src.common.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
bytearray(20_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    bytearray(b"x") * 20_000_000
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(mode: str) -> int:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", CODE, mode], cwd=root, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc can be told")
def test_large_blocks_are_reused_without_asking_the_system_for_their_pages_again() -> None:
    assert page_faults("keep") < 0.3 * page_faults("default")


def test_another_system_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr("ctypes.CDLL", None)  # would fail if it were called
    keep_freed_memory()
