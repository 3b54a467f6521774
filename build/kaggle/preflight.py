"""Stage `image`, which `make preflight` runs: five minutes on Kaggle show what its image holds, beside what is assumed.

build → account → drift → push → run → report, resumable like `flow.py`. The image changes every month or so: `--again`
looks once more. A person looks at the comparison, then `python -m build preflight --accept` takes it over, with the
answers of the other stages (preflight_stages.py).
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from build.core.errors import CheckFailed, Problem, UsageError
from build.core.foreign_text import shown_value
from build.core.image import IMAGE
from build.core.printing import print_json
from build.core.progress import Steps
from build.kaggle.answers import ACCEPTED, AnswerStore, accept_answers
from build.kaggle.asking import Asking
from build.kaggle.client import Kaggle
from build.kaggle.journal import Journal
from build.kaggle.kernels import Version, current_attempt, pushed_before
from build.kaggle.live_view import watching_run
from build.kaggle.preflight_report import Compared, accept_report, as_lines, compare, read_seen
from build.kaggle.preparation import account, push_unless_edited
from build.kaggle.pushed_values import Given, built_with, values_text
from build.kaggle.runs import download, wait_for_run
from build.kaggle.staging import Staged, stage
from build.notebooks.builder import NOTEBOOKS, build, preflight_card
from build.notebooks.metadata import slug_of
from build.notebooks.seal import read_object
from kernel_src.competitions.kernel_cards import KernelCard
from kernel_src.runtime.files import write_json

REPORT = "preflight.json"
LATEST = Path("out", "push", REPORT)  # the newest report, until it is accepted or replaced
LARGEST_BYTES = 10**7
STEPS = 6
QUOTA = "preflight quota"  # step of the journal
ACCEPT = "python -m build preflight --accept"


def ask_image(asking: Asking) -> dict[str, Any]:
    """Run the preflight notebook on Kaggle unless this very one has run; keep and show what it found.

    Raises:
        CheckFailed: a step failed; nothing after it was done.
    """
    steps, journal = asking.steps(STEPS), asking.journal
    client, staged, version = push_notebook(asking, steps, preflight_card(), Given())
    with steps.step("run", f"waiting for {version.url}") as note, watching_run("on Kaggle", asking.quiet) as show_state:
        note(wait_for_run(staged, version, client, journal, show_state))
    with steps.step("report", f"{REPORT} of version {version.number}") as note:
        report = read_report(download(staged, version, client, journal, read_report))
        write_json(LATEST, report | {"run": f"{staged.kernel} version {version.number}"})
        note(str(LATEST))
    compared = compare(report)
    _keep_answers(asking, report, compared, staged, version, client)
    if not asking.quiet:
        show(compared)
    lines = {"compared": [asdict(one) for one in compared], "report": str(LATEST)}
    return {"kernel": staged.kernel, "version": version.number, "url": version.url} | lines


def push_notebook(asking: Asking, steps: Steps, card: KernelCard, given: Given) -> tuple[Kaggle, Staged, Version]:
    """Build a preflight notebook and push it, unless this very one was pushed before.

    Raises:
        CheckFailed: no credentials, edited on the site, or refused by Kaggle.
    """
    journal = asking.journal
    slug = slug_of(card)
    with steps.step("build", f"kernel_src/ → {NOTEBOOKS}/{slug}/") as note:
        states = ", ".join(outcome.state for outcome in build([preflight_card()]))
        card, notebook, values = built_with(given, card)
        note(f"{states}; {notebook.parent}/ for this push, with {values_text(values)}" if values else states)
    client, owner = account(steps)
    staged = current_attempt(stage(notebook, owner, {}, values), journal, again=asking.again)
    if asking.again:
        staged = _next_attempt(staged, journal)
    version = pushed_before(staged, journal)
    if version is None:
        _note_quota(staged, client, journal)
        version = push_unless_edited(staged, client, journal, steps, overwrite=asking.overwrite)
    else:
        steps.skip(2, f"this preflight is version {version.number} already (--again looks once more): {version.url}")
    return client, staged, version


def _note_quota(staged: Staged, client: Kaggle, journal: Journal) -> None:
    """Note how many GPU hours were used before a push, once; where Kaggle does not answer, nothing is noted."""
    if journal.done(QUOTA, staged.inputs) is None:
        with suppress(CheckFailed):
            journal.record(QUOTA, staged.inputs, used_h=client.quota().gpu_used_h)


def _keep_answers(
    asking: Asking,
    report: dict[str, Any],
    compared: list[Compared],
    staged: Staged,
    version: Version,
    client: Kaggle,
) -> None:
    """Keep what the run, and the site's words on it, have settled."""
    seen = read_seen(report, REPORT)
    differ = sum(one.verdict == "differs" for one in compared)
    value = {"python": seen.python, "layout": seen.layout, "gpus": list(seen.gpus), "differ": differ}
    asking.keep("image", value, "the notebook")
    asking.ask("read_back", "GetKernel", lambda: _read_back(staged, version, client))
    before = asking.journal.done(QUOTA, staged.inputs)
    if before is not None and not asking.is_settled("gpu_charge"):
        asking.ask("gpu_charge", "GetAcceleratorQuotaStatistics", lambda: _charge(before, version, client, asking))


