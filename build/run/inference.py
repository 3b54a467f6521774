"""`make infer`: the inference kernel as a plain script, from bundles to a checked submission.csv."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from build.core.errors import CheckFailed, Problem
from build.core.submission_file import read_column, submission_problems
from build.notebooks.builder import check_notebook
from build.run.datasets import bundles_needed_by, match_datasets
from build.run.session import RUNS, LocalRun, only_one, run_kernel
from build.run.training import check_competition
from kernel_src.competitions.held_facts import facts
from kernel_src.competitions.kernel_cards import kernel_card


@dataclass(frozen=True, kw_only=True)
class InferenceReport:
    """What an inference on one's own machine left."""

    ok: bool
    experiment: str
    hash: str
    folder: str
    submission: str
    images: int
    rows: int
    seconds: float
    device: str


def infer(
    experiment: str, data: Path, weights: Sequence[Path], *, out: Path = RUNS, quiet: bool = False
) -> InferenceReport:
    """Predict the test photographs of `data` with an experiment's bundle, or an ensemble's.

    Raises:
        UsageError: no such experiment, or a folder is missing.
        CheckFailed: the kernel failed, or its submission is not valid.
    """
    started = time.perf_counter()
    check_notebook(experiment, "infer")
    check_competition(data, facts().find_by)
    run = LocalRun(
        kernel="infer",
        experiment=experiment,
        parameters=kernel_card(experiment, "infer").parameters,
        data=data,
        datasets=match_datasets(bundles_needed_by(experiment), weights, "WEIGHTS=" if not quiet else "--weights "),
        out=out,
        quiet=quiet,
    )
    with only_one(run.folder):
        run_kernel(run, run.parameters)
    submission = run.folder / facts().submission_file
    try:
        ids = read_column(data / facts().sample_csv, facts().id_column)
    except ValueError as error:
        raise CheckFailed([Problem(what=str(error), cure="give the competition's data as it was downloaded")]) from None
    if problems := submission_problems(submission, ids):
        raise CheckFailed([Problem(what=problem, where=str(submission)) for problem in problems])
    found = json.loads((run.folder / "inference_report.json").read_bytes())
    return InferenceReport(
        ok=True,
        experiment=experiment,
        hash=run.hash,
        folder=str(run.folder),
        submission=str(submission),
        images=found["images"],
        rows=len(ids),
        seconds=round(time.perf_counter() - started, 1),
        device=found["device"]["name"],
    )
