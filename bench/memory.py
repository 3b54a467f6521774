"""Memory and time against the number of photographs, folds and views, with a small net: what grows, and how.

Peak memory is that of the notebook's process and of its worker together, each size in a process of its own: what they
hold themselves (anonymous and shared memory; pages that a forked worker shares with its parent count once), looked at
twenty times a second. Mapped files, libraries and weights, are left out: the system takes them back when it needs to,
and how much of them counts depends on who else has them open.
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
FEW, MANY = 64, 512  # photographs
ROUNDS = 3
LOOK_S = 0.05


def measure(quick: bool) -> dict[str, Any]:
    """Return `rss_growth` and the lines of `growth`."""
    from bench.budget import plan
    from bench.budget import rounds as rounds_in_time
    from bench.pairs import amount
    from bench.rounds import fitted_line

    plan(10)  # the growth, and three lines of three points
    few, many = (16, 64) if quick else (FEW, MANY)
    rounds = 2 if quick else ROUNDS
    growth, peaks = measure_growth(few, many, rounds)
    sizes = {
        "images": [(images, 2, "none") for images in (8, few, many)],
        "folds": [(64, folds, "none") for folds in (1, 2, 4)],
        "views": [(64, 2, tta) for tta in ("none", "flips", "all")],
    }
    lines = {}
    for what, points in sizes.items():
        x = [
            {"none": 1, "flips": 4, "all": 8}[p[2]] if what == "views" else p[["images", "folds"].index(what)]
            for p in points
        ]
        seconds = [[_seconds(*point) for _ in rounds_in_time(rounds)] for point in points]
        medians = [amount(each, "s")["value"] for each in seconds]
        lines[what] = fitted_line(x, medians, what, "s") | {"rounds": min(map(len, seconds))}
    return {
        "rss_growth": growth,
        "peak_memory": peaks,
        "growth": lines,
    }


def measure_growth(few: int, many: int, rounds: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the peak at `many` photographs over that at `few`, and both peaks in MB."""
    from bench.budget import rounds as rounds_in_time
    from bench.pairs import amount, ratio

    peaks: dict[int, list[float]] = {few: [], many: []}
    for _ in rounds_in_time(rounds):
        for images, found in peaks.items():
            found.append(_apart(images)["peak_bytes"] / 1e6)
    growth = ratio(peaks[many], peaks[few]) | {"images": f"{few} and {many} photographs"}
    return growth, {str(images): amount(found, "MB") for images, found in peaks.items()}


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


def _work(images: int, folds: int, tta: str, out: Path) -> Any:
    from bench.material import SMALL, bundle, competition
    from bench.sides import Work
    from kernel_src.runtime.device import check_device

    recipe = bundle(replace(SMALL, tta=tta), folds)
    return Work(competition=competition(images), recipes=[recipe], device=check_device(), out=out)


def _seconds(images: int, folds: int, tta: str) -> float:
    from bench.sides import our_inference

    with tempfile.TemporaryDirectory() as out:
        work = _work(images, folds, tta, Path(out))
        start = time.perf_counter()
        our_inference(work)
        return time.perf_counter() - start - work.loading_s[-1]


def _apart(images: int) -> dict[str, float]:
    _work(images, 2, "none", ROOT)  # what it works on is made here, once
    done = subprocess.run(
        [sys.executable, "-m", "bench.memory", str(images)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _main(images: int) -> None:
    from bench.sides import our_inference
    from kernel_src.runtime.memory import keep_freed_memory

    keep_freed_memory()
    with tempfile.TemporaryDirectory() as out, PeakMemory() as memory:
        our_inference(_work(images, 2, "none", Path(out)))
    print(json.dumps({"peak_bytes": memory.peak_bytes}))


if __name__ == "__main__":
    _main(int(sys.argv[1]))
