"""Freed memory is kept for the next step instead of being asked for page by page."""

import subprocess
import sys
from pathlib import Path

import pytest

from kernel_src.common.memory import give_back_freed_memory, keep_freed_memory

ROOT = Path(__file__).resolve().parents[2]
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
    done = subprocess.run([sys.executable, "-c", CODE, mode], cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc can be told")
def test_large_blocks_are_reused_without_asking_the_system_for_their_pages_again() -> None:
    assert page_faults("keep") < 0.3 * page_faults("default")


HELD = """
import sys
from kernel_src.common.memory import give_back_freed_memory
def held():
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1])
before = held()
blocks = [bytearray(b"x") * 50_000 for _ in range(2_000)]
last = bytearray(b"x") * 50_000
del blocks
if sys.argv[1] == "give":
    give_back_freed_memory()
print(held() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc can be told")
def test_what_loading_left_free_is_given_back() -> None:
    def kept_kb(mode: str) -> int:
        done = subprocess.run([sys.executable, "-c", HELD, mode], cwd=ROOT, capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert kept_kb("give") < 20_000 < 80_000 < kept_kb("keep")


def test_another_system_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr("ctypes.CDLL", None)  # would fail if it were called
    keep_freed_memory()
    give_back_freed_memory()
