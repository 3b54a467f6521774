"""A package is written, put into the lists and tried, or everything is as it was."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from build.core.errors import CheckFailed, Problem, UsageError
from build.new.registries import COMPETITIONS, LISTS, with_competition, without_competition
from build.notebooks.check.agreement import NOTES
from kernel_src.runtime.files import write_json, write_text

REPLACED = Path("out", "replaced")
LIMIT_S = 600.0  # of the trial: it reads the tables and looks whether each photograph is there


def write_package(
    root: Path, name: str, files: Mapping[str, str], note: Mapping[str, Any], overwrite: bool
) -> tuple[str, list[Problem]]:
    """Write a competition's package, have it found, and try it in a process of its own.

    Returns where an old one is kept, and where the package does not agree with its files.

    Raises:
        UsageError: there is a package of this name, and it is not to be overwritten.
        CheckFailed: the package cannot be imported; everything is then as it was.
    """
    folder = root / COMPETITIONS / name
    if folder.exists() and not overwrite:
        cure = "OVERWRITE=1 writes it anew and keeps the old one in out/; or choose another NAME="
        raise UsageError(f"{folder.relative_to(root)}/ is there already: {cure}")
    kept = ""
    with _as_before(root, name):
        if folder.exists():
            kept = _put_away(root, name)
        draft = folder.with_name(f".{name}.draft")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        for file, text in files.items():
            write_text(draft / file, text)
        draft.rename(folder)
        for place, text in with_competition(root, name).items():
            write_text(root / place, text)
        (root / NOTES).mkdir(parents=True, exist_ok=True)
        write_json(_note_path(root, name), dict(note))
        problems = _tried(root, name)
    return kept, problems


def remove_package(root: Path, name: str) -> str:
    """Take a competition that `make new` wrote out again; return where its package is kept.

    Raises:
        UsageError: there is none that was written so.
    """
    if not (root / COMPETITIONS / name).is_dir() or not _note_path(root, name).is_file():
        there = ", ".join(path.stem for path in sorted((root / NOTES).glob("*.json"))) or "none"
        raise UsageError(f"{name} is no package that `make new` wrote here; there are {there}")
    with _as_before(root, name):
        for place, text in without_competition(root, name).items():
            write_text(root / place, text)
        kept = _put_away(root, name)
        _note_path(root, name).unlink()
    return kept


def _note_path(root: Path, name: str) -> Path:
    return root / NOTES / f"{name}.json"


def _put_away(root: Path, name: str) -> str:
    """Move a package out of the way, beside those that were there before; return where it is."""
    number = 1
    while (root / REPLACED / f"{name}-{number}").exists():
        number += 1
    kept = root / REPLACED / f"{name}-{number}"
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(root / COMPETITIONS / name, kept)
    shutil.rmtree(kept / "__pycache__", ignore_errors=True)
    return kept.relative_to(root).as_posix()


@contextmanager
def _as_before(root: Path, name: str) -> Iterator[None]:
    """Bring package, lists and note back to what they were, should the block not end as it should."""
    folder, note = root / COMPETITIONS / name, _note_path(root, name)
    texts = {root / place: (root / place).read_text(encoding="utf-8") for place in LISTS}
    texts |= {note: note.read_text(encoding="utf-8")} if note.is_file() else {}
    copies = {path.name: path.read_bytes() for path in sorted(folder.glob("*.py"))}
    there = folder.is_dir()
    try:
        yield
    except BaseException:
        for path, text in texts.items():
            write_text(path, text)
        if note not in texts:
            note.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(folder.with_name(f".{name}.draft"), ignore_errors=True)
        if there:
            folder.mkdir()
            for file, content in copies.items():
                (folder / file).write_bytes(content)
        raise


def _tried(root: Path, name: str) -> list[Problem]:
    """Import the package in a process of its own and hold it against the files; return where they disagree.

    Raises:
        CheckFailed: it cannot be imported.
    """
    done = subprocess.run(
        [sys.executable, "-m", "build.new.trial", name],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "nothing was said").splitlines()[-1]
        what = f"the package cannot be used: {last}"
        cure = "everything is as it was; say what was guessed wrongly by an option"
        raise CheckFailed([Problem(what=what, where=f"{COMPETITIONS.as_posix()}/{name}/", cure=cure)])
    return [Problem(**problem) for problem in json.loads(done.stdout)]
