"""Several sources are written together: a kill leaves them old, or the next command makes them new.

1. Everything, old and new, is written to `out/sync/pending.<pid>/` and flushed.
2. That folder becomes `out/sync/pending/` in one step: from here on the edit will be written, whatever happens.
3. The sources are replaced, one by one; `pending` becomes `out/sync/backup/<number>/`.

`recover` finishes what a kill left at step 3, and is called before anything else reads the sources.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from build.core.errors import CheckFailed, Problem
from build.core.untrusted import inside
from build.notebooks.adopted import card_path, read_card
from build.notebooks.checked import is_relative_name, is_source_name
from build.notebooks.stamp import SOURCES
from kernel_src.runtime.files import write_atomically, write_json
from kernel_src.runtime.manifest import checked_slug
from kernel_src.runtime.untrusted import quoted

SYNC = Path("out", "sync")
OVERWRITTEN = Path("out", "overwritten")
_LIST = "files.json"
_ADOPTED = "adopted.txt"  # the slug of the adopted kernel whose sources are written


def write_all(root: Path, texts: Mapping[str, str], notebook: bytes = b"", adopted: str = "") -> Path | None:
    """Replace sources by texts with their own line ends, all of them or none; return the backup's folder.

    The sources are those of the kit, or of the adopted kernel of this slug.
    """
    recover(root)
    paths = {where: _source(root, where, adopted) for where in texts}
    new = {where: styled(text, _read(paths[where])) for where, text in texts.items()}
    new = {where: content for where, content in new.items() if content != _read(paths[where])}
    if not new:
        return None
    folder = root / SYNC / f"pending.{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "old").mkdir(parents=True)
    (folder / "new").mkdir()
    names = {where: f"{number}.py" for number, where in enumerate(sorted(new))}
    for where, name in names.items():
        if paths[where].exists():
            put(folder / "old" / name, _read(paths[where]))
        put(folder / "new" / name, new[where])
    put(folder / "notebook.ipynb", notebook)
    if adopted:
        put(folder / _ADOPTED, adopted.encode())
    write_json(folder / _LIST, names)
    os.rename(folder, root / SYNC / "pending")
    return recover(root)


def recover(root: Path) -> Path | None:
    """Finish a write that was interrupted; return the backup's folder, None when there was nothing to do.

    Raises:
        CheckFailed: a source was changed since by somebody else.
    """
    pending = root / SYNC / "pending"
    if not pending.is_dir():
        return None
    contents = {}
    adopted = _read(pending / _ADOPTED).decode(errors="replace")
    for where, name in _read_list(pending).items():
        old = _read(pending / "old" / name)
        new = _read(pending / "new" / name)
        path = _source(root, where, adopted)
        if _read(path) not in {old, new}:
            raise CheckFailed(
                [
                    Problem(
                        what="changed after the interrupted sync, which was going to change it too",
                        where=where,
                        cure=f"its two versions are in {pending}/old/{name} and new/{name}: merge them by hand, "
                        "then delete that folder",
                    )
                ]
            )
        contents[path] = new
    for path, content in contents.items():
        if _read(path) != content:
            put(path, content)
    backups = root / SYNC / "backup"
    backups.mkdir(parents=True, exist_ok=True)
    number = max([int(path.name) for path in backups.iterdir() if path.name.isdigit()], default=0) + 1
    backup = backups / f"{number:04d}"
    os.rename(pending, backup)
    return backup


def refuse_pending(root: Path) -> None:
    """Refuse to look at sources of which an interrupted sync has written some and not the others.

    Raises:
        CheckFailed: there are such.
    """
    if (root / SYNC / "pending").is_dir():
        what = "a sync was interrupted while it wrote the sources, so they are half old and half new"
        cure = "`python -m build sync NOTEBOOK` or `make build` finishes it"
        raise CheckFailed([Problem(what=what, where=f"{(SYNC / 'pending').as_posix()}/", cure=cure)])


def keep(root: Path, name: str, content: bytes) -> Path:
    """Keep a notebook whose edits were not all written back, named by its content."""
    path = root / SYNC / "kept" / f"{hashlib.sha256(content).hexdigest()[:12]}-{name[-100:]}"
    put(path, content)
    return path


def keep_overwritten(root: Path, path: Path, name: str) -> Path:
    """Keep a file that is about to be written over, named by its content: a second one cannot destroy the first."""
    there = path.read_bytes()
    copy = root / OVERWRITTEN / name / f"{hashlib.sha256(there).hexdigest()[:12]}-{path.name}"
    put(copy, there)
    return copy


def styled(text: str, there: bytes) -> bytes:
    """Write a text with the line ends and the byte-order mark that the file has."""
    content = text.encode()
    if b"\r\n" in there:
        content = content.replace(b"\n", b"\r\n")
    return b"\xef\xbb\xbf" + content if there.startswith(b"\xef\xbb\xbf") else content


def _source(root: Path, where: str, adopted: str = "") -> Path:
    """Return the path of a source; what is written as a source lies in the folder of the sources, links followed.

    Of an adopted kernel that is the folder which its card names now, whatever was noted elsewhere.
    """
    if adopted:
        return _adopted_source(root, where, adopted)
    try:
        if is_source_name(where):
            return inside(root / SOURCES, where.removeprefix(f"{SOURCES}/"))
        what = f"{quoted(where)} is not the path of a source"
    except ValueError as error:
        what = str(error)
    raise CheckFailed([Problem(what=what, where=SOURCES, cure="put a plain file there; nothing was written")])


def _adopted_source(root: Path, where: str, slug: str) -> Path:
    try:
        folder = read_card(card_path(checked_slug(slug), root), root).folder
        if is_relative_name(where):
            return inside(folder, where)
        what = f"{quoted(where)} is not the path of a source"
    except ValueError as error:
        what = str(error)
    raise CheckFailed([Problem(what=what, where=slug, cure="put a plain file there; nothing was written")])


def _read_list(pending: Path) -> dict[str, str]:
    """Return which file of an interrupted write is which source."""
    try:
        names = dict(json.loads((pending / _LIST).read_bytes()))
        if not all(isinstance(name, str) and re.fullmatch(r"[0-9]{1,6}\.py", name) for name in names.values()):
            raise ValueError("its files do not have the names that a sync gives them")
    except (OSError, ValueError, TypeError, RecursionError) as error:
        what = f"what a sync left when it was interrupted cannot be read: {error}"
        raise CheckFailed([Problem(what=what, where=str(pending / _LIST), cure="delete that folder")]) from None
    return names


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def put(path: Path, content: bytes) -> None:
    """Write a file, atomically, in a folder that may not be there yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda draft: draft.write_bytes(content))
