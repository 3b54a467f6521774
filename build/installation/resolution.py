"""The locks written anew by uv: `make lock` keeps what still fits, `make lock UPGRADE=1` takes the newest versions.

uv resolves for a Python and for platforms that are not at hand, from the registry's metadata alone, and gives the
sha256 of every file of a version. It comes from a lock itself, so that nothing is ever installed whose content was not
known before.
"""

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from build.installation.locks import GROUPS, LOCKS, PYPROJECT, PYTHONS, Locked, lock_file, read_lock, requirements

PLATFORMS = "(sys_platform == 'darwin' or sys_platform == 'linux')"
HEADING = "# Written by `make lock` from pyproject.toml; see build/installation/locks.py.\n"


def refresh(uv: Path, upgrade: bool, pyproject: Path = PYPROJECT, locks: Path = LOCKS) -> int:
    """Write every lock anew, or none where one cannot be resolved; say what changed and return the exit code."""
    texts: dict[Path, str] = {}
    for group in GROUPS:
        for python in PYTHONS:
            path = lock_file(group, python, locks)
            done = resolve(uv, requirements(pyproject, group), python, None if upgrade else path)
            if done.returncode:
                print(f"lock: {path.name}: uv finds no set of versions; nothing is written\n{done.stderr}")
                return 1
            texts[path] = HEADING + without_what_holds(done.stdout, python)
    locks.mkdir(exist_ok=True)
    for path, text in texts.items():
        before = read_lock(path) if path.exists() else []
        new = path.with_suffix(".new")
        new.write_text(text)
        new.replace(path)
        print(f"lock: {path.name}: {changes(before, read_lock(path))}")
    return 0


def resolve(
    uv: Path, wanted: Sequence[str], python: Sequence[int], preferred: Path | None
) -> "subprocess.CompletedProcess[str]":
    """Let uv find versions for one Python, those of the lock `preferred` where they fit."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        holds = f"{' and '.join(conditions(python))} and python_full_version >= '{python[0]}.{python[1]}'"
        (folder / "pyproject.toml").write_text(f'[tool.uv]\nenvironments = ["{holds} and {PLATFORMS}"]\n')
        (folder / "requirements.in").write_text("\n".join(wanted) + "\n")
        if preferred and preferred.exists():
            (folder / "lock.txt").write_text(preferred.read_text())
        words = ["pip", "compile", "--universal", "--generate-hashes", "--no-header", "--no-annotate"]
        version = ["--python-version", f"{python[0]}.{python[1]}"]
        return subprocess.run(
            [uv, *words, *version, "--output-file", "lock.txt", "requirements.in"],
            cwd=folder,
            capture_output=True,
            text=True,
        )


def conditions(python: Sequence[int]) -> list[str]:
    """Return what is true wherever the lock of a Python is read, as markers."""
    return [f"python_full_version < '{python[0]}.{python[1] + 1}'", "implementation_name == 'cpython'"]


def without_what_holds(text: str, python: Sequence[int]) -> str:
    """Leave out of a lock's markers what is true anyway, for a lock that can be read."""
    for condition in conditions(python):
        text = text.replace(f"{condition} and ", "")
    return text.replace(f" ; {PLATFORMS}", "").replace(f" and {PLATFORMS}", "")


def changes(before: Sequence[Locked], after: Sequence[Locked]) -> str:
    """Say what a lock holds now that it did not."""
    old, new = ({package.name: package.version for package in packages} for packages in (before, after))
    words = [
        *(f"{name} {old[name]} → {new[name]}" for name in sorted(old.keys() & new) if old[name] != new[name]),
        *(f"{name} {new[name]} new" for name in sorted(new.keys() - old)),
        *(f"{name} gone" for name in sorted(old.keys() - new)),
    ]
    if not words and tuple(before) != tuple(after):
        words = ["other files or markers"]
    return f"{len(after)} packages, {', '.join(words) if before and words else 'new' if words else 'unchanged'}"
