"""The build that a notebook came from, by the hash that the notebook carries: one side of every three-way merge.

`make build` notes each build's sources in `out/builds/`, named by content. A build that is not there (a fresh clone, a
notebook from a colleague) is looked for in git's history. Either is used only if its sources hash to the same; what
the store says of itself is checked before, for it may have come with a copy of the whole folder.
"""

import fcntl
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from build.core.errors import CheckFailed, Problem, UsageError
from build.notebooks.stamp import SOURCES
from build.stitch.assembly import compose_cells
from build.stitch.notebook import Cell
from build.stitch.parameters import literal
from build.notebooks.checked import decode, is_source_name, read_parameters
from build.notebooks.history import builds_in_history, sources_in_history
from kernel_src.runtime.files import write_atomically
from kernel_src.runtime.untrusted import quoted
from kernel_src.runtime.manifest import checked_sha256

BUILDS = Path("out", "builds")
GUESSES = 4  # a notebook's name leaves no more; those of all notebooks, for each commit, would take minutes
_KERNEL = re.compile(rf"{SOURCES}/kernels/\w+\.py")
TEXTS = "sources"  # its folder of sources, named by content


@dataclass(frozen=True)
class Base:
    """One build: what went in and the cells that came out."""

    sha256: str
    main: str  # the script, relative to the root
    parameters: dict[str, object]
    texts: dict[str, str]  # every Python file of the sources, by its path relative to the root
    cells: list[Cell]


def read_sources(root: Path) -> dict[str, str]:
    """Return the text of every Python file of the sources as the stitcher reads it."""
    paths = {path.relative_to(root).as_posix(): path for path in sorted((root / SOURCES).rglob("*.py"))}
    return {
        where: decode(path.read_bytes()) for where, path in paths.items() if is_source_name(where) and path.is_file()
    }


def remember(root: Path, sha256: str, main: str, parameters: Mapping[str, object], texts: Mapping[str, str]) -> None:
    """Note a build under its hash; one that is there stays, and is young again."""
    remember_all(root, {sha256: (main, parameters)}, texts)


def remember_all(root: Path, builds: Mapping[str, tuple[str, Mapping[str, object]]], texts: Mapping[str, str]) -> None:
    """Do the same with several builds of the same sources, each a script and its parameters by their hash."""
    with store_held(root):
        entries = {sha256: root / BUILDS / f"{checked_sha256(sha256)}.json" for sha256 in builds}
        there = {sha256 for sha256, entry in entries.items() if _read_entry(entry) is not None}
        for sha256 in there:
            os.utime(entries[sha256])
        new = {sha256: entry for sha256, entry in entries.items() if sha256 not in there}
        blobs = {where: hashlib.sha256(text.encode()).hexdigest() for where, text in texts.items()} if new else {}
        for where, blob in blobs.items():
            _put(root / BUILDS / TEXTS / blob, texts[where])
        for sha256, entry in new.items():
            main, parameters = builds[sha256]
            # As Python's text: JSON would turn tuples into lists, and the hash tells them apart.
            noted = {"main": main, "parameters": literal(dict(parameters)), "sources": blobs}
            _put(entry, json.dumps(noted, indent=1) + "\n")


