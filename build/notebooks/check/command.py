"""`make check`: every rule over every notebook, all findings in one go."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from build.core.errors import CheckFailed, Problem
from build.core.image import IMPORTS, SOURCE_LIMIT_BYTES, ImagePackage, compare_pins
from build.core.secret_scan import real_credentials
from build.notebooks import builder as notebooks
from build.notebooks.adopted import CARD
from build.notebooks.adopted_card import AdoptedCard, wheels_slug
from build.notebooks.builder import (
    ROOT,
    Built,
    absent_ones,
    build_notebook,
    edit_problem,
    find_edited,
    find_orphans,
    read_templates,
)
from build.notebooks.check.agreement import noted_problems
from build.notebooks.check.checked_cells import Cell, cells_of, read_cells
from build.notebooks.check.credentials import find_credentials
from build.notebooks.check.dependencies import find_imports, import_problems, mount_problems
from build.notebooks.check.offline import find_online
from build.notebooks.metadata import DATASET_METADATA, KERNEL_METADATA, dataset_problems, kernel_problems, slug_of
from build.notebooks.notebook_file import read_notebook
from build.notebooks.seal import read_object
from build.notebooks.wheels_cell import wheels_cell
from build.stitch.file_cells import RUN, SET_UP, written_by
from build.stitch.modules import uncollected
from kernel_src.competitions.kernel_cards import KernelCard

# What goes to Kaggle, or into git.
_SENT_OR_COMMITTED = ("kernel_src", "notebooks", "datasets_meta", "build", "bench", "docs", "tests")


@dataclass
class Verdict:
    """What the check found."""

    notebooks: int = 0
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # no faults: versions unknown, exceptions on purpose


def run(as_json: bool, *, root: Path = ROOT, cards: Sequence[KernelCard] | None = None) -> None:
    """Check everything; print one line per note and a clear last line, or one JSON object.

    Raises:
        CheckFailed: with every problem of every notebook.
    """
    verdict = check(notebooks.all_cards() if cards is None else cards, root)
    if verdict.problems:
        raise CheckFailed(verdict.problems)
    if as_json:
        value = {"ok": True, "notebooks": verdict.notebooks, "problems": [], "notes": verdict.notes}
        print(json.dumps(value, indent=2))
        return
    for note in verdict.notes:
        print(f"note: {note}")
    print(f"{verdict.notebooks} notebooks: up to date, offline and described as Kaggle requires")


@uncollected()
def check(cards: Sequence[KernelCard], root: Path = ROOT, only: str = "") -> Verdict:
    """Run every rule over the notebooks under `root`, which should be those of `cards`; or over one, given its slug.

    A real credential comes first, wherever it stands: in a comment, a string, Markdown, metadata, a test.
    """
    verdict = Verdict(problems=real_credentials(root, _SENT_OR_COMMITTED))
    imported: set[str] = set()
    known = {slug_of(card): card for card in cards}
    wanted = [card for slug, card in known.items() if only in ("", slug)]
    absent = [] if only else absent_ones(wanted)
    verdict.notes += [f"{card.slug}: not compared, its sources are not here ({card.folder})" for card in absent]
    wanted = [card for card in wanted if card not in absent]
    templates = read_templates(wanted, root)
    for card in wanted:
        try:
            fresh = build_notebook(card, root, templates)
        except CheckFailed as failed:
            verdict.problems += failed.problems
            continue
        files = fresh.files(root)
        if any(path.exists() for path in files):
            edited = find_edited(fresh, root)
            verdict.problems += _stale_problems(fresh, card, edited, root)
            verdict.problems += [edit_problem(path, root) for path in edited]
            continue
        path = next(iter(files))  # built on demand, and not yet: looked at in memory
        cells = cells_of(read_notebook(fresh.notebook), path.relative_to(root).as_posix())
        verdict.notebooks += 1
        imported |= set() if isinstance(card, AdoptedCard) else set(find_imports(cells))
        verdict.problems += notebook_problems(path, cells, root, card, files)
        verdict.notes += remarks(cells, card, root, files[path.with_name(KERNEL_METADATA)])
    for orphan in find_orphans(cards, root):
        name = orphan.relative_to(root).as_posix()
        cure = f"`rm -r {name}`, or bring its experiment (or {CARD}) back"
        verdict.problems.append(Problem(what="no experiment makes this notebook", where=name, cure=cure))
    for folder in sorted((root / notebooks.NOTEBOOKS).glob("[!.]*/")):
        path = folder / f"{folder.name}.ipynb"
        if path.is_file() and (not only or folder.name == only):
            verdict.notebooks += 1
            try:
                cells = read_cells(path, path.relative_to(root).as_posix())
            except CheckFailed as failed:
                verdict.problems += failed.problems
                continue
            of = known.get(folder.name)
            imported |= set() if isinstance(of, AdoptedCard) else set(find_imports(cells))
            verdict.problems += notebook_problems(path, cells, root, of)
            description = path.with_name(KERNEL_METADATA)
            verdict.notes += remarks(cells, of, root, description.read_bytes() if description.is_file() else b"")
    verdict.problems += _dataset_problems(cards, root)
    verdict.problems += [] if only else noted_problems(root)
    pyproject = root / "pyproject.toml"
    if pyproject.is_file():
        pins = compare_pins(pyproject.read_text(encoding="utf-8"), imported)
        verdict.problems += pins.problems
        verdict.notes += pins.exceptions + pins.unknown
    verdict.problems = list(dict.fromkeys(verdict.problems))
    return verdict


def _stale_problems(fresh: Built, card: KernelCard, edited: Sequence[Path], root: Path) -> list[Problem]:
    """Compare both files of a notebook, byte by byte, with a fresh build."""
    problems = []
    for path, content in fresh.files(root).items():
        there = path.read_bytes() if path.is_file() else None
        if there != content and path not in edited:
            what = "is missing" if there is None else "is not what the sources make"
            where = path.relative_to(root).as_posix()
            command = f"make build EXPERIMENT={card.experiment}" if card.experiment else "make build"
            problems.append(Problem(what=what, where=where, cure=f"run `{command}`"))
    return problems


def notebook_problems(
    path: Path, cells: Sequence[Cell], root: Path, card: KernelCard | None, files: Mapping[Path, bytes] | None = None
) -> list[Problem]:
    """Apply every rule that needs nothing but the notebook's folder, or its files where none lie there.

    How an adopted kernel does its work is its own affair: see `remarks`.
    """
    description = path.with_name(KERNEL_METADATA)
    files = files or {one: one.read_bytes() for one in (path, description) if one.is_file()}
    holding = [cell for cell in cells if isinstance(card, AdoptedCard) and _file_in(cell)]
    problems = [fault for cell in cells if cell not in holding for fault in cell.faults]
    problems += find_credentials(cells)
    if not isinstance(card, AdoptedCard):
        problems += find_online(cells)
        problems += import_problems(cells, root)
    problems += size_problems(path, root, files[path])
    where = description.relative_to(root).as_posix()
    if description not in files:
        return problems if card else [*problems, Problem(what="is missing", where=where, cure="run `make build`")]
    metadata = read_object(files[description])
    problems += kernel_problems(metadata, where)
    if metadata and metadata.get("code_file") != path.name:
        problems.append(Problem(what=f"code_file is not {path.name}", where=where, cure="run `make build`"))
    return problems if isinstance(card, AdoptedCard) else problems + mount_problems(cells, metadata)


def remarks(cells: Sequence[Cell], card: KernelCard | None, root: Path, description: bytes) -> list[str]:
    """Say what of an adopted kernel may fail on Kaggle; of ours it is refused.

    Others' code names the network, pickles and folders that a run never comes to. Only the run can tell, and the
    rehearsal is one, with the network cut and nothing mounted but what is listed. The cell that the kit itself adds is
    not looked at.
    """
    if not isinstance(card, AdoptedCard):
        return []
    own = wheels_cell(wheels_slug(card.slug), card.wheels).source if card.wheels else None
    others = [cell for cell in cells if cell.text != own and not cell.text.startswith((SET_UP, RUN))]
    looked_at = [_file_in(cell) or cell for cell in others]
    there = {name.partition("-")[0].lower() for files in card.wheels.values() for name in files}
    for folder in (card.folder, (card.folder / card.main).parent):  # files of the sources import each other
        there |= {path.stem.lower() for path in folder.glob("*") if path.is_dir() or path.suffix == ".py"}
    image = IMPORTS | {name: ImagePackage(package=name) for name in find_imports(looked_at) if name.lower() in there}
    found = [*find_online(looked_at), *import_problems(looked_at, root, image)]
    found += mount_problems(looked_at, read_object(description))
    return [f"{one.where}: may fail there: {one.what} (a rehearsal shows whether it comes to that)" for one in found]


def _file_in(cell: Cell) -> Cell | None:
    """Return the Python that a cell of a notebook in files mode writes, or no Python; None of every other cell."""
    try:
        file = written_by(cell.text) if cell.kind == "code" else None
    except ValueError:  # edited into something else: its faults are its own
        return None
    if file is None:
        return None
    text = file.text if file.path.endswith(".py") else ""
    return Cell(cell.notebook, cell.number, "code", text, file.path, tuple(range(1, text.count("\n") + 2)))


def size_problems(path: Path, root: Path, content: bytes | None = None) -> list[Problem]:
    """Measure what Kaggle would receive: its client sends the JSON with every other letter than ASCII escaped."""
    on_disk = path.read_bytes() if content is None else content
    size = max(len(on_disk), len(json.dumps(read_object(on_disk))))
    if size < SOURCE_LIMIT_BYTES:
        return []
    what = f"{size:,} bytes; Kaggle takes less than {SOURCE_LIMIT_BYTES:,}"
    cure = "move data out of the sources into a dataset"
    return [Problem(what=what, where=path.relative_to(root).as_posix(), cure=cure)]


def _dataset_problems(cards: Sequence[KernelCard], root: Path) -> list[Problem]:
    problems = []
    folder = root / notebooks.DATASETS_META
    for slug in sorted({slug for card in cards for slug in card.datasets if "/" not in slug}):
        if not (folder / slug / DATASET_METADATA).is_file():
            where = f"{notebooks.DATASETS_META}/{slug}/{DATASET_METADATA}"
            problems.append(Problem(what="is missing", where=where, cure="run `make build`"))
    for path in sorted(folder.glob(f"*/{DATASET_METADATA}")):
        metadata, where = read_object(path.read_bytes()), path.relative_to(root).as_posix()
        problems += dataset_problems(metadata, where)
        if metadata and str(metadata.get("id", "")).rpartition("/")[2] != path.parent.name:
            cure = f'"id": "OWNER/{path.parent.name}"'
            problems.append(Problem(what="its id is not the folder's name", where=where, cure=cure))
    return problems
