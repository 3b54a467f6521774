"""pip's own words while it installs a lock, read line by line as a count of packages.

With `--require-hashes` pip fetches the packages one by one, in the lock's order, and then unpacks them all:

    Ignoring appnope: markers 'sys_platform == "darwin"' don't match your environment
    Collecting torch==2.14.1 (from -r py312.txt (line 1300))
      Downloading torch-2.14.1-cp312-cp312-manylinux_2_28_x86_64.whl (554.6 MB)
    Requirement already satisfied: numpy==2.1.3 in ./.venv/lib/python3.12/site-packages (from -r py312.txt (line 9))
    Installing collected packages: torch
"""

import re
from collections.abc import Sequence
from pathlib import Path

from build.installation.locks import Locked, canonical

_IGNORED = re.compile(r"Ignoring (?P<name>[^:\s]+): markers ")
_COLLECTING = re.compile(r"Collecting (?P<name>[^\s=\[]+)\S*?==(?P<version>\S+)")
_ON_DISK = re.compile(r"Processing (?P<file>.+?)(?: \(from .*\))?$")
_THERE = re.compile(r"Requirement already satisfied: (?P<name>[^\s=\[<>~!;]+)")
_FETCHED = re.compile(r"\s*(?P<how>Downloading|Using cached) (?P<file>\S+)(?: \((?P<size>[^)]+)\))?$")
_UNPACKING = re.compile(r"Installing collected packages: (?P<names>.+)")


def megabytes(size: float) -> str:
    """Write a number of bytes as pip does."""
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"


class PipWords:
    """How far pip is, by what it has said so far."""

    def __init__(self, packages: Sequence[Locked]) -> None:
        """Begin with nothing said, at a lock of these packages."""
        self.total = len(packages)  # a package that is not for this machine is taken off when pip says so
        self.there: set[str] = set()
        self.now = ""  # the package that is being fetched, with its size
        self.unpacking = 0  # how many packages are being unpacked; 0 before that
        self._packages = packages
        self._begun: set[str] = set()

    def read(self, line: str) -> str:
        """Take in a line of pip's; return what to show of it, or ""."""
        line = line.rstrip()
        if _IGNORED.match(line):
            self.total -= 1
        elif found := _COLLECTING.match(line):
            self._begin(canonical(found["name"]), found["version"])
        elif found := _THERE.match(line):
            self.there.add(canonical(found["name"]))
            self._begun.add(canonical(found["name"]))
        elif found := _ON_DISK.match(line):
            file = Path(found["file"])
            self._begin(*self._of(file.name))
            return self._fetched(
                f"{megabytes(file.stat().st_size)}, on this disk" if file.is_file() else "on this disk"
            )
        elif found := _FETCHED.match(line):
            if not found["file"].endswith(".metadata"):
                cached = ", from the cache" if found["how"] == "Using cached" else ""
                return self._fetched((found["size"] or "size unknown") + cached)
        elif found := _UNPACKING.match(line):
            self.unpacking, self.now = len(found["names"].split(", ")), ""
            return f"unpacking {self.unpacking} packages"
        return ""

    def _begin(self, name: str, version: str) -> None:
        self._begun.add(name)
        self.now = f"{name} {version}".strip()

    def _fetched(self, size: str) -> str:
        self.now += f" ({size})"
        return f"{len(self._begun):{len(str(self.total))}}/{self.total} {self.now}"

    def _of(self, file: str) -> tuple[str, str]:
        """Return the package and version of a wheel or of a source archive."""
        for package in self._packages:
            if canonical(file).startswith(canonical(f"{package.name}-{package.version}")):
                return package.name, package.version
        return file, ""
