"""Where on this machine the pieces of an experiment lie: its run, bundle, rehearsals and tables.

Several runs of one experiment are common; the newest finished one is meant unless another is named. A bundle or a
rehearsal that belongs to another run is not passed off as this one's.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from build.core.choosing import demo_folder
from build.core.errors import CheckFailed, Problem, UsageError
from build.kaggle.outputs import OUTPUTS, RUN_FOLDER
from build.kaggle.receipts import DEMO_REHEARSAL, RECEIPTS, REHEARSALS
from build.kaggle.weights import BUNDLES, DEMO, DEMO_BUNDLE
from build.notebooks.metadata import kernel_slug
from build.run.rehearse.report import REPORT_FILE
from build.scores.cross_validation import OOF_FILE, train_tables
from kernel_src.competitions.held_facts import facts
from kernel_src.competitions.held_recipes import ENSEMBLES, EXPERIMENTS
from kernel_src.runtime.files import CONFIG_FILE, sha256_of
from kernel_src.runtime.manifest import MANIFEST_FILE

RUNS = Path("out", "runs")  # <experiment>/<hash>/, by `make train`
WORKING_RUN = Path("working", RUN_FOLDER)  # in the folder of a rehearsal
OWN_BUNDLE = "bundle"  # in the folder of a run by `make train`
DAMAGED = "move it away, or make it again"


def find_run(experiment: str, named: Path | None = None) -> Path:
    """Return the run to report on: the one named, or the newest finished one of the experiment, or its bundle alone.

    Raises:
        UsageError: there is none, or what is named is none, or one of another experiment.
    """
    if experiment in ENSEMBLES:
        members = ", ".join(ENSEMBLES[experiment].shares)
        raise UsageError(f"{experiment} is an ensemble and was never trained: report on its members {members}")
    if named is not None:
        found = experiment_of(named)
        if found is None:
            raise UsageError(f"{named} holds no finished training run (no {CONFIG_FILE}): name its run/ folder")
        if found != experiment:
            raise UsageError(f"{named} is a run of {found}, not of {experiment}")
        return named
    for candidates in (_runs(experiment), _bundles(experiment)):
        finished = [folder for folder in candidates if experiment_of(folder) == experiment]
        if finished:
            return max(finished, key=lambda folder: (folder / CONFIG_FILE).stat().st_mtime)
    if experiment not in EXPERIMENTS:
        raise UsageError(f"no experiment {experiment!r}; there are {', '.join([*EXPERIMENTS, *ENSEMBLES])}")
    demo = "`make demo`, or " if experiment == DEMO else ""
    raise UsageError(
        f"nothing of {experiment} is trained on this machine: {demo}`make train EXPERIMENT={experiment} DATA=…`, or "
        f"`make push-training EXPERIMENT={experiment}`, or name a run/ folder with --run"
    )


def _runs(experiment: str) -> Iterable[Path]:
    slug = kernel_slug(experiment, "train")
    yield from (RUNS / experiment).glob("*/")
    yield REHEARSALS / slug / WORKING_RUN
    yield from (OUTPUTS / slug).glob(f"v*/{RUN_FOLDER}")
    yield from (run / WORKING_RUN for run in demo_folder().glob("rehearsal-train*/"))


def _bundles(experiment: str) -> Iterable[Path]:
    yield BUNDLES / experiment
    yield demo_folder() / DEMO_BUNDLE.name
    yield demo_folder() / "bundles" / experiment


def experiment_of(folder: Path) -> str | None:
    """Return the experiment whose config lies in a folder; None where there is no readable one."""
    config = read_json(folder / CONFIG_FILE)
    experiment = config.get("experiment")
    return str(experiment["name"]) if isinstance(experiment, dict) and "name" in experiment else None


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; a file that is missing is an empty one.

    Raises:
        CheckFailed: the file is there and holds no JSON object.
    """
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except ValueError as error:
        raise CheckFailed([Problem(what=f"holds no JSON: {error}", where=str(path), cure=DAMAGED)]) from None
    if not isinstance(value, dict):
        raise CheckFailed([Problem(what="holds JSON, but no object", where=str(path), cure=DAMAGED)])
    return value


# %%
def find_bundle(experiment: str, run: Path) -> Path | None:
    """Return the bundle that was made of this run: its out-of-fold predictions are the run's, byte for byte."""
    if (run / MANIFEST_FILE).is_file():
        return run
    if not (run / OOF_FILE).is_file():
        return None
    wanted = sha256_of(run / OOF_FILE)
    candidates = [run / OWN_BUNDLE, *_bundles(experiment)]
    return next((one for one in candidates if _oof_sha256(one) == wanted and (one / MANIFEST_FILE).is_file()), None)


def _oof_sha256(folder: Path) -> str:
    return sha256_of(folder / OOF_FILE) if (folder / OOF_FILE).is_file() else ""


def find_rehearsal(experiment: str, bundle: Path | None) -> tuple[Path, dict[str, Any], bool] | None:
    """Return the newest report of an inference rehearsal, and whether it ran on this very bundle.

    One on this bundle comes first however old it is.
    """
    slug = kernel_slug(experiment, "infer")
    demo = demo_folder() / DEMO_REHEARSAL.name
    paths = [*RECEIPTS.glob("*.json"), REHEARSALS / slug / REPORT_FILE, demo / REPORT_FILE]
    manifest = sha256_of(bundle / MANIFEST_FILE) if bundle is not None else ""
    found = []
    for path in paths:
        report = read_json(path)
        if Path(str(report.get("notebook", ""))).stem == slug:
            ours = manifest in dict(report.get("manifests") or {}).values()
            found.append((ours, path.stat().st_mtime, path, report))
    if not found:
        return None
    ours, _, path, report = max(found, key=lambda one: one[:2])
    return path, report, ours


def find_training_report(run: Path) -> dict[str, Any]:
    """Return what is known of the training: the report of `make train`, or of its rehearsal; empty if neither."""
    local = read_json(run / "training_report.json")
    return local or read_json(run.parent.parent / REPORT_FILE)


def data_tables(data: Path | None) -> Sequence[Path]:
    """Return the training tables to look in: the one in the folder named, or those where ours usually lie.

    Raises:
        UsageError: the folder named has none.
    """
    if data is None:
        return train_tables()
    table = data / facts().train_csv
    if not table.is_file():
        raise UsageError(f"{data}: no {facts().train_csv}: --data is the competition's folder, unpacked")
    return (table,)
