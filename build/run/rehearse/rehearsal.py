"""One rehearsal from end to end: lay out, run, look at what came of it."""

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from build.core.bundle_files import content_sha256
from build.core.errors import UsageError
from build.core.foreign_text import hide_in_value, shown
from build.notebooks.notebook_file import NotANotebook, read_bytes, read_notebook
from build.notebooks.seal import is_untouched
from build.run.mock import Layout, MockKaggle, competition_folder, lay_out, tree_sha256
from build.run.rehearse.executed_cells import Cells, read_cells
from build.run.rehearse.findings import cell_times, read_expected
from build.run.rehearse.keepsakes import describe_odd_files, find_odd_files, keep_executed, keep_working
from build.run.rehearse.page import render_html
from build.run.rehearse.plan import METADATA_FILE, read_plan
from build.run.rehearse.report import REPORT_FILE, Report
from build.run.rehearse.sandbox import Device, choose_isolation, start_notebook
from build.run.rehearse.scratch import Scratch, scratch_folder
from build.run.rehearse.verdict import Run, judge
from build.run.rehearse.watch import watch
from kernel_src.competitions.biomass.constants import LIMIT_S, MEMORY_GB
from kernel_src.runtime.files import write_text

Say = Callable[[str], None]
SECONDS_WORTH_A_LINE = 0.5  # of a cell: most only define functions


def rehearse(
    notebook: Path,
    *,
    data: Path,
    weights: Sequence[Path] = (),
    models: Mapping[str, Path] | None = None,
    hidden: Path | None = None,
    layout: Layout = "new",
    rerun: bool = False,
    limit_s: float = LIMIT_S,
    memory_gb: float = MEMORY_GB,
    out: Path,
    device: Device = "real",
    isolation: str = "auto",
    say: Say = lambda line: None,
) -> Report:
    """Run a built notebook as Kaggle would, and report; what the notebook does wrong is in the report, never raised.

    Mounts what kernel-metadata.json beside the notebook lists: the competition from `data`, the
    datasets from the `weights` folders, each Kaggle Model from the folder that `models` has for its handle. Leaves in
    `out`: report.json, <slug>.executed.ipynb, <slug>.html and working/, which is what the notebook wrote. `say` is
    called with each line of progress.

    Raises:
        UsageError: a folder or file is missing or is not in the competition's layout.
        CheckFailed: metadata and folders do not fit each other.
    """
    if not notebook.is_file():
        raise UsageError(f"{notebook} does not exist: run `make build`")
    try:
        cells, content = read_cells(notebook), read_bytes(notebook)
    except NotANotebook as error:
        raise UsageError(f"{notebook} {error}") from None
    plan = read_plan(notebook.with_name(METADATA_FILE), weights, models)
    chosen = choose_isolation(isolation)
    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    executed, html = out / f"{notebook.stem}.executed.ipynb", out / f"{notebook.stem}.html"
    for stale in (out / REPORT_FILE, executed, html):
        stale.unlink(missing_ok=True)
    # Now, not after the run: the folder may be made anew meanwhile.
    manifests = {name: content_sha256(folder) for name, folder in plan.datasets.items()}
    mock = lay_out(
        out / ".mock",
        competition_slug=plan.competition,
        data=data,
        datasets=plan.datasets,
        models=plan.models,
        layout=layout,
        rerun=rerun,
        hidden=hidden,
        protected=chosen.namespace,
    )
    with scratch_folder() as scratch, removing(mock):
        isolated = ", ".join(f"{what}: {how}" for what, how in chosen.as_json().items())
        mounted = ", ".join([plan.competition or "no competition", *plan.datasets, *plan.models])
        say(f"{notebook.stem}: {mounted}; {isolated}")
        if remark := edit_remark(notebook, content):
            say(f"  {remark}")
        expected = read_expected(competition_folder(mock, plan.competition, layout)) if plan.competition else None
        before = {} if chosen.namespace else tree_sha256(mock.input)
        process = start_notebook(
            notebook.resolve(), scratch=scratch, mock=mock, isolation=chosen, rerun=rerun, device=device
        )
        progress = _Progress(scratch, cells, say)
        watched = watch(process, limit_s=limit_s, memory_gb=memory_gb, on_poll=progress.report)
        progress.report()
        after = {} if chosen.namespace else tree_sha256(mock.input)
        notes = keep_executed(scratch.executed, notebook, executed)
        _hide_credentials(executed)
        odd = find_odd_files(mock.working)
        run = Run(
            notebook=notebook,
            executed=executed,
            out=out,
            mock=mock,
            scratch=scratch,
            watched=watched,
            limit_s=limit_s,
            memory_gb=memory_gb,
            isolation=chosen,
            layout=layout,
            rerun=rerun,
            device=device,
            expected=expected,
            manifests={name.rpartition("/")[2]: digest for name, digest in manifests.items()},
            notes=tuple(notes + describe_odd_files(odd, mock.working)),
            edited=not is_untouched(content),
            changed=_changes(before, after),
        )
        report = judge(run)
        keep_working(mock.working, out / "working", odd)
        render_html(executed, html)
        report.write(out / REPORT_FILE)
        return report


@contextmanager
def removing(mock: MockKaggle) -> Iterator[None]:
    """Remove the mock, whatever ends the block."""
    try:
        yield
    finally:
        mock.remove()


def edit_remark(notebook: Path, content: bytes) -> str:
    """Say that a notebook was edited since it was built, so that nobody takes its rehearsal for that of the build."""
    if is_untouched(content):
        return ""
    shown = f"`python -m build sync --dry-run {shlex.quote(str(notebook))}` shows the edits"
    return f"{notebook.name} differs from its build and is rehearsed as it lies; {shown}"


class _Progress:
    """A line for each cell once it ends, unless it took no time worth a line."""

    def __init__(self, scratch: Scratch, cells: Cells, say: Say) -> None:
        self.scratch, self.cells, self.say, self.reported = scratch, cells, say, 0

    def report(self) -> None:
        times = cell_times(self.scratch, self.cells)
        for time in (time for time in times[self.reported :] if time.seconds >= SECONDS_WORTH_A_LINE):
            self.say(shown(f"  In[{time.cell}] {time.seconds:6.1f} s  {time.source or time.title}"))
        self.reported = len(times)


def _changes(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Name what a run did to its input, each file once."""
    verbs = {
        "deleted": before.keys() - after.keys(),
        "new": after.keys() - before.keys(),
        "changed": {name for name in before.keys() & after.keys() if before[name] != after[name]},
    }
    return [f"{verb} {name}" for verb, names in verbs.items() for name in sorted(names)]


def _hide_credentials(executed: Path) -> None:
    """Keep no credential in the executed notebook, from which the page is made."""
    content = read_notebook(read_bytes(executed))
    if (clean := hide_in_value(content)) != content:
        write_text(executed, json.dumps(clean, indent=1, ensure_ascii=False) + "\n")
