"""The limits, enforced from outside: wall time and memory of everything that the sandbox runs."""

import resource
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

POLL_S = 0.2
PSS_SHARE = 0.05  # of the time at most goes into reading proportional set sizes: the kernel counts every page for them
PAGE_KB = resource.getpagesize() // 1024
STACK_S = 0.3  # for the kernel to write down where it is


@dataclass(frozen=True)
class Watched:
    """How a watched process went."""

    seconds: float
    peak_gb: float  # 1 GB = 1024³ bytes, as Kaggle counts
    exit_status: int
    stopped_by: Literal["", "time", "memory"]


def watch(
    process: subprocess.Popen[bytes], *, limit_s: float, memory_gb: float, on_poll: Callable[[], None] | None = None
) -> Watched:
    """Wait for the process, and end it with all it started at the first limit it breaks.

    Memory is the sum of the proportional set sizes (PSS): pages that forked loader workers share count once.
    Whatever ends this function, an exception or Ctrl-C included, the process tree is gone afterwards.
    """
    started, peak, stopped = time.monotonic(), 0.0, ""
    memory = MemoryReader(process.pid)
    try:
        while True:
            try:
                process.wait(POLL_S)
                break
            except subprocess.TimeoutExpired:
                pass
            now = memory.read(memory_gb)
            peak = max(peak, now)
            if on_poll:
                on_poll()
            if time.monotonic() - started > limit_s:
                stopped = "time"
                break
            if now > memory_gb:
                stopped = "memory"
                break
        if stopped:
            _ask_for_stacks(process.pid)
    finally:
        kill_tree(process)
    seconds = time.monotonic() - started
    return Watched(seconds, peak, process.wait(), stopped)  # type: ignore[arg-type]  # one of the literals above


class MemoryReader:
    """The memory of a process and all its descendants, read as often as that costs little, and always near the limit.

    Of 2 GB the PSS took 50 ms of a core, a quarter of it when asked for every 0.2 s. The resident sizes (RSS) cost
    nothing, and their sum is never less: as long as it is under the limit, so is the PSS.
    """

    def __init__(self, pid: int) -> None:
        """Begin with nothing read of the process `pid`."""
        self.pid, self.last_gb, self.next = pid, 0.0, 0.0

    def read(self, limit_gb: float) -> float:
        """Return GB of 1024³ bytes: of now, or of a moment ago where less than `limit_gb` is sure."""
        members, start = _tree(self.pid), time.monotonic()
        if start >= self.next or sum(map(_resident_kb, members)) / 1024**2 > limit_gb:
            self.last_gb = tree_memory_gb(members)
            took = time.monotonic() - start
            self.next = start + took / PSS_SHARE
        return self.last_gb


def tree_memory_gb(members: Sequence[int]) -> float:
    """Sum the PSS of these processes, in GB of 1024³ bytes."""
    return sum(_memory_kb(member) for member in members) / 1024**2


def _resident_kb(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_KB
    except OSError:
        return 0  # it is gone


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and all its descendants; nothing happens to one that has ended."""
    import psutil

    if process.poll() is not None:
        return
    members = _tree(process.pid)
    process.kill()
    for pid in members[1:]:
        try:
            psutil.Process(pid).kill()
        except psutil.NoSuchProcess:
            pass  # it went with its namespace or its parent
    process.wait()


def _ask_for_stacks(pid: int) -> None:
    """Let the notebook's kernel write down the line it is at (the guard has it do so on SIGUSR1)."""
    import psutil

    for member in _tree(pid):
        try:
            if "ipykernel_launcher" in psutil.Process(member).cmdline():
                psutil.Process(member).send_signal(signal.SIGUSR1)
                time.sleep(STACK_S)
                return
        except psutil.NoSuchProcess:
            continue


def _tree(pid: int) -> list[int]:
    import psutil

    try:
        root = psutil.Process(pid)
        return [pid, *(child.pid for child in root.children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def _memory_kb(pid: int) -> int:
    """Read one process's PSS; its RSS where the kernel does not report that; 0 once it is gone."""
    for name, field in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
        try:
            text = Path(f"/proc/{pid}/{name}").read_text()
        except OSError:
            continue
        for line in text.splitlines():
            if line.startswith(field):
                return int(line.split()[1])
    return 0
