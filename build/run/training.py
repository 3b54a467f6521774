"""`make train`: the training kernel as a plain script, from the changes typed in to a bundle ready for inference.

Everything about a run lies in `out/runs/<experiment>/<hash>/`: the hash is over changes, sources and data, so the same
command goes on where it stopped, and another one never overwrites anything.
"""

import json
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from build.core.bundle_files import missing_folds_text
from build.core.errors import UsageError
from build.core.settings import apply_changes, find_experiment, parse_changes, parse_folds
from build.run.datasets import match_datasets, needed_by
from build.run.mock import dataset_slug
from build.run.session import LOG_FILE, RUNS, LocalRun, only_one, run_kernel
from kernel_src.competitions.held_facts import facts
from kernel_src.competitions.held_rules import rules
from kernel_src.competitions.kernel_cards import bundle_slug
from kernel_src.runtime.files import CONFIG_FILE, write_json

CACHE_GB = 40.0
CHECKPOINTS = "checkpoints"  # in the folder of a run, until it is finished
BUNDLE, CURVES_FILE, SCATTER_FILE = "bundle", "curves.png", "out_of_fold.png"


@dataclass(frozen=True, kw_only=True)
class TrainingReport:
    """What a training on one's own machine left."""

    ok: bool
    finished: bool  # false: the experiment's machine.limit_s was reached, or a fold's process failed
    experiment: str
    hash: str
    folder: str
    changes: dict[str, Any]
    resumed: bool
    seconds: float
    oof_score: float | None
    incomplete: str  # which folds could not be trained, and why; the score is that of the others
    bundle: str


def train(
    experiment_name: str,
    data: Path,
    *,
    folds: str = "",
    set_values: Sequence[str] = (),
    pretrained: Sequence[Path] = (),
    pseudo_labels: Path | None = None,
    out: Path = RUNS,
    quiet: bool = False,
) -> TrainingReport:
    """Train an experiment on this machine and make the bundle.

    Raises:
        UsageError: an unknown experiment, field or value; a folder that is missing.
        CheckFailed: the kernel failed.
    """
    from build.run.curves import draw_curves, draw_scatter
    from build.weights.bundle import make_bundle

    started = time.perf_counter()
    base = find_experiment(experiment_name)
    changes = parse_changes(set_values) | parse_folds(folds)
    if pseudo_labels is not None:
        slug = dataset_slug(pseudo_labels)
        changes |= {"data.pseudo.dataset": slug} if base.data.pseudo else {"data.pseudo": {"dataset": slug}}
    experiment = apply_changes(base, changes)
    folders = [*pretrained, *([pseudo_labels] if pseudo_labels is not None else [])]
    datasets = match_datasets(needed_by(experiment), folders, "PRETRAINED=" if not quiet else "--pretrained ")
    check_competition(data)
    parameters: dict[str, object] = {"EXPERIMENT": experiment_name, "CHANGES": changes}
    run = LocalRun(
        kernel="train",
        experiment=experiment_name,
        parameters=parameters,
        data=data,
        datasets=datasets,
        out=out,
        quiet=quiet,
    )
    folder = run.folder
    with only_one(folder):
        resumed = any(folder.rglob("*.safetensors"))
        _say(quiet, f"{'going on with' if resumed else 'training'} {experiment_name} {changes or ''} in {folder}")
        if not (folder / CONFIG_FILE).is_file():
            forget_caches(run.cache)
            # Kaggle's session limit does not concern this machine, unless it is asked for.
            values = {**parameters, "CHANGES": {"machine.limit_s": 0.0, **changes}, "SOURCE_SHA256": run.sources}
            run_kernel(run, values, links={"run": folder}, checkpoints=folder / CHECKPOINTS)
        finished = (folder / CONFIG_FILE).is_file()
        report: dict[str, Any] = {"oof_score": None, "incomplete": "", "bundle": ""}
        if finished:
            shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
            _say(quiet, "drawing the curves, making the bundle and measuring what half precision costs")
            config = json.loads((folder / CONFIG_FILE).read_bytes())
            draw_curves(folder, folder / CURVES_FILE)
            draw_scatter(folder, data, folder / SCATTER_FILE)
            if not (folder / BUNDLE).is_dir():
                make_bundle(folder, folder / BUNDLE, slug=bundle_slug(base.name), data=data)
            incomplete = missing_folds_text(config)
            report = {"oof_score": config["oof"]["score"], "incomplete": incomplete, "bundle": str(folder / BUNDLE)}
        result = TrainingReport(
            ok=True,
            finished=finished,
            experiment=experiment_name,
            hash=run.hash,
            folder=str(folder),
            changes=changes,
            resumed=resumed,
            seconds=round(time.perf_counter() - started, 1),
            **report,
        )
        write_json(folder / "training_report.json", asdict(result))
    return result


def check_competition(data: Path, table: str = "") -> None:
    """Refuse a folder that is not there, before anything is hashed.

    Raises:
        UsageError: it is not the competition's.
    """
    table = table or facts().train_csv
    if not (data / table).is_file():
        raise UsageError(f"{data}: no {table}: DATA= is the competition's folder, unpacked")


def last_words(report: TrainingReport, data: Path) -> str:
    """Say where everything is and what comes next."""
    if not report.finished:
        why = f"the session's limit was reached, or see {LOG_FILE}"
        return f"not finished ({why}): {report.folder}; the same command goes on"
    incomplete = f"{report.incomplete}\n" if report.incomplete else ""
    return (
        f"{incomplete}{report.folder}: weights, log, {CURVES_FILE}, oof.csv; {report.seconds:.0f} s\n"
        f"out-of-fold {rules().metric.name} {report.oof_score:.4f}; bundle {report.bundle} → "
        f"make infer EXPERIMENT={report.experiment} DATA={shlex.quote(str(data))} "
        f"WEIGHTS={shlex.quote(str(report.bundle))}"
    )


def forget_caches(folder: Path, limit_gb: float = CACHE_GB) -> None:
    """Delete the oldest decoded photographs and depth maps until the folder is below the limit."""
    files = sorted(folder.glob("*.npy"), key=lambda path: path.stat().st_mtime, reverse=True)
    total = 0
    for path in files:
        total += path.stat().st_size
        if total > limit_gb * 1e9:
            path.unlink()


def _say(quiet: bool, line: str) -> None:
    print(line, file=sys.stderr if quiet else sys.stdout, flush=True)
