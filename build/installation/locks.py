"""The locks: every package of an environment, direct or not, at one version, with the sha256 of each of its files.

`build/locks/py312.txt` is what `.venv` holds on Python 3.12, `lab-py312.txt` the same for `.venv-lab`, and
`lock-py312.txt` the program that writes them (`make lock`). They are requirements files as pip's `--require-hashes`
reads them, which refuses a package that is not in them and a file of another content. The hashes are those of all files
that the registry has of a version, so that one lock serves Linux and macOS; what one of them does not need says so in a
marker.

`pyproject.toml` says what is wanted. `differences` compares the two, and set-up stops where they disagree.
"""

import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = ROOT / "pyproject.toml"
LOCKS = ROOT / "build" / "locks"
PYTHONS = ((3, 11), (3, 12), (3, 13))
KIT, LAB, LOCK = "kit", "lab", "lock"
GROUPS = (KIT, LAB, LOCK)

_ENTRY = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[A-Za-z0-9.!+]+)(?: ; (?P<marker>[^\\]+?))? \\")
_HASH = re.compile(r"    --hash=sha256:(?P<sha256>[0-9a-f]{64})(?P<more> \\)?")
_PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[[a-z0-9,_-]+\])?==(?P<version>[A-Za-z0-9.!+]+)")


@dataclass(frozen=True)
class Locked:
    """A package of a lock."""

    name: str  # canonical: lower case, with hyphens
    version: str
    marker: str  # where it is needed; "" is everywhere
    hashes: tuple[str, ...]  # sha256


def requirements(pyproject: Path = PYPROJECT, group: str = KIT) -> list[str]:
    """Return the direct dependencies of an environment, as they stand in pyproject.toml."""
    content = tomllib.loads(pyproject.read_text())
    groups = content["dependency-groups"]
    return [*content["project"]["dependencies"], *groups["dev"]] if group == KIT else list(groups[group])


def lock_file(group: str, python: Sequence[int], folder: Path = LOCKS) -> Path:
    """Return where the lock of an environment is for a Python such as (3, 12)."""
    prefix = "" if group == KIT else f"{group}-"
    return folder / f"{prefix}py{python[0]}{python[1]}.txt"


def canonical(name: str) -> str:
    """Return a package's name as the registry compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_lock(path: Path) -> list[Locked]:
    """Return the packages of a lock, in its order.

    Raises:
        ValueError: a line is no pinned package with hashes; says which.
    """
    packages: list[Locked] = []
    hashes: list[str] = []
    entry: re.Match[str] | None = None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not entry and (not line or line.startswith("#")):
            continue
        found = (_HASH if entry else _ENTRY).fullmatch(line)
        if found is None:
            kind = "the sha256 of a file" if entry else "a package with its version and hashes"
            raise ValueError(f"{path}:{number}: not {kind}: {line!r} → make lock")
        if entry is None:
            entry, hashes = found, []
            continue
        hashes.append(found["sha256"])
        if not found["more"]:
            packages.append(Locked(canonical(entry["name"]), entry["version"], entry["marker"] or "", tuple(hashes)))
            entry = None
    if entry:
        raise ValueError(f"{path}: ends within {entry['name']} → make lock")
    return packages


def differences(wanted: Iterable[str], packages: Sequence[Locked]) -> list[str]:
    """Return the direct dependencies that a lock does not hold at their version, each with what it holds instead."""
    held: dict[str, list[str]] = {}
    for package in packages:
        held.setdefault(package.name, []).append(package.version)
    wrong = []
    for line in wanted:
        pin = _PIN.fullmatch(line)
        if pin is None:
            wrong.append(f"{line} is not pinned: write NAME==VERSION")
        elif held.get(canonical(pin["name"])) != [pin["version"]]:
            found = " and ".join(held.get(canonical(pin["name"]), [])) or "not there"
            wrong.append(f"{line} is {found} in the lock")
    return wrong
