"""What a run left is kept in the user's folder: plain files only, nothing that leads elsewhere or never ends."""

import json
import os
import shutil
import stat
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from build.core.untrusted import read_foreign_file
from build.notebooks.notebook_file import read_notebook
from kernel_src.runtime.untrusted import quoted

LARGEST_NOTEBOOK = 512 << 20  # bytes, outputs and pictures included


def keep_executed(left: Path, notebook: Path, kept: Path) -> list[str]:
    """Keep the executed notebook; where a kill, or the notebook itself, left none that can be read, the one as built.

    Returns a note where what is kept is not what was left.
    """
    import nbformat

    try:
        content = read_foreign_file(left, LARGEST_NOTEBOOK)
        value = json.loads(content)
        if not isinstance(value, dict) or value.get("nbformat") != 4:
            raise ValueError("is not a notebook of version 4")
        read_notebook(content)
        nbformat.validate(value)
    except FileNotFoundError:
        found = "there is none: the run ended before the first cell"
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError, nbformat.ValidationError) as error:
        # what nbformat raises on its way to saying that something is not a notebook
        found = f"it is not a notebook ({quoted(str(error).partition(chr(10))[0], 120)})"
    else:
        kept.write_bytes(content)
        return []
    shutil.copyfile(notebook, kept)
    return [f"{kept.name} is the notebook as built, not as executed: {found}"]


def find_odd_files(working: Path) -> dict[Path, str]:
    """Map what is not kept, below the folder that a notebook wrote, to what it is.

    Links stay if they lead to something in the folder; files with a second name only if that lies in the folder too.
    """
    if working.is_symlink() or not working.is_dir():  # only where nothing is mounted there
        working.unlink(missing_ok=True)
        working.mkdir()
    odd: dict[Path, str] = {}
    names: Counter[tuple[int, int]] = Counter()
    linked: dict[Path, os.stat_result] = {}
    top = working.resolve()
    for folder, folders, files in os.walk(working):
        for name in folders + files:
            path = Path(folder, name)
            seen = path.lstat()
            if stat.S_ISLNK(seen.st_mode):
                if os.path.isabs(os.readlink(path)) or not _leads_into(path, top):
                    odd[path] = "a link that leads out of it"
            elif stat.S_ISREG(seen.st_mode):
                if seen.st_nlink > 1:
                    names[seen.st_dev, seen.st_ino] += 1
                    linked[path] = seen
            elif not stat.S_ISDIR(seen.st_mode):
                odd[path] = "not a file"
            elif seen.st_mode & stat.S_IRWXU != stat.S_IRWXU:
                path.chmod(stat.S_IMODE(seen.st_mode) | stat.S_IRWXU)  # what nobody can read, nobody can look through
    for path, seen in linked.items():
        if names[seen.st_dev, seen.st_ino] < seen.st_nlink:
            odd[path] = "a file with a second name elsewhere"
    return odd


def describe_odd_files(odd: Mapping[Path, str], working: Path) -> list[str]:
    """Say in one line what is not kept, and why."""
    few = [f"{quoted(str(path.relative_to(working)))} ({what})" for path, what in list(odd.items())[:5]]
    return [f"not kept of /kaggle/working: {', '.join(few)}{' …' if len(odd) > 5 else ''}"] if odd else []


def keep_working(working: Path, kept: Path, odd: Mapping[Path, str]) -> None:
    """Move what the notebook wrote, but for `odd`, to where the user finds it; no program in it runs as its owner."""
    for path in odd:
        path.unlink()
    for folder, folders, files in os.walk(working):
        for path in (Path(folder, name) for name in folders + files):
            if not path.is_symlink() and path.stat().st_mode & (stat.S_ISUID | stat.S_ISGID):
                path.chmod(stat.S_IMODE(path.stat().st_mode) & 0o777)
    if kept.exists():
        shutil.rmtree(kept)
    shutil.move(working, kept)


def _leads_into(link: Path, top: Path) -> bool:
    try:
        return link.resolve(strict=True).is_relative_to(top)
    except (OSError, RuntimeError):  # nothing is there, or the links go in a circle
        return False
