"""`make infer`: the inference kernel as a plain script, from bundles to a checked submission.csv."""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from build.core.errors import CheckFailed, Problem, UsageError
from build.run.datasets import match_datasets
from build.run.identity import files_sha256, run_hash, sources_sha256
from build.run.session import only_one, run_kernel
from build.run.training import LOG_FILE, RUNS
from kernel_src.competition.constants import SAMPLE_CSV, SUBMISSION_FILE, TEST_CSV, TEST_FOLDER
from kernel_src.competition.submission import read_column, submission_problems
from kernel_src.recipes.ensembles import ENSEMBLES
from kernel_src.recipes.experiments import EXPERIMENTS
from kernel_src.recipes.kernel_cards import bundle_slug, frozen_backbones, kernel_card


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
    if experiment not in {*EXPERIMENTS, *ENSEMBLES}:
        raise UsageError(f"no experiment {experiment!r}; there are {', '.join([*EXPERIMENTS, *ENSEMBLES])}")
    if not (data / TEST_CSV).is_file():
        raise UsageError(f"{data}: no {TEST_CSV}: DATA= wants the competition's folder, unpacked")
    card = kernel_card(experiment, "infer")
    trained = {bundle_slug(name): name for name in EXPERIMENTS}
    needed = {slug: f"the bundle that {_how_to_make(trained[slug])} leaves" for slug in card.bundles}
    needed |= {slug: "weights of the frozen backbone" for slug in frozen_backbones(experiment)}
    datasets = match_datasets(needed, weights, "WEIGHTS=" if not quiet else "--weights ")
    sources = sources_sha256("infer", card.parameters)
    bundles = {slug: files_sha256([path], path) for slug, path in sorted(datasets.items())}
    pictures = files_sha256([data / TEST_CSV, data / TEST_FOLDER], data)
    name = run_hash({"sources": sources, "bundles": bundles, "data": pictures})
    folder = out / experiment / f"infer-{name}"
    with only_one(folder):
        run_kernel(
            "infer",
            card.parameters,
            data=data,
            datasets=datasets,
            session=out / ".sessions" / f"{experiment}-infer-{name}",
            links={},
            cache=out.parent / "cache" / "photographs",
            log=folder / LOG_FILE,
            screen=sys.stderr.buffer if quiet else sys.stdout.buffer,
        )
    submission = folder / SUBMISSION_FILE
    try:
        ids = read_column(data / SAMPLE_CSV, "sample_id")
    except ValueError as error:
        raise CheckFailed([Problem(what=str(error), cure="give the competition's data as it was downloaded")]) from None
    if problems := submission_problems(submission, ids):
        raise CheckFailed([Problem(what=problem, where=str(submission)) for problem in problems])
    told = json.loads((folder / "inference_report.json").read_bytes())
    return InferenceReport(
        ok=True,
        experiment=experiment,
        hash=name,
        folder=str(folder),
        submission=str(submission),
        images=told["images"],
        rows=len(ids),
        seconds=round(time.perf_counter() - started, 1),
        device=told["device"]["name"],
    )


def _how_to_make(experiment: str) -> str:
    if EXPERIMENTS[experiment].is_frozen:
        return f"`python -m build bundle out/regressors/{experiment}`"
    return f"`make train EXPERIMENT={experiment}`"


def run(experiment: str, data: Path, weights: Sequence[Path], out: Path, as_json: bool) -> None:
    """Infer from the command line."""
    report = infer(experiment, data, weights, out=out, quiet=as_json)
    if as_json:
        print(json.dumps(asdict(report), indent=2))
    else:
        print(f"{report.submission}: {report.rows} rows, valid, {report.images} photographs in {report.seconds:.0f} s")
