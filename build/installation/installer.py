"""The installation of a lock into an environment, with uv where it is on the path, else with the environment's own pip.

pip is shown by us: a line for each package that is fetched, with its number and size, and between the lines how much of
a large file has come and how many packages are unpacked. uv shows its own bars. Both refuse a file whose sha256 is not
in the lock. What they have fetched completely stays in their caches, so an installation that was stopped goes on from
there.
"""

import contextlib
import os
import queue
import shutil
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from build.installation.damage import site_packages
from build.installation.locks import Locked
from build.installation.pip_words import PipWords, megabytes

TTY_EVERY_S, LOG_EVERY_S = 0.5, 30.0  # between two looks at how far it is
LAST_WORDS = 30  # of pip, shown where it fails
STOP_S = 5.0  # that an interrupted pip has to tidy up


def install(python: Path, lock: Path, packages: Sequence[Locked], temporary: Path, keep_open: int) -> int:
    """Install what the lock holds and return the exit code; `keep_open` is a descriptor that ends with the installer.

    Raises:
        KeyboardInterrupt: it was interrupted, and the installer has ended.
    """
    uv = shutil.which("uv")
    if uv is None:
        return _with_pip(python, lock, packages, temporary, keep_open)
    print(f"setup: at most {len(packages)} packages, by {uv}", flush=True)
    # Compiled here, as pip does: a rehearsal may not write into the environment.
    words = ["pip", "install", "--require-hashes", "--compile-bytecode", "--python", str(python)]
    return subprocess.run([uv, *words, "--requirement", str(lock)], pass_fds=[keep_open]).returncode


def _with_pip(python: Path, lock: Path, packages: Sequence[Locked], temporary: Path, keep_open: int) -> int:
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    # Beside the packages, since /tmp may be smaller than torch, and so that a file can be watched as it grows.
    variables = os.environ | {"TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [python, "-m", "pip", "install", "--require-hashes", "--progress-bar", "off", "--requirement", str(lock)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=variables,
        pass_fds=[keep_open],
    )
    words, display, last = PipWords(packages), _Display(), deque[str](maxlen=LAST_WORDS)
    before = _installed(python)
    try:
        for line in _lines(process, display.every_s):
            if line is None:
                display.passing(_between(words, temporary, python, before))
                continue
            if shown := words.read(line):
                display.line(shown)
            elif line.strip():
                last.append(line.rstrip())
        code = process.wait()
    except KeyboardInterrupt:
        display.passing("")
        _stop(process)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    display.passing("")
    if code:
        print("\n".join(last))
    elif words.there:
        display.line(f"{len(words.there)} of {words.total} packages were there already")
    return code


def _lines(process: "subprocess.Popen[str]", every_s: float) -> Iterator[str | None]:
    """Yield what a program writes, and None where it has written nothing for a while."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        for line in process.stdout or ():
            lines.put(line)
        lines.put(None)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    while True:
        try:
            line = lines.get(timeout=every_s)
        except queue.Empty:
            yield None
            continue
        if line is None:
            return
        yield line


def _between(words: PipWords, temporary: Path, python: Path, before: set[str]) -> str:
    """Say how far the present step is."""
    if words.unpacking:
        return f"unpacked {min(words.unpacking, len(_installed(python) - before))} of {words.unpacking}"
    sizes = []
    for path in temporary.rglob("*"):
        with contextlib.suppress(OSError):  # gone meanwhile
            sizes.append(path.stat().st_size if path.is_file() else 0)
    return f"{words.now}: {megabytes(max(sizes, default=0))} so far" if words.now else ""


def _installed(python: Path) -> set[str]:
    return {path.name for path in site_packages(python.parents[1]).glob("*.dist-info")}


def _stop(process: "subprocess.Popen[str]") -> None:
    """Wait for a program that got the same Ctrl-C, and end it if it did not get one."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
        return
    process.terminate()
    process.wait()


class _Display:
    """Lines that stay, and in a terminal one below them that is written over."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self.every_s = TTY_EVERY_S if self._terminal else LOG_EVERY_S

    def line(self, text: str) -> None:
        print(f"{self._clear()}setup: {text}", flush=True)

    def passing(self, text: str) -> None:
        if self._terminal:
            print(f"{self._clear()}{'setup: ' if text else ''}{text}", end="", flush=True)
        elif text:
            self.line(text)

    def _clear(self) -> str:
        return "\r\x1b[K" if self._terminal else ""
