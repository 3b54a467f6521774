"""Sets up `.venv` from pyproject.toml: `python3 -m build.environment`, standard library only because it comes first.

`python3 -m build.environment lab` sets up `.venv-lab`, which `make lab` runs from.

Keyed by the dependencies and the interpreter: where they are the same as last time nothing is done.
"""

import hashlib
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
VENV_LAB = ROOT / ".venv-lab"
OLDEST, NEWEST = (3, 11), (3, 13)


def requirements(pyproject: Path) -> list[str]:
    """Return the pinned dependencies of the kit and of its tests."""
    content = tomllib.loads(pyproject.read_text())
    return [*content["project"]["dependencies"], *content["dependency-groups"]["dev"]]


def lab_requirements(pyproject: Path = ROOT / "pyproject.toml") -> list[str]:
    """Return the pinned dependencies of `make lab`, which has an environment of its own."""
    return list(tomllib.loads(pyproject.read_text())["dependency-groups"]["lab"])


def set_up_lab() -> int:
    """Make the environment of `make lab` unless it is there."""
    return set_up(venv=VENV_LAB, wanted=lab_requirements(), size="half a minute, once")


def set_up(
    pyproject: Path = ROOT / "pyproject.toml",
    venv: Path = VENV,
    wanted: list[str] | None = None,
    size: str = "torch is 5 GB: minutes, once",
) -> int:
    """Make the environment unless it is there; say what is done and return the exit code."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        print(f"Python {sys.version.split()[0]} will not do: the kit needs 3.11 to 3.13 → make PYTHON=python3.12 …")
        return 2
    wanted = requirements(pyproject) if wanted is None else wanted
    key = hashlib.sha256("\n".join([*wanted, str(sys.version_info[:2])]).encode()).hexdigest()[:16]
    stamp = venv / f".kit-{key}"
    if stamp.exists():
        return 0
    start = time.perf_counter()
    python = venv / "bin" / "python"
    if not python.exists() or subprocess.run([python, "-c", "import pip"], capture_output=True).returncode:
        print(f"setup: creating {venv}")
        subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
    print(f"setup: installing {len(wanted)} pinned packages into {venv} ({size})", flush=True)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(wanted))
        file.flush()
        done = subprocess.run([python, "-m", "pip", "install", "--quiet", "--requirement", file.name])
    if done.returncode:
        print("setup: pip failed, see above; nothing is marked as done, so the same command tries again")
        return 1
    for old in venv.glob(".kit-*"):
        old.unlink()
    stamp.touch()
    print(f"setup: done in {time.perf_counter() - start:.0f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(set_up_lab() if sys.argv[1:] == ["lab"] else set_up())
