"""Packages that an interrupted installation left half made, and how they are given up.

An installer takes a package for installed when its `.dist-info` folder has its name and version, which is true before
all files are there. It writes that folder's `RECORD` last: with every file's size, and with `INSTALLER`, which no
wheel brings along. So a package is whole if its RECORD names its INSTALLER and every file is there with its size.
"""

import csv
import shutil
from pathlib import Path


def site_packages(venv: Path) -> Path:
    """Return the folder of an environment's packages; it may not be there."""
    return next(iter(sorted(venv.glob("lib/python3*/site-packages"))), venv / "lib" / "site-packages")


def half_made(site: Path) -> list[Path]:
    """Return the `.dist-info` folders of packages that are not whole."""
    return [info for info in sorted(site.glob("*.dist-info")) if not _is_whole(info)]


def give_up(site: Path) -> list[str]:
    """Remove what says that a half-made package is installed, so that it is made again; return the names."""
    damaged = half_made(site)
    for info in damaged:
        shutil.rmtree(info)
    # What pip had moved aside to replace it, and was killed before it threw it away.
    for aside in site.glob("~*"):
        shutil.rmtree(aside) if aside.is_dir() else aside.unlink()
    return [info.name.removesuffix(".dist-info") for info in damaged]


def _is_whole(info: Path) -> bool:
    try:
        with (info / "RECORD").open(newline="") as file:
            rows = [row for row in csv.reader(file) if row]
        if f"{info.name}/INSTALLER" not in {row[0] for row in rows}:
            return False
        # What Python compiles, it compiles again when it likes.
        sizes = [(row[0], int(row[2])) for row in rows if len(row) > 2 and row[2] and not row[0].endswith(".pyc")]
        return all((info.parent / name).stat().st_size == size for name, size in sizes)
    except (OSError, ValueError):
        return False
