"""The build that a notebook came from, by the hash that the notebook carries: one side of every three-way merge.

`make build` notes each build's sources in `out/builds/`, named by content. A build that is not there (a fresh clone, a
notebook from a colleague) is looked for in git's history, and believed only if its sources hash to the same.
"""

import ast
import fcntl
import hashlib
import io
import json
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from build.problems import CheckFailed, Problem
from build.stamp import SOURCES
from build.stitch.assembly import compose_cells
from build.stitch.notebook import Cell
from build.stitch.parameters import literal
from kernel_src.common.files import write_atomically

BUILDS = Path("out", "builds")
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
    paths = sorted(path for path in (root / SOURCES).rglob("*.py") if "__pycache__" not in path.parts)
    return {path.relative_to(root).as_posix(): decode(path.read_bytes()) for path in paths if path.is_file()}


def decode(content: bytes) -> str:
    """Read a source: no byte-order mark, and one kind of line end."""
    return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")


def remember(root: Path, sha256: str, main: str, parameters: Mapping[str, object], texts: Mapping[str, str]) -> None:
    """Note a build under its hash; one that is there stays, and is young again."""
    remember_all(root, {sha256: (main, parameters)}, texts)


def remember_all(root: Path, builds: Mapping[str, tuple[str, Mapping[str, object]]], texts: Mapping[str, str]) -> None:
    """Do the same with several builds of the same sources, each a script and its parameters by their hash."""
    with store_held(root):
        entries = {sha256: root / BUILDS / f"{sha256}.json" for sha256 in builds}
        for entry in filter(Path.exists, entries.values()):
            os.utime(entry)
        new = {sha256: entry for sha256, entry in entries.items() if not entry.exists()}
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
    with (folder / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def find(root: Path, sha256: str, guesses: Sequence[Mapping[str, object]] = ()) -> Base:
    """Return the build of a hash; `guesses` are parameters it may have had, for a build from git's history.

    Raises:
        CheckFailed: neither out/builds/ nor git knows it.
    """
    if (base := _from_store(root, sha256)) is not None:
        return base
    for texts, main, parameters in _from_history(root, sha256):
        for guess in (*guesses, parameters):
            values = {
                name: parameters.get(name, value) if name != "SOURCE_SHA256" else "" for name, value in guess.items()
            }
            for one in (values, dict(guess)):
                try:
                    base = stitch_texts(texts, main, one)
                except CheckFailed:  # sources of an older kit, which this one cannot stitch: not this commit
                    continue
                if base.sha256 == sha256:
                    remember(root, sha256, main, one, texts)
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
    with tempfile.TemporaryDirectory(prefix="kit-sync-") as folder:
        for where, text in texts.items():
            path = Path(folder, where)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())
        stitched, cells = compose_cells(Path(folder, main), Path(folder), parameters, built_before=built_before)
    return Base(stitched.source_sha256, main, dict(parameters), dict(texts), cells)


def _from_store(root: Path, sha256: str) -> Base | None:
    folder = root / BUILDS
    try:
        noted = json.loads((folder / f"{sha256}.json").read_bytes())
        texts = {where: (folder / TEXTS / blob).read_bytes().decode() for where, blob in noted["sources"].items()}
    except (FileNotFoundError, ValueError):  # never built here, forgotten, or damaged: git may know it
        return None
    base = stitch_texts(texts, noted["main"], ast.literal_eval(noted["parameters"]), built_before=True)
    return base if base.sha256 == sha256 else None


def _from_history(root: Path, sha256: str) -> Iterator[tuple[dict[str, str], str, dict[str, object]]]:
    """Yield sources, script and the values of the parameters cell for each commit whose notebooks carry the hash."""
    log = _git(root, "log", "--all", "-m", "--format=%H", f"-S{sha256}", "--", "notebooks")
    for commit in dict.fromkeys((log or b"").decode().split()):  # -m: a merge may have rebuilt them
        found = _git(root, "grep", "-l", sha256, commit, "--", "notebooks") or b""
        paths = [line.partition(":")[2] for line in found.decode().splitlines() if line.endswith(".ipynb")]
        archive = _git(root, "archive", "--format=tar", commit, SOURCES)
        for path in paths if archive else []:
            notebook = json.loads(_git(root, "show", f"{commit}:./{path}") or b"{}")
            texts = {}
            with tarfile.open(fileobj=io.BytesIO(archive or b"")) as tar:
                for member in tar.getmembers():
                    if member.isfile() and member.name.endswith(".py"):
                        texts[member.name] = decode(tar.extractfile(member).read())  # type: ignore[union-attr]
            main = notebook.get("metadata", {}).get("stitch", {}).get("main", "")
            if main in texts:
                yield texts, main, _parameters_of(notebook)


def _parameters_of(notebook: Mapping[str, list[dict]]) -> dict[str, object]:
    values: dict[str, object] = {}
    for cell in notebook["cells"]:
        if "parameters" in cell["metadata"].get("tags", []):
            for node in ast.parse("".join(cell["source"])).body:
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                    values[node.targets[0].id] = ast.literal_eval(node.value)
    return values


def _git(root: Path, *arguments: str) -> bytes | None:
    try:
        done = subprocess.run(["git", "-C", root, *arguments], capture_output=True)
    except FileNotFoundError:  # no git on this machine: no history
        return None
    return done.stdout if done.returncode == 0 else None


def _put(path: Path, text: str) -> None:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda draft: draft.write_bytes(text.encode()))
