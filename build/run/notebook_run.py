"""`make notebook-run`: the built notebook itself, in a session on this machine, on a competition laid out in out/mock/.

1. The competition and the datasets that the notebook mounts are laid out in `out/mock/kaggle/input`.
2. papermill runs the notebook as it lies in notebooks/, in `out/mock/kaggle/working`, into `out/notebook-runs/`.

The notebook finds the mock by itself, as it does when `make lab` or VS Code runs it. Nothing is isolated: `make
rehearse` is for seeing what Kaggle would do.
"""

import json
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from build.core.choosing import demo_folder
from build.core.errors import CheckFailed, Problem, UsageError
from build.notebooks.builder import NOTEBOOKS, ROOT, check_notebook, notebook_of, slug_named
from build.notebooks.metadata import kernel_slug
from build.run.datasets import bundles_needed_by, match_datasets, needed_by
from build.run.mock import dataset_slug, lay_out
from build.run.rehearse.executed_cells import read_cells
from build.run.rehearse.failure import explain_error
from build.run.rehearse.page import render_html
from build.run.rehearse.runner import CELL_FAILED, KERNEL_DIED, OK, execute
from build.run.session import only_one
from build.run.usual import usual_weights
from kernel_src.competitions.held_facts import facts
from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.competitions.kernel_cards import bundle_slug
from kernel_src.runtime.manifest import MANIFEST_FILE
from kernel_src.runtime.mounts import MOCK

RUNS = Path("out", "notebook-runs")
Say = Callable[[str], object]


@dataclass(frozen=True, kw_only=True)
class NotebookRun:
    """What a run left."""

    ok: bool
    notebook: str  # as executed
    page: str
    reads: str  # the notebook's own first words
    working: str
    files: list[str]  # that it wrote there
    seconds: float


def run_notebook(
    experiment: str,
    kernel: str,
    *,
    data: Path | None = None,
    weights: Sequence[Path] = (),
    random: bool = False,
    root: Path = ROOT,
    say: Say = print,
) -> NotebookRun:
    """Lay out the mock and run a built notebook on it.

    `data` is the demo's competition by default, which is made where it is missing. `random` makes bundles of
    random numbers in place of trained ones.

    Raises:
        UsageError: no such experiment or notebook, or a folder is missing.
        CheckFailed: the notebook failed; carries the cell's error.
    """
    check_notebook(experiment, kernel)
    if slug_named(experiment, kernel) == experiment:
        raise UsageError(f"{experiment} was adopted, and looks for its data in /kaggle: `make rehearse` lays that out")
    slug = kernel_slug(experiment, kernel)
    notebook = notebook_of(slug, root / NOTEBOOKS)
    with only_one(root / RUNS):
        datasets = _datasets(experiment, kernel, weights, random, root, say)
        mock = lay_out(
            root / MOCK,
            competition_slug=facts().slug,
            data=data or _painted(root, say),
            datasets=datasets,
            layout="new",
            subfolders=True,
        )
        for note in mock.notes:
            say(f"note: {note}")
        executed = root / RUNS / f"{slug}.ipynb"
        started = time.perf_counter()
        say(f"{notebook.name} runs in {mock.working}")
        status, message = execute(
            notebook, executed, cwd=mock.working, kernel_name="python3", progress_bar=sys.stderr.isatty()
        )
        if status != OK:
            raise CheckFailed([_problem(status, message, executed)])
        page = executed.with_suffix(".html")
        render_html(executed, page)
        return NotebookRun(
            ok=True,
            notebook=str(executed),
            page=str(page),
            reads=first_words(executed),
            working=str(mock.working),
            files=sorted(path.name for path in mock.working.iterdir()),
            seconds=round(time.perf_counter() - started, 1),
        )


def first_words(executed: Path) -> str:
    """Return the first line that a notebook printed, "" when it printed nothing."""
    for output in (output for cell in read_cells(executed).cells for output in cell.outputs):
        if output.get("name") == "stdout":
            return "".join(output["text"]).partition("\n")[0]
    return ""


def _problem(status: int, message: str, executed: Path) -> Problem:
    """Say which cell failed, and where that is in kernel_src; or how else the run ended."""
    cells = read_cells(executed) if status == CELL_FAILED else None
    if cells and (cell := cells.failing()) and (failure := explain_error(cells)):
        what, cure = f"cell {cell.index + 1} failed: {failure.error}", f"see the traceback there, at {failure.source}"
        return Problem(what=what, where=str(executed), cure=cure)
    how = "the kernel crashed" if status == KERNEL_DIED else "the notebook could not be run"
    return Problem(what=f"{how}: {message}", where=str(executed))


def run(experiment: str, kernel: str, data: Path | None, weights: Sequence[Path], random: bool, as_json: bool) -> None:
    """Run from the command line."""
    say: Say = (lambda line: print(line, file=sys.stderr)) if as_json else print
    done = run_notebook(experiment, kernel, data=data, weights=weights, random=random, say=say)
    if as_json:
        print(json.dumps(asdict(done), indent=2))
        return
    print(f"{done.reads}\n{done.notebook}: every cell ran, in {done.seconds:.0f} s; it left {', '.join(done.files)}")
    print(f"Look at {Path(done.page).as_uri()}, or open the notebook in `make lab`: it finds the same mock there")


# -- what is mounted -----------------------------------------------------------------------------------------------


def _datasets(
    experiment: str, kernel: str, weights: Sequence[Path], random: bool, root: Path, say: Say
) -> dict[str, Path]:
    if kernel != "infer":
        return match_datasets(needed_by(EXPERIMENTS[experiment]), weights, "WEIGHTS=")
    needed = bundles_needed_by(experiment)
    trained = {slug: name for name in EXPERIMENTS if (slug := bundle_slug(name)) in needed}
    given = list(weights) or usual_weights(experiment, kernel, root)
    nets = {slug: name for slug, name in trained.items() if not EXPERIMENTS[name].is_frozen}
    if random:
        there = {dataset_slug(place) for place in given}
        given += [random_bundle(name, root, say) for slug, name in nets.items() if slug not in there]
    needed |= {slug: f"{needed[slug]}, or RANDOM=1 for random numbers in its place" for slug in nets}
    return match_datasets(needed, given, "WEIGHTS=")


def random_bundle(experiment: str, root: Path, say: Say) -> Path:
    """Make a bundle of an experiment out of random numbers, unless it is there; what it predicts means nothing."""
    from build.weights.bundle import make_bundle
    from build.weights.random_weights import DEPTH_SMALL, random_depth, random_run

    bundle = root / "out" / "random-bundles" / experiment
    if (bundle / MANIFEST_FILE).is_file():
        return bundle
    say(f"{experiment}: its bundle is made of random numbers, so what it predicts means nothing → {bundle}")
    recipe, scratch = EXPERIMENTS[experiment], bundle.with_name(f".{experiment}")
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        depth = random_depth(scratch / "depth", DEPTH_SMALL) if recipe.depth else None
        run_folder = random_run(scratch / "run", recipe, depth, settled=True)
        make_bundle(run_folder, bundle, slug=bundle_slug(experiment))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return bundle


def _painted(root: Path, say: Say) -> Path:
    from build.demo.data import make_demo_data

    data = root / demo_folder() / "competition"
    if not data.is_dir():
        say(f"making the demo's competition → {data} (half a minute at most, once)")
        make_demo_data(data.parent)
    return data
