"""The verdict: every problem that a finished run shows, each with its cure, put together into the report."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build.core.errors import Problem
from build.core.untrusted import plain_text
from build.notebooks.adopted import CARD, read_card
from build.notebooks.builder import KERNELS_FOLDER
from build.notebooks.notebook_file import read_bytes, read_notebook, sources_sha256
from build.run.mock import Layout, MockKaggle
from build.run.rehearse.cures import cure_of_error, cure_of_stop, cure_of_submission
from build.run.rehearse.executed_cells import read_cells
from build.run.rehearse.failure import Failure
from build.run.rehearse.findings import (
    INFERENCE_REPORT,
    Expected,
    cell_times,
    check_submission,
    find_failure,
    inference_report,
    network_attempts,
    project,
    stated_device,
)
from build.run.rehearse.report import NetworkAttempt, Report, SubmissionCheck
from build.run.rehearse.sandbox import Device, Isolation
from build.run.rehearse.scratch import Scratch
from build.run.rehearse.watch import Watched
from kernel_src.competitions.biomass.constants import LIMIT_S, SUBMISSION_FILE

RESULTS = {"train": "run/config.json", "features": "run/features.npz"}  # by kernel, which of them submit nothing
ANYTHING = "."  # for a result: the working folder itself, of an adopted kernel that leaves whatever it leaves


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run that has ended, and what it was asked to do."""

    notebook: Path
    executed: Path
    out: Path
    mock: MockKaggle
    scratch: Scratch
    watched: Watched
    limit_s: float
    memory_gb: float
    isolation: Isolation
    layout: Layout
    rerun: bool
    device: Device
    expected: Expected | None  # None where no competition is mounted
    manifests: dict[str, str]  # mounted dataset's slug → sha256 of its manifest.json
    notes: tuple[str, ...] = ()  # on what the run left
    edited: bool  # the notebook is not as it was built
    changed: list[str]  # what became of /kaggle/input, where it could not be mounted read-only


def judge(run: Run) -> Report:
    """Look at everything that the run left behind."""
    cells = read_cells(run.executed)
    failure = find_failure(run.watched, run.scratch, cells, limit_s=run.limit_s, memory_gb=run.memory_gb)
    attempts = network_attempts(run.scratch, cells)
    said = inference_report(run.mock.working)
    result = result_of(run.notebook)
    submission, images, projected, projection = None, None, None, ""
    if run.expected:
        images = run.expected.train_images if result else run.expected.test_images
    if not result:
        if run.expected and (not failure or os.path.lexists(run.mock.working / SUBMISSION_FILE)):
            submission = check_submission(run.mock.working, run.expected)
        if not failure:
            projected, projection = project(run.watched.seconds, images, said)
    problems = [
        *_failure_problems(failure, run.rerun),
        *_network_problems(attempts),
        *_input_problems(run.changed),
        *_contained_problems(said),
        *_submission_problems(submission, run.rerun),
        *_plan_problems(projected, projection),
    ]
    if result and not failure and not (run.mock.working / result).exists():
        what = f"the training ended without /kaggle/working/{result}"
        reader = "regress" if result == RESULTS["features"] else "bundle"
        problems.append(Problem(what=what, cure=f"save the run there: `python -m build {reader}` reads it"))
    device = {"rehearsed": run.device} | stated_device(said) | {"rehearsed": run.device}
    notes = [*run.mock.notes, *run.notes]
    if run.device == "p100" and len(device) == 1 and not failure:
        notes.append(f"the notebook does not say which device it used: write `device` into {INFERENCE_REPORT}")
    return Report(
        notebook=str(run.notebook),
        source_sha256=sources_sha256(read_notebook(read_bytes(run.notebook))),
        edited=run.edited,
        manifests=run.manifests,
        out=str(run.out),
        rerun=run.rerun,
        layout=run.layout,
        seconds=round(run.watched.seconds, 3),
        limit_s=run.limit_s,
        peak_rss_gb=round(run.watched.peak_gb, 3),
        memory_gb=run.memory_gb,
        isolation=run.isolation.as_json(),
        network_attempts=len(attempts),
        network=attempts,
        cell_seconds=cell_times(run.scratch, cells),
        images=images,
        projected_seconds_800=None if projected is None else round(projected, 1),
        projection=projection,
        device=device,
        submission=submission,
        failure=failure,
        problems=tuple(problems),
        notes=tuple(notes),
    )