def _read_back(staged: Staged, version: Version, client: Kaggle) -> dict[str, Any]:
    remote = client.pull_kernel(staged.owner, staged.slug, version.number)
    there = remote.metadata if remote else {}
    names = ("machine_shape", "enable_gpu", "enable_internet", "is_private", "docker_image", "competition_sources")
    return {name: there.get(name) for name in names}


def _charge(before: dict[str, Any], version: Version, client: Kaggle, asking: Asking) -> dict[str, Any]:
    """Return the GPU minutes that were charged since the push, and how long the run was waited for, the queue too."""
    used_h = client.quota().gpu_used_h
    charged = None if None in (used_h, before["used_h"]) else round((used_h - before["used_h"]) * 60, 1)
    run = asking.journal.newest("run", version.inputs)
    waited = None
    if run is not None and run.ended is not None:
        waited = datetime.fromisoformat(run.ended) - datetime.fromisoformat(run.begun)
    return {"charged_min": charged, "waited_min": waited and round(waited.total_seconds() / 60, 1)}


def _next_attempt(staged: Staged, journal: Journal) -> Staged:
    """Return the attempt after the last one that has come to its end; one that has not is gone on with."""
    while (done := journal.done("kernel", staged.inputs)) and journal.done(
        "outputs", {"kernel": staged.kernel, "version": done["version"]}
    ):
        staged = replace(staged, attempt=staged.attempt + 1)
    return staged


def read_report(folder: Path) -> dict[str, Any]:
    """Read the report that a run left and make sure that it is one.

    Raises:
        CheckFailed: it is missing, too large, no JSON, or not what a preflight writes.
    """
    path = folder / REPORT
    if not path.is_file() or path.stat().st_size > LARGEST_BYTES:
        what = "is larger than any report" if path.is_file() else "is missing: the run ended without it"
        raise CheckFailed([Problem(what=what, where=str(path), cure="run the preflight with --again")])
    report: dict[str, Any] = shown_value(read_object(path.read_bytes()))
    with _read_safely(path):
        read_seen(report, str(path))
        compare(report)
    return report


@contextmanager
def _read_safely(path: Path) -> Iterator[None]:
    """Turn what a report of another form causes into a message."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"it is not of the form that the preflight writes ({type(error).__name__}: {error})"
        raise CheckFailed([Problem(what=what, where=str(path), cure="run the preflight with --again")]) from None


def show(compared: list[Compared]) -> None:
    """Print what is there beside what the kit assumes."""
    news = [one for one in compared if one.verdict != "ok"]
    print("\n".join(as_lines(compared)))
    print(f"whole report: {LATEST}")
    print(f"{_count(news)}; to take this over into build/core/image.json: {ACCEPT}")


def _count(news: list[Compared]) -> str:
    differ = sum(one.verdict == "differs" for one in news)
    return f"{differ} differ from what the kit assumes, {len(news) - differ} learnt" if news else "all as assumed"


def accept_latest(as_json: bool) -> None:
    """Take over the last report and every answer that is at hand.

    Raises:
        UsageError: there is nothing.
        CheckFailed: the report is not one, or a file is damaged; nothing was taken over.
    """
    store = AnswerStore()
    if not LATEST.is_file() and not store.answers:
        raise UsageError(f"{LATEST} does not exist: run `make preflight` first, and look at what it prints")
    diff = ""
    if LATEST.is_file():
        report = read_report(LATEST.parent)
        diff = accept_report(read_seen(report, str(LATEST), str(report.get("run", "a preflight"))))
    answers = accept_answers(store)
    if as_json:
        changed = bool(diff or answers)
        print_json({"ok": True, "changed": changed, "path": str(IMAGE), "diff": diff, "answers": answers})
        return
    if diff:
        print(f"{diff}\n{IMAGE}: written. Next: `make build` (the notebooks name the versions), `make check` (pins)")
    elif LATEST.is_file():
        print(f"{IMAGE} holds this report already")
    print(f"{answers}\n{ACCEPTED}: written" if answers else f"{ACCEPTED} holds these answers already")
