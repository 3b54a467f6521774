"""The way back of a notebook in files mode: a cell that was edited comes home to the file that it writes.

The set-up cell lists the files with the hashes that they had; nothing else in a notebook may name a file. Each is
merged three ways: as it was stitched, as it is today, as its cell has it. Texts are byte for byte those of the files,
with their line ends and byte-order marks.
"""

import ast
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from build.core.errors import CheckFailed, Problem, UsageError
from build.core.foreign_text import shown_source
from build.core.untrusted import inside
from build.notebooks.file_texts import last_sync, note_sync, noted_text, sha256_of_text
from build.notebooks.notebook_file import NotANotebook, read_bytes, read_notebook
from build.notebooks.writing import SYNC, keep, put
from build.stitch.file_cells import Blank, listed_blanks, listed_files, restored, with_blanks, written_by
from build.sync.merging import Merge, merge_text
from build.sync.notebook_sync import ROOT, as_json_value, diff_lines, remarks
from build.sync.sync_result import SyncResult
from kernel_src.runtime.untrusted import quoted

CODE_WAS_SYNCED = (
    "note        what was synced is code: read it before you run it where the notebook is not your own (`git diff`)"
)


@dataclass
class FilesNotebook:
    """What a notebook in files mode says."""

    listed: dict[str, str]  # its files → their hashes when it was stitched
    blanks: dict[str, Blank]  # of some, the lines of spaces that a cell cannot show
    cells: dict[str, tuple[str, str]] = field(default_factory=dict)  # path → which cell writes it, the text
    others: list[tuple[str, str]] = field(default_factory=list)  # the cells that write no file: which, the text
    problems: list[Problem] = field(default_factory=list)

    @property
    def build(self) -> str:
        """One hash for all files as they were stitched."""
        return sha256_of_text(json.dumps(self.listed, sort_keys=True))


def read_files_notebook(content: bytes, name: str = "the notebook") -> FilesNotebook | None:
    """Read a notebook in files mode; None where it is another one.

    Raises:
        UsageError: it is no notebook at all.
    """
    try:
        cells = read_notebook(content)["cells"]
    except NotANotebook as error:
        raise UsageError(f"{name} {error}") from None
    texts = [(number, cell["source"], cell["cell_type"] == "code") for number, cell in enumerate(cells, start=1)]
    set_up = next((text for _, text, is_code in texts if is_code and listed_files(text) is not None), None)
    if set_up is None:
        return None
    read = FilesNotebook(listed_files(set_up) or {}, listed_blanks(set_up))
    for number, text, is_code in texts:
        where = f"cell {number}"
        try:
            file = written_by(text) if is_code else None
        except ValueError as error:
            read.problems.append(Problem(what=str(error), where=where, cure="edit the file itself"))
            continue
        if file is None:
            read.others.append((where, text))
            continue
        if read.cells.get(file.path, ("", file.text))[1] != file.text:
            what = f"writes {quoted(file.path)}, as {read.cells[file.path][0]} does, but otherwise"
            read.problems.append(Problem(what=what, where=where, cure="keep one of the two"))
        read.cells[file.path] = (where, file.text)
    return read


def sync_files(
    read: FilesNotebook,
    base_texts: Mapping[str, str],
    mine: Mapping[str, str],
    earlier: Mapping[str, str],
    own: Collection[str] | None = None,
) -> SyncResult:
    """Find what a notebook in files mode changes in the files of today; nothing is written.

    Args:
        read: the notebook as somebody left it.
        base_texts: the files as they were stitched, where that is known.
        mine: the files of today, of those that are there.
        earlier: the files as the last sync of this notebook had them, of those that it had edited.
        own: the texts of the cells that write no file, as the build has them, where that is known.
    """
    result = SyncResult(problems=[*read.problems])
    for path, sha256 in read.listed.items():
        built = next((one for one in (base_texts.get(path), mine.get(path)) if _hashes_to(one, sha256)), None)
        if path not in read.cells:
            empty = sha256 == sha256_of_text("")
            result.notes += [] if empty else [f"{path} has no cell any more: the file stays as it is"]
            continue
        where, theirs = read.cells[path]
        if blank := read.blanks.get(path):
            whole = restored(theirs, blank)
            theirs = whole if _hashes_to(whole, sha256) else with_blanks(theirs, built or theirs)
        edited = not _hashes_to(theirs, sha256)
        result.edited = result.edited or edited
        if edited or path in earlier:
            _merge(path, where, theirs, built, mine.get(path), earlier.get(path), result)
            result.theirs |= {path: theirs} if edited else {}
    for path, (where, _) in read.cells.items():
        if path not in read.listed:
            result.scratch.append(f"{where} writes {quoted(path)}, which is no file of this notebook")
            result.edited = True
    as_built = {_without_listing(text) for text in own or ()}
    for where, text in read.others if own is not None else ():
        if text.strip() and _without_listing(text) not in as_built:
            result.scratch.append(f"{where}, {quoted(_said_first(text))}, writes no file")
            result.edited = True
    if result.problems:
        result.texts = {}
    return result


