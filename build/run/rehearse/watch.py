"""The limits, enforced from outside: wall time and memory of everything that the sandbox runs."""

import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

POLL_S = 0.2
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
    try:
        while True:
            try:
                process.wait(POLL_S)
                break
            except subprocess.TimeoutExpired:
                pass
            now = tree_memory_gb(process.pid)
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


def tree_memory_gb(pid: int) -> float:
    """Sum the memory of a process and all its descendants, in GB of 1024³ bytes."""
    return sum(_memory_kb(member) for member in _tree(pid)) / 1024**2


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
