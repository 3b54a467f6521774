"""Edits made in the browser: pushing over a kernel replaces its source, so what lies there is looked at first.

Compared is what a person writes, the cells' text (sources.py).
"""

import difflib
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.kaggle.journal import Entry, Journal
from build.kaggle.sources import cells_of, cells_sha256
from build.notebooks.seal import is_untouched, read_object
from kernel_src.runtime.files import write_json, write_text

OVERWRITTEN = Path("out", "push", "overwritten")
PUSHED = Path("out", "push", "pushed")  # <slug>/<cells_sha256>.ipynb: what was sent, for the diff
_COLOURS = {"+": "32", "-": "31", "@": "36"}  # ANSI green, red, cyan


@dataclass(frozen=True, kw_only=True)
class Drift:
    """The site's source is not what was pushed last."""

    known: bool  # whether this checkout knows what was pushed last; else it is compared with what would be pushed
    diff: str  # unified, from ours to the site's


def find_drift(remote: str, ours: str, slug: str, attempts: Sequence[Entry]) -> Drift | None:
    """Compare the site's source with what was pushed last; None if nobody edited it there.

    `attempts` are the journal's entries of pushing this kernel, newest first: the site may hold what any attempt since
    the last finished one has sent. `ours` is what would be pushed now.
    """
    there = cells_sha256(remote)
    if there == cells_sha256(ours):
        return None
    since_last: list[str] = []
    for entry in attempts:
        since_last.append(entry.inputs["cells_sha256"])
        if entry.state == "done":
            break
    if there in since_last:
        return None
    if not since_last and is_own_build(remote):
        return None
    last = PUSHED / slug / f"{since_last[-1]}.ipynb" if since_last else None
    base = last.read_text(encoding="utf-8") if last and last.is_file() else ours
    name = "pushed last" if base is not ours else "to be pushed now"
    return Drift(known=bool(since_last), diff=diff_cells(base, remote, name, "on the site"))


def is_own_build(remote: str) -> bool:
    """Return whether a notebook still carries the seal of a build and the cells that it was set on.

    So a fresh clone, without a journal, recognises an older build; where Kaggle has dropped the seal it
    cannot, and asks.
    """
    content = read_object(remote.encode())
    cells = content.get("cells")
    if not isinstance(cells, list):
        return False
    for cell in cells:
        if isinstance(cell, dict) and cell.get("outputs"):
            cell["outputs"] = []  # of the run on Kaggle
    return is_untouched(json.dumps(content).encode())


def diff_cells(old: str, new: str, old_name: str, new_name: str) -> str:
    """Return the unified diff of two notebooks, cell by cell as in a percent script."""
    lines = difflib.unified_diff(_script(old), _script(new), old_name, new_name, lineterm="")
    return "\n".join(lines)


def coloured(diff: str, terminal: bool | None = None) -> str:
    """Colour a unified diff where it goes to a terminal."""
    if not (sys.stderr.isatty() if terminal is None else terminal):
        return diff
    colours = ((line, _COLOURS.get(line[:1])) for line in diff.split("\n"))
    return "\n".join(f"\x1b[{colour}m{line}\x1b[0m" if colour else line for line, colour in colours)


def save_remote(slug: str, version: int | None, source: str, metadata: Mapping[str, Any]) -> Path:
    """Keep the site's copy before it is overwritten; named by content, so a second time destroys nothing."""
    stem = f"v{version or 0}-{hashlib.sha256(source.encode()).hexdigest()[:12]}"
    path = OVERWRITTEN / slug / f"{stem}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, source)
    write_json(path.with_suffix(".metadata.json"), dict(metadata))
    return path


def remember_pushed(slug: str, source: str) -> None:
    """Keep what is about to be sent, to show a diff against it later."""
    path = PUSHED / slug / f"{cells_sha256(source)}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, source)


def pushes_of(journal: Journal, kernel: str) -> list[Entry]:
    """Return the journal's attempts at pushing one kernel (owner/slug), newest first."""
    return [entry for entry in journal.entries("kernel") if entry.inputs["kernel"] == kernel]


def _script(source: str) -> list[str]:
    lines = []
    for kind, text in cells_of(source):
        lines += ["# %%" if kind == "code" else f"# %% [{kind}]", *text.split("\n"), ""]
    return lines