def _without_listing(text: str) -> str:
    """Return a cell's text without what follows from the files: their list with its hashes, how many there are."""
    return re.sub(r"^(FILES = \{.*|\*Stitched from .*)", "", text, flags=re.MULTILINE | re.DOTALL).strip()


def _said_first(text: str) -> str:
    """Return the first line of a cell that is no comment."""
    lines = [line for line in text.strip().splitlines() if not line.startswith("# ")]
    return (lines or text.strip().splitlines())[0]


def _hashes_to(text: str | None, sha256: str) -> bool:
    return text is not None and sha256_of_text(text) == sha256


def _merge(
    path: str, where: str, theirs: str, built: str | None, mine: str | None, earlier: str | None, result: SyncResult
) -> None:
    if mine is None:
        what = f"{path} was deleted or moved since the notebook was stitched"
        cure = "bring it back, or carry the edit over by hand"
        result.problems.append(Problem(what=what, where=where, cure=cure))
    elif built is None:
        if mine != theirs:
            what = f"{path} was changed since the notebook was stitched, and what it was then is not known here"
            cure = "check out the commit that it was stitched from and sync there, or carry the edit over by hand"
            result.problems.append(Problem(what=what, where=where, cure=cure))
    elif path.endswith(".py") and (line := _broken_line(theirs)) and not _broken_line(built):
        result.problems.append(Problem(what=f"{path}:{line}: syntax error", where=where, cure="correct it"))
    else:
        ancestor = built if earlier is None else earlier
        if merge_text(mine, built, ancestor) != Merge(mine, 0):  # put back since: it is written again
            ancestor = built
        one = merge_text(mine, ancestor, theirs)
        if one.conflicts:
            result.conflicts[path] = one.text
        elif one.text != mine:
            result.texts[path] = one.text


def _broken_line(text: str) -> int:
    """Return the line at which Python cannot read a text, 0 where it can."""
    try:
        ast.parse(text.removeprefix("\ufeff"))
    except SyntaxError as error:
        return error.lineno or 1
    except (ValueError, RecursionError, MemoryError):
        return 1
    return 0


# -- on disk -------------------------------------------------------------------------------------------------------


def look(
    notebook: Path, folder: Path, root: Path = ROOT, own: Collection[str] | None = None
) -> tuple[bytes, FilesNotebook, SyncResult]:
    """Read a notebook and find what it changes in the files below a folder; nothing is written.

    `own`: see `sync_files`.

    Raises:
        UsageError: there is no such notebook in files mode, or no such folder.
        CheckFailed: a file that the notebook lists cannot lie below the folder, or cannot be read.
    """
    if not folder.is_dir():
        raise UsageError(f"no folder at {folder}")
    try:
        content = read_bytes(notebook)
    except NotANotebook as error:
        raise UsageError(f"{notebook} {error}") from None
    read = read_files_notebook(content, str(notebook))
    if read is None:
        raise UsageError(
            f"{notebook} is no notebook in files mode, of which alone --root tells the sources → "
            "sync one of ours, or of an adopted script, without --root"
        )
    mine, problems = _texts_of_today(read, folder)
    if problems:
        raise CheckFailed(problems)
    base = {path: text for path, sha256 in read.listed.items() if (text := noted_text(root, sha256)) is not None}
    return content, read, sync_files(read, base, mine, last_sync(root, notebook, read.build), own)


