"""A small competition on disk is made once: beside its folders lies a stamp that says what it was made from.

1. `out/competition/` is what an attached competition looks like, `out/hidden/` what the rerun puts in its place, with
   the labels that were kept aside.
2. The very same one is not made again; a folder without a stamp is somebody's own, and never replaced.
3. It is made in a draft folder and moved into place, so a kill leaves no half competition.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from build.core.errors import Problem, UsageError
from kernel_src.runtime.files import write_json, write_text

STAMP = "painted.json"
LABELS_CSV = "labels.csv"  # in hidden/, with the columns of train.csv
PARTS = ("competition", "hidden")


def make_once(out: Path, spec: Mapping[str, Any], files: Iterable[str], make: Callable[[Path], None]) -> None:
    """Let `make` fill a draft folder with both parts and move them into `out`, unless that was done with this `spec`.

    `files` are those that must be there, relative to `out`.

    Raises:
        UsageError: `out` holds a folder of that name which was not made here.
    """
    if is_made(out, spec, files):
        return
    foreign = [] if (out / STAMP).is_file() else [part for part in PARTS if (out / part).exists()]
    if foreign:
        what, cure = "exists but was not painted here", "move it away or choose another --out"
        raise UsageError("\n".join(str(Problem(what=what, where=str(out / part), cure=cure)) for part in foreign))
    draft = out / ".painting"
    shutil.rmtree(draft, ignore_errors=True)
    for part in PARTS:
        (draft / part).mkdir(parents=True)
    make(draft)
    write_json(out / STAMP, {"complete": False})
    for part in PARTS:
        shutil.rmtree(out / part, ignore_errors=True)
        (draft / part).rename(out / part)
    draft.rmdir()
    write_json(out / STAMP, {**spec, "complete": True})


def is_made(out: Path, spec: Mapping[str, Any], files: Iterable[str]) -> bool:
    """Say whether the same competition lies there complete."""
    try:
        stamp = json.loads((out / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(stamp == {**spec, "complete": True}) and all((out / name).is_file() for name in files)


def code_sha256(*names: str) -> str:
    """Hash modules beside this one: every source that a pixel or a label depends on."""
    digest = hashlib.sha256()
    for name in names:
        digest.update((Path(__file__).parent / f"{name}.py").read_bytes())
    return digest.hexdigest()


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write one table with plain line ends; no field of ours needs quotes."""
    write_text(path, "".join(",".join(map(str, row)) + "\n" for row in (columns, *rows)))
