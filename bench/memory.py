"""Peak memory against the number of photographs, with a small net: it should not grow.

The peak is that of the notebook's process and of its worker together, each size in a process of its own: what they
hold themselves (anonymous and shared memory; pages that a forked worker shares with its parent count once), looked at
twenty times a second. Mapped files, libraries and weights, are left out: the system takes them back when it needs to,
and how much of them counts depends on who else has them open.
"""

import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from bench.timing import amount, ratio, rounds

ROOT = Path(__file__).resolve().parents[1]
FEW, MANY = 64, 512  # photographs
ROUNDS = 3
LOOK_S = 0.05


def measure(quick: bool) -> dict[str, Any]:
    """Return `rss_growth`, the peak at many photographs over that at few, and both peaks in MB."""
    peaks: dict[int, list[float]] = {16: [], 64: []} if quick else {FEW: [], MANY: []}
    for _ in rounds(2 if quick else ROUNDS):
        for images, found in peaks.items():
            found.append(_apart(images) / 1e6)
    few, many = peaks.values()
    growth = ratio(many, few) | {"images": " and ".join(map(str, peaks)) + " photographs"}
    return {"rss_growth": growth, "peak_memory": {str(images): amount(found, "MB") for images, found in peaks.items()}}


class PeakMemory:
    """Watches the memory of this process and of all below it from a thread of its own, while it is entered."""

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self.peak_bytes = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "PeakMemory":
        """Begin to watch."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop watching."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        this = psutil.Process()
        while not self._ended.wait(LOOK_S):
            total = 0
            for process in (this, *this.children(recursive=True)):
                with suppress(psutil.NoSuchProcess, ProcessLookupError, FileNotFoundError):  # it has just ended
                    total += held_bytes(process.pid)
            self.peak_bytes = max(self.peak_bytes, total)


def held_bytes(pid: int) -> int:
    """Return a process's anonymous and shared memory, pages that several have divided among them; Linux only.

    Raises:
        FileNotFoundError, ProcessLookupError: the process has ended.
    """
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    kilobytes = {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines[1:])}
    return 1024 * (kilobytes["Pss_Anon"] + kilobytes["Pss_Shmem"])


def _work(images: int, out: Path) -> Any:
    from bench.material import SMALL, bundle, competition
    from bench.sides import Work
    from kernel_src.runtime.device import check_device

    return Work(competition=competition(images), recipes=[bundle(SMALL)], device=check_device(), out=out)


def _apart(images: int) -> int:
    """Return the peak in bytes, measured in a process of its own."""
    _work(images, ROOT)  # what it works on is made here, once
    command = [sys.executable, "-m", "bench.memory", str(images)]
    return int(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def _main(images: int) -> None:
    from bench.sides import our_inference
    from kernel_src.runtime.memory import keep_freed_memory

    keep_freed_memory()
    with tempfile.TemporaryDirectory() as out, PeakMemory() as memory:
        our_inference(_work(images, Path(out)))
    print(memory.peak_bytes)


if __name__ == "__main__":
    _main(int(sys.argv[1]))