def result_of(notebook: Path) -> str:
    """Name the file, in its working folder, that a notebook's run ends with; "" for an inference, which submits.

    Raises:
        CheckFailed: the card of an adopted kernel, beside the notebook, is not as it should be.
    """
    if (card := notebook.with_name(CARD)).is_file():
        return ANYTHING if read_card(card, notebook.parents[2]).trains else ""
    main = script_of(notebook)
    if main:  # a script that was adopted may be called train.py, too
        return RESULTS.get(Path(main).stem, "") if Path(main).parent == KERNELS_FOLDER else ""
    return RESULTS.get(notebook.stem.rpartition("-")[2], "")


def script_of(notebook: Path) -> str:
    """Return the script that a built notebook names; "" if it was not built by this kit."""
    stitched = read_notebook(read_bytes(notebook))["metadata"].get("stitch")
    main = stitched.get("main") if isinstance(stitched, dict) else None
    return main if isinstance(main, str) else ""


def _failure_problems(failure: Failure | None, rerun: bool) -> list[Problem]:
    if failure is None:
        return []
    lines = [line for line in failure.error.splitlines() if line.strip()]
    evidence = "\n".join([failure.error, *failure.traceback[-1:]])
    cure = cure_of_stop(failure.kind) or cure_of_error(evidence, rerun=rerun)
    return [Problem(what=lines[0][:500], where=failure.source, cure=cure)]


def _network_problems(attempts: tuple[NetworkAttempt, ...]) -> list[Problem]:
    """Name each target and place once, however often a library retried."""
    cure = cure_of_error("ConnectionError")
    return [
        Problem(what=f"the notebook tried to reach {attempt.target}", where=attempt.source, cure=cure)
        for attempt in dict.fromkeys(attempts)
    ]


def _input_problems(changed: list[str]) -> list[Problem]:
    if not changed:
        return []
    what = f"the notebook changed /kaggle/input: {', '.join(changed[:5])}{' …' if len(changed) > 5 else ''}"
    return [Problem(what=what, cure=cure_of_error("Read-only file system"))]


def _contained_problems(said: dict[str, Any]) -> list[Problem]:
    """Report the faults that the rerun contained: on Kaggle they would cost points, and nobody would see them."""
    faults = said.get("faults")
    contained = [f for f in faults if isinstance(f, dict) and f.get("contained")] if isinstance(faults, list) else []
    return [
        Problem(
            what=plain_text(
                f"the rerun contained a fault of {fault.get('part')}: {fault.get('what')} → {fault.get('fallback')}"
            )[:2000],
            where=INFERENCE_REPORT,
            cure="correct it before you submit; rehearsed without --rerun it is an error with file and line",
        )
        for fault in contained
    ]


def _submission_problems(submission: SubmissionCheck | None, rerun: bool) -> list[Problem]:
    return [
        Problem(what=text, where=SUBMISSION_FILE, cure=cure_of_submission(text, rerun=rerun))
        for text in (submission.problems if submission else ())
    ]


def _plan_problems(projected_s: float | None, projection: str) -> list[Problem]:
    if projected_s is None or projected_s <= LIMIT_S:
        return []
    what = f"800 images would take about {projected_s:.0f} s ({projection}), Kaggle allows {LIMIT_S} s"
    cure = "predict with fewer folds, views or pixels, or on a GPU that torch can use (machine_shape NvidiaTeslaT4)"
    return [Problem(what=what, cure=cure)]
