"""What a notebook changes: found, shown, or written into the sources, all of it or nothing."""

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from build.core.errors import CheckFailed, Problem, UsageError
from build.core.foreign_text import shown_source
from build.notebooks.edited_cells import parse
from build.notebooks.notebook_file import NotANotebook, read_bytes
from build.notebooks.seal import is_untouched
from build.notebooks.synced import mark_synced, note
from build.notebooks.writing import SYNC, keep, recover, refuse_pending, write_all
from build.sync.sync_back import sync_back
from build.sync.sync_result import SyncResult
from kernel_src.runtime.files import write_text

ROOT = Path(__file__).resolve().parents[2]
CODE_WAS_SYNCED = (
    "note        what was synced is code that the next build, test or run executes: read it first where the notebook "
    "is not your own (`git diff kernel_src`)"
)


def guesses(name: str) -> list[Mapping[str, object]]:
    """Return the parameters that a notebook of this name may have been built with."""
    from build.notebooks.builder import own_cards
    from build.notebooks.metadata import slug_of

    cards = own_cards()
    own = [card for card in cards if slug_of(card) in name]
    return [card.parameters for card in own or cards]


def look(notebook: Path, root: Path = ROOT, *, parameters: bool = False) -> tuple[bytes, SyncResult]:
    """Read a notebook and find what it changes; nothing is written.

    Raises:
        UsageError: there is no such notebook.
        CheckFailed: its build is not known, or a sync that was interrupted is not finished.
    """
    try:
        content = read_bytes(notebook)
    except NotANotebook as error:
        raise UsageError(f"{notebook} {error}") from None
    edited = parse(content, str(notebook))
    refuse_pending(root)
    return content, sync_back(edited, root, guesses(notebook.stem), parameters=parameters, notebook=notebook)


def sync(
    content: bytes, result: SyncResult, name: str, root: Path = ROOT, *, conflicts_in_source: bool = False
) -> list[str]:
    """Write what was found, all of it or nothing; return the lines to print.

    Raises:
        CheckFailed: something was refused, or both sides changed the same lines; then the edit is kept in out/sync/.
    """
    problems = list(result.problems)
    if (base := result.base) is not None:  # also one that only git's history knew
        base.remembered(root)
    for where, text in result.conflicts.items():
        written = where
        if not conflicts_in_source:
            file = root / SYNC / "conflicts" / f"{where}.rej"
            file.parent.mkdir(parents=True, exist_ok=True)
            write_text(file, text)
            written = file.relative_to(root).as_posix()
        problems.append(
            Problem(
                what="the notebook and the sources changed the same lines differently",
                where=where,
                cure=f"resolve the <<<<<<< in {written}"
                + ("" if conflicts_in_source else ", copy it over the source; or sync with --conflicts source"),
            )
        )
    lines = []
    if not result.problems and (conflicts_in_source or not result.conflicts):
        texts = result.texts | result.conflicts
        backup = write_all(root, texts, content, adopted=base.adopted if base else "")
        if result.notebook is not None and base is not None and result.edited:
            note(root, result.notebook, base.sha256, result.theirs)
        lines += [f"changed     {where}" for where in sorted(texts)]
        lines += [f"backup      {backup.relative_to(root).as_posix()}"] if backup else []
        if result.complete and (result.edited or not is_untouched(content)):  # of an unedited one: outputs of a run
            mark_synced(root, content)
    if problems:
        kept = keep(root, f"{name}.ipynb", content)
        relative = kept.relative_to(root).as_posix()
        problems[-1] = Problem(**{**asdict(problems[-1]), "cure": f"{problems[-1].cure} (this notebook: {relative})"})
        raise CheckFailed(problems)
    return lines


def run_sync(
    notebook: Path, as_json: bool, *, parameters: bool = False, conflicts: str = "file", root: Path = ROOT
) -> None:
    """Write a notebook's edits back into the sources and say what changed.

    Raises:
        CheckFailed: see `sync`.
        UsageError: there is no such notebook.
    """
    recover(root)
    content, result = look(notebook, root, parameters=parameters)
    sync_found(notebook, content, result, as_json, conflicts=conflicts, root=root)


def sync_found(
    notebook: Path, content: bytes, result: SyncResult, as_json: bool, *, conflicts: str = "file", root: Path = ROOT
) -> None:
    """Write what was found in a notebook and say what changed.

    Raises:
        CheckFailed: see `sync`.
    """
    lines = sync(content, result, notebook.stem, root, conflicts_in_source=conflicts == "source")
    if as_json:
        print(json.dumps({"ok": True, **as_json_value(result)}, indent=2))
        return
    for line in [*lines, *remarks(result), *([CODE_WAS_SYNCED] if result.texts else [])]:
        print(shown_source(line))
    if not result.texts:
        outcome = "nothing to sync" if not result.edited else "nothing new for the sources"
        print(shown_source(f"{notebook}: {outcome}"))


def run_diff(notebook: Path, as_json: bool, *, parameters: bool = False, root: Path = ROOT) -> None:
    """Show what a sync would change.

    Raises:
        CheckFailed: something would be refused, or conflicts; shown after the rest.
        UsageError: there is no such notebook.
    """
    _, result = look(notebook, root, parameters=parameters)
    if as_json and not result.problems and not result.conflicts:
        mine = result.base.today(root) if result.base else {}
        diffs = {where: "".join(diff_lines(where, mine[where], text)) for where, text in result.texts.items()}
        print(json.dumps({"ok": True, **as_json_value(result), "diffs": diffs}, indent=2))
        return
    if not as_json:
        show(result, root)
        for line in remarks(result):
            print(shown_source(line))
    problems = result.problems + [
        Problem(what="the notebook and the sources changed the same lines differently", where=where)
        for where in result.conflicts
    ]
    if problems:
        raise CheckFailed(problems)
    if not result.texts:
        print(shown_source(f"{notebook}: nothing to sync"))


def show(result: SyncResult, root: Path = ROOT) -> None:
    """Print what would change in the sources, line by line."""
    from rich.console import Console
    from rich.text import Text

    mine = result.base.today(root) if result.base else {}
    console = Console(soft_wrap=True, highlight=False)
    for where, text in (result.texts | result.conflicts).items():
        for line in diff_lines(where, mine[where], text):
            style = {"+": "green", "-": "red", "@": "cyan"}.get(line[0], "")
            console.print(Text(shown_source(line.rstrip("\n")), style=style))


def remarks(result: SyncResult) -> list[str]:
    """Return the lines that say what a sync leaves where it is."""
    lines = []
    for edit in result.parameters:
        tail = "" if result.written_parameters else " (not synced: sync --parameters)"
        lines.append(f"parameter   {edit.name}: {edit.old} → {edit.new}{tail}")
    return [
        *lines,
        *(f"stays       {line}" for line in result.scratch),
        *(f"note        {one}" for one in result.notes),
    ]


def as_json_value(result: SyncResult) -> dict[str, object]:
    """Return what --json says of a sync."""
    return {
        "changed": sorted(result.texts),
        "complete": result.complete,
        "parameters": [asdict(edit) for edit in result.parameters],
        "scratch": result.scratch,
        "notes": result.notes,
    }


def diff_lines(where: str, old: str, new: str) -> Iterator[str]:
    """Yield what changes in a source."""
    return difflib.unified_diff(old.splitlines(True), new.splitlines(True), where, where)