@contextmanager
def store_held(root: Path) -> Iterator[None]:
    """Hold out/builds/ for this process, so that nothing is thrown away that another one is about to name."""
    folder = root / BUILDS
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def find(root: Path, sha256: str, guesses: Sequence[Mapping[str, object]] = ()) -> Base:
    """Return the build of a hash; `guesses` are parameters it may have had, for a build from git's history.

    Nothing is written: a build from git's history is noted by whoever writes an edit of it back.

    Raises:
        CheckFailed: neither out/builds/ nor git knows it.
    """
    if (base := _from_store(root, sha256)) is not None:
        return base
    for texts, main, parameters in builds_in_history(root, sha256):
        for guess in (*guesses, parameters):
            values = {
                name: parameters.get(name, value) if name != "SOURCE_SHA256" else "" for name, value in guess.items()
            }
            for one in (values, dict(guess)):
                base = _stitched_before(texts, main, one, sha256, built_before=False)
                if base is not None:
                    return base
    # Most notebooks are built on demand and in no commit; their sources are.
    for texts in chain([read_sources(root)], sources_in_history(root)) if len(guesses) <= GUESSES else ():
        for main, guess in ((main, guess) for main in texts if _KERNEL.fullmatch(main) for guess in guesses):
            if all(f"\n{name} = " in texts[main] for name in guess):
                base = _stitched_before(texts, main, dict(guess), sha256, built_before=False)
                if base is not None:
                    return base
    raise CheckFailed(
        [
            Problem(
                what=f"the build it came from, sources sha256 {sha256[:12]}…, is neither in {BUILDS.as_posix()}/ "
                "nor in git's history, or was made by another version of the kit",
                cure="check out the commit it was built from and `make build` there; then sync again",
            )
        ]
    )


def stitch_texts(
    texts: Mapping[str, str], main: str, parameters: Mapping[str, object], *, built_before: bool = False
) -> Base:
    """Stitch sources that lie nowhere; of those that were built before, no rule is asked again.

    Raises:
        CheckFailed: they cannot be stitched.
    """
    with tempfile.TemporaryDirectory(prefix="kit-sync-") as name:
        folder = Path(name).resolve()
        odd = [where for where in {**texts, main: ""} if not is_source_name(where)]
        try:
            for where, text in ({} if odd else texts).items():
                path = folder / where
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(text.encode())
        except (FileExistsError, NotADirectoryError):  # one source's name is another's folder
            odd.append(where)
        if odd:
            what, cure = f"{quoted(odd[0])} is not the path of a source", "name it by a plain path below kernel_src/"
            raise CheckFailed([Problem(what=what, where=SOURCES, cure=cure)])
        stitched, cells = compose_cells(folder / main, folder, parameters, built_before=built_before)
    return Base(stitched.source_sha256, main, dict(parameters), dict(texts), cells)


def _stitched_before(
    texts: Mapping[str, str], main: str, parameters: Mapping[str, object], sha256: str, *, built_before: bool
) -> Base | None:
    """Return the build if these sources make it; not those of another kit, which this one may be unable to stitch."""
    try:
        base = stitch_texts(texts, main, parameters, built_before=built_before)
    except (CheckFailed, UsageError, RecursionError, MemoryError):
        return None
    return base if base.sha256 == sha256 else None


def _from_store(root: Path, sha256: str) -> Base | None:
    noted = _read_entry(root / BUILDS / f"{checked_sha256(sha256)}.json")
    if noted is None:  # never built here, deleted, or damaged: git may have it
        return None
    main, parameters, blobs = noted
    texts = {}
    for where, blob in blobs.items():
        try:
            content = (root / BUILDS / TEXTS / blob).read_bytes()
            texts[where] = content.decode()
        except (OSError, UnicodeDecodeError):
            return None
        if hashlib.sha256(content).hexdigest() != blob:
            return None
    return _stitched_before(texts, main, parameters, sha256, built_before=True)


def _read_entry(entry: Path) -> tuple[str, dict[str, object], dict[str, str]] | None:
    """Return a noted build's script, parameters and sources by their hashes; None where it is absent or damaged."""
    try:
        noted = json.loads(entry.read_bytes())
        main, blobs = noted["main"], dict(noted["sources"])
        parameters = read_parameters(noted["parameters"])
        blobs = {where: checked_sha256(blob) for where, blob in blobs.items()}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return (main, parameters, blobs) if main in blobs and all(map(is_source_name, blobs)) else None


def blobs_of(entry: Path) -> set[str]:
    """Return the hashes of the texts that a noted build has; of a damaged one nothing can be rebuilt."""
    noted = _read_entry(entry)
    return set(noted[2].values()) if noted else set()


def _put(path: Path, text: str) -> None:
    content = text.encode()
    if not path.is_file() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda draft: draft.write_bytes(content))