def _texts_of_today(read: FilesNotebook, folder: Path) -> tuple[dict[str, str], list[Problem]]:
    """Read the files that have cells; a name that could lead elsewhere is a problem, whatever the notebook says."""
    texts: dict[str, str] = {}
    problems: list[Problem] = []
    for path in read.listed:
        if path not in read.cells:
            continue
        try:
            file = inside(folder, path)
            if file.is_file():
                texts[path] = file.read_bytes().decode()
        except (ValueError, OSError) as error:
            cure = "carry an edit of it over by hand, and remove its cell"
            problems.append(Problem(what=f"cannot be synced: {error}", where=read.cells[path][0], cure=cure))
    return texts, problems


def run_file_sync(
    notebook: Path,
    folder: Path,
    as_json: bool,
    *,
    dry_run: bool = False,
    conflicts: str = "file",
    root: Path = ROOT,
    own: Collection[str] | None = None,
) -> None:
    """Write a notebook's edited files into a folder, all of them or none, and say what changed.

    After a kill between two files the same command finishes: those that are written are as the notebook has them.
    `own`: see `sync_files`.

    Raises:
        CheckFailed: something was refused, or both sides changed the same lines; the notebook is kept in out/sync/.
        UsageError: see `look`.
    """
    content, read, result = look(notebook, folder, root, own)
    into_source = conflicts == "source"
    problems = [*result.problems, *_conflict_problems(result, root, write=not (dry_run or into_source))]
    if dry_run:
        for line in _diffs(result, folder):
            print(shown_source(line.rstrip("\n")))
    elif not result.problems and (into_source or not result.conflicts):
        _write(folder, result.texts | result.conflicts, root)
        if result.edited or last_sync(root, notebook, read.build):
            note_sync(root, notebook, read.build, result.theirs)
    if problems:
        if not dry_run:
            kept = keep(root, notebook.name, content).relative_to(root).as_posix()
            problems[-1] = replace(problems[-1], cure=f"{problems[-1].cure} (this notebook: {kept})")
        raise CheckFailed(problems)
    _say(notebook, result, as_json)


def _say(notebook: Path, result: SyncResult, as_json: bool) -> None:
    if as_json:
        value: dict[str, Any] = {"ok": True, **as_json_value(result)}
        print(json.dumps(value, indent=2))
        return
    lines = [f"changed     {path}" for path in sorted(result.texts)]
    for line in [*lines, *remarks(result), *([CODE_WAS_SYNCED] if result.texts else [])]:
        print(shown_source(line))
    if not result.texts:
        outcome = "nothing to sync" if not result.edited else "nothing new for the sources"
        print(shown_source(f"{notebook}: {outcome}"))


def _conflict_problems(result: SyncResult, root: Path, *, write: bool) -> list[Problem]:
    """Return a problem for each conflict; its text with the markers is written beside, not into the file."""
    problems = []
    for path, text in result.conflicts.items():
        file = root / SYNC / "conflicts" / f"{path}.rej"
        if write:
            put(file, text.encode())
        place = file.relative_to(root).as_posix() if write else path
        cure = f"resolve the <<<<<<< in {place}" + (", copy it over the file; or --conflicts source" if write else "")
        what = "the notebook and the file changed the same lines differently"
        problems.append(Problem(what=what, where=path, cure=cure))
    return problems


def _diffs(result: SyncResult, folder: Path) -> Iterator[str]:
    for path, text in (result.texts | result.conflicts).items():
        yield from diff_lines(path, inside(folder, path).read_bytes().decode(), text)


def _write(folder: Path, texts: Mapping[str, str], root: Path) -> None:
    """Replace files, each whole or not at all, with the rights that they have; what they were is kept."""
    paths = {path: inside(folder, path) for path in texts}
    number = sum(1 for _ in (root / SYNC / "file_backup").glob("*")) + 1
    for path, file in paths.items():
        put(root / SYNC / "file_backup" / f"{number:04d}" / path, file.read_bytes())
    for path, file in paths.items():
        rights = file.stat().st_mode
        put(file.resolve(), texts[path].encode())
        os.chmod(file, rights & 0o7777)


def lacks_root(notebook: Path) -> bool:
    """Tell whether a notebook holds files, so that sync must be told where they lie."""
    try:
        return read_files_notebook(read_bytes(notebook)) is not None
    except (NotANotebook, UsageError):  # said by whoever reads it next
        return False
