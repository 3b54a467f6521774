"""What git's history knows of a build: the commits whose notebooks carry its hash, with their sources.

Hashes and names of commits are checked before git sees them; paths come behind `--`: nothing that a notebook says
becomes an option.
"""

import io
import os
import re
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from build.notebooks.checked import is_source_name, read_values
from build.notebooks.notebook_file import NotANotebook, read_notebook, tags_of
from build.notebooks.stamp import SOURCES
from build.stitch.modules import decode
from kernel_src.runtime.manifest import checked_sha256
from kernel_src.runtime.untrusted import quoted

COMMITS = 100  # how far back the sources of a notebook that is not committed are looked for
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def checked_commit(value: object) -> str:
    """Return the value if it is a commit's full name.

    Raises:
        ValueError: it is anything else.
    """
    if not isinstance(value, str) or not _COMMIT.fullmatch(value):
        raise ValueError(f"{quoted(value)} is not the full name of a commit")
    return value


def builds_in_history(root: Path, sha256: str) -> Iterator[tuple[dict[str, str], str, dict[str, object]]]:
    """Yield sources, script and the values of the parameters cell for each commit whose notebooks carry the hash."""
    for commit in _commits(root, checked_sha256(sha256)):
        paths = _notebooks(root, commit, sha256)
        texts = _sources(root, commit) if paths else {}
        for path in paths:
            content = _git(["git", "-C", root, "show", "--end-of-options", f"{checked_commit(commit)}:./{path}"])
            try:
                notebook = read_notebook(content)
                stitched = notebook["metadata"].get("stitch")
                main = stitched.get("main") if isinstance(stitched, dict) else None
                values: dict[str, object] = {}
                for cell in notebook["cells"]:
                    values |= read_values(cell["source"]) if "parameters" in tags_of(cell) else {}
            except (NotANotebook, ValueError):  # not what was built in that commit
                continue
            if isinstance(main, str) and main in texts:
                yield texts, main, values


def sources_in_history(root: Path) -> Iterator[dict[str, str]]:
    """Yield the sources of each of the last commits that changed them, the newest first."""
    log = _git(["git", "-C", root, "log", f"-{COMMITS}", "--format=%H", "--", SOURCES])
    for commit in log.decode().split():
        yield _sources(root, commit)


def _commits(root: Path, sha256: str) -> list[str]:
    # -m: a merge may have rebuilt them
    log = _git(["git", "-C", root, "log", "--all", "-m", "--format=%H", f"-S{sha256}", "--", "notebooks"])
    return list(dict.fromkeys(log.decode().split()))


def _notebooks(root: Path, commit: str, sha256: str) -> list[str]:
    """Return the notebooks of a commit that hold the hash; grep takes no --end-of-options, so the commit is checked."""
    found = _git(["git", "-C", root, "grep", "-lzF", "-e", sha256, checked_commit(commit), "--", "notebooks"])
    names = [os.fsdecode(line).partition(":")[2] for line in found.split(b"\0")]
    return [name for name in names if name.endswith(".ipynb")]


def _sources(root: Path, commit: str) -> dict[str, str]:
    archive = _git(["git", "-C", root, "archive", "--format=tar", "--end-of-options", checked_commit(commit), SOURCES])
    texts = {}
    if archive:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            for member in tar.getmembers():
                if member.isfile() and is_source_name(member.name):
                    try:
                        texts[member.name] = decode(tar.extractfile(member).read())  # type: ignore[union-attr]
                    except UnicodeDecodeError:  # a file that the stitcher could not read either
                        continue
    return texts


def _git(command: Sequence[str | Path]) -> bytes:
    """Return what git prints; nothing where it fails, or where there is none: then there is no history."""
    try:
        done = subprocess.run(command, capture_output=True)
    except FileNotFoundError:
        return b""
    return done.stdout if done.returncode == 0 else b""
