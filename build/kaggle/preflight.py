"""`make preflight`: five minutes on Kaggle show what its image really holds, beside what the kit assumes.

build → account → drift → push → run → report, resumable like `flow.py`. The image changes every month or so: `--again`
looks once more. A person looks at the comparison, then `python -m build preflight --accept` takes it over.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from build.core.errors import CheckFailed, Problem, UsageError
from build.core.foreign_text import shown_value
from build.core.image import IMAGE
from build.core.printing import print_json
from build.core.progress import Steps
from build.kaggle.journal import Journal
from build.kaggle.kernels import current_attempt, pushed_before
from build.kaggle.live_view import watching_run
from build.kaggle.preflight_report import Compared, accept_report, as_lines, compare, read_seen
from build.kaggle.preparation import account, push_unless_edited
from build.kaggle.runs import download, wait_for_run
from build.kaggle.staging import Staged, stage
from build.notebooks.builder import NOTEBOOKS, ROOT, build, preflight_card
from build.notebooks.metadata import slug_of
from build.notebooks.seal import read_object
from kernel_src.runtime.files import write_json

REPORT = "preflight.json"
LATEST = Path("out", "push", REPORT)  # the newest report, until it is accepted or replaced
LARGEST_BYTES = 10**7
STEPS = 6
ACCEPT = "python -m build preflight --accept"


def look(journal: Journal, *, again: bool, overwrite: bool, quiet: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run the preflight kernel on Kaggle unless this very one has run; return its report and where it came from.

    Raises:
        CheckFailed: a step failed; nothing after it was done.
    """
    steps = Steps(total=STEPS, quiet=quiet)
    card = preflight_card()
    slug = slug_of(card)
    with steps.step("build", f"kernel_src/ → {NOTEBOOKS}/{slug}/") as note:
        note(", ".join(outcome.state for outcome in build([card])))
    client, owner = account(steps)
    staged = current_attempt(stage(ROOT / NOTEBOOKS / slug / f"{slug}.ipynb", owner, {}), journal, again=again)
    if again:
        staged = _next_attempt(staged, journal)
    version = pushed_before(staged, journal)
    if version is None:
        version = push_unless_edited(staged, client, journal, steps, overwrite=overwrite)
    else:
        steps.skip(2, f"this preflight is version {version.number} already (--again looks once more): {version.url}")
    with steps.step("run", f"waiting for {version.url}") as note, watching_run("on Kaggle", quiet) as show_state:
        note(wait_for_run(staged, version, client, journal, show_state))
    with steps.step("report", f"{REPORT} of version {version.number}") as note:
        report = read_report(download(staged, version, client, journal, read_report))
        write_json(LATEST, report | {"run": f"{staged.kernel} version {version.number}"})
        note(str(LATEST))
    return report, {"kernel": staged.kernel, "version": version.number, "url": version.url}


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


def show(report: dict[str, Any], result: dict[str, Any], as_json: bool) -> None:
    """Print the comparison of a report with what the kit assumes."""
    compared = compare(report)
    news = [one for one in compared if one.verdict != "ok"]
    if as_json:
        lines = [asdict(one) for one in compared]
        print_json({"ok": True, **result, "compared": lines, "report": str(LATEST)})
        return
    print("\n".join(as_lines(compared)))
    print(f"whole report: {LATEST}")
    print(f"{_count(news)}; to take this over into build/core/image.json: {ACCEPT}")


def _count(news: list[Compared]) -> str:
    differ = sum(one.verdict == "differs" for one in news)
    return f"{differ} differ from what the kit assumes, {len(news) - differ} learnt" if news else "all as assumed"


def accept_latest(as_json: bool) -> None:
    """Take the last report over.

    Raises:
        UsageError: there is none.
    """
    if not LATEST.is_file():
        raise UsageError(f"{LATEST} does not exist: run `make preflight` first, and look at what it prints")
    report = read_report(LATEST.parent)
    diff = accept_report(read_seen(report, str(LATEST), str(report.get("run", "a preflight"))))
    if as_json:
        print(json.dumps({"ok": True, "changed": bool(diff), "path": str(IMAGE), "diff": diff}))
    elif diff:
        print(f"{diff}\n{IMAGE}: written. Next: `make build` (the notebooks name the versions), `make check` (pins)")
    else:
        print(f"{IMAGE} holds this report already")
