"""Sets up `.venv` from its lock: `python3 -m build.environment`, standard library only because it comes first.

`python3 -m build.environment lab` sets up `.venv-lab`, which `make lab` runs from; `… lock` writes the locks anew.

Keyed by the lock, pyproject.toml and the interpreter: where they are the same as last time nothing is done. What is
done last is to leave a stamp for the key, so an environment that was interrupted, or killed, half-way is never taken
for a whole one.
"""

import contextlib
import fcntl
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from build.installation.damage import give_up, half_made, site_packages
from build.installation.installer import install
from build.installation.locks import (
    KIT,
    LAB,
    LOCK,
    LOCKS,
    PYPROJECT,
    PYTHONS,
    differences,
    lock_file,
    read_lock,
    requirements,
)
from build.installation.resolution import refresh

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
VENV_LAB = ROOT / ".venv-lab"
INTERRUPTED = 130


def set_up_lab() -> int:
    """Make the environment of `make lab` unless it is there."""
    return set_up(LAB, VENV_LAB, size="half a minute, once")


def set_up(
    group: str = KIT,
    venv: Path = VENV,
    size: str = "torch is 5 GB: minutes, once",
    pyproject: Path = PYPROJECT,
    locks: Path = LOCKS,
) -> int:
    """Make an environment unless it is there; say what is done and return the exit code."""
    python = sys.version_info[:2]
    if python not in PYTHONS:
        print(f"Python {sys.version.split()[0]} will not do: the kit needs 3.11 to 3.13 → make PYTHON=python3.12 …")
        return 2
    lock, wanted = lock_file(group, python, locks), requirements(pyproject, group)
    if not lock.exists():
        print(f"setup: there is no {lock} → make lock")
        return 2
    key = hashlib.sha256(lock.read_bytes() + "\n".join([*wanted, str(python)]).encode()).hexdigest()[:16]
    stamp = venv / f".kit-{key}"
    if stamp.exists():
        return 0
    try:
        packages = read_lock(lock)
    except ValueError as error:
        print(f"setup: {error}")
        return 2
    # The program that writes the locks is taken from the locks of before.
    if group != LOCK and (wrong := differences(wanted, packages)):
        print(f"setup: {lock} is older than {pyproject.name}: {'; '.join(wrong)} → make lock")
        return 2
    try:
        with _alone_in(venv) as handle:
            if stamp.exists():  # made while we waited
                return 0
            start = time.perf_counter()
            _prepare(venv)
            print(f"setup: {lock.name} → {venv} ({size})", flush=True)
            if install(venv / "bin" / "python", lock, packages, venv / ".unpacking", handle):
                print("setup: failed, see above; nothing is marked as done, so the same command tries again")
                return 1
            for old in venv.glob(".kit-*"):
                old.unlink()
            stamp.touch()
    except KeyboardInterrupt:
        print("setup: interrupted; what has come is kept, and the same command goes on", flush=True)
        return INTERRUPTED
    print(f"setup: done in {time.perf_counter() - start:.0f} s")
    return 0


def _prepare(venv: Path) -> None:
    """Make the environment's own Python and pip unless they are there and whole; give half-made packages up."""
    python = venv / "bin" / "python"
    site = site_packages(venv)
    broken_pip = any(info.name.startswith("pip-") for info in half_made(site))
    version = f"import pip, sys; raise SystemExit(sys.version_info[:2] != {tuple(sys.version_info[:2])})"
    if broken_pip or not python.exists() or subprocess.run([python, "-c", version], capture_output=True).returncode:
        print(f"setup: creating {venv}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
    elif given_up := give_up(site):
        print(f"setup: half made, and made again: {', '.join(given_up)}", flush=True)


@contextlib.contextmanager
def _alone_in(venv: Path) -> Iterator[int]:
    """Keep other set-ups of the same environment waiting; yields the descriptor that does it."""
    venv.mkdir(parents=True, exist_ok=True)
    handle = os.open(venv, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"setup: {venv} is being set up by another process; waiting for it", flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)


def write_locks(upgrade: bool) -> int:
    """Write the locks anew, with the uv that the locks of before name; return the exit code."""
    tool = ROOT / "out" / "uv"
    return set_up(LOCK, tool, "it writes the locks") or refresh(tool / "bin" / "uv", upgrade)


if __name__ == "__main__":
    if sys.argv[1:2] == ["lock"]:
        raise SystemExit(write_locks(upgrade=sys.argv[2:] == ["--upgrade"]))
    raise SystemExit(set_up_lab() if sys.argv[1:] == ["lab"] else set_up())
