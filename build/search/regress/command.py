"""`python -m build regress`: from features and weights to a report, out-of-fold predictions and a regressor.

With an experiment's name it leaves a folder like a training's run: `python -m build bundle` makes the bundle of it.
"""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from build.core.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from build.search.regress.report import RegressionResult

SEED = 42
REGRESSORS = Path("out/regressors")
REGRESSOR_FILE = "regressor.safetensors"
FORMULA = "official weighted R2 over all rows, in grams, after the projection; each State+date group left out in turn"


def regress(
    features: Sequence[Path],
    train_csv: Path,
    report_file: Path,
    experiment: str = "",
    *,
    seed: int = SEED,
    jobs: int = 2,
    quiet: bool = False,
) -> dict[str, Any]:
    """Evaluate regressors on frozen features and write the report, and beside it the leave-group-out predictions.

    With an experiment's name the regressor, fitted on all rows, goes to out/regressors/<experiment>/.

    Raises:
        UsageError: a file is missing, wrong, or holds too few groups; or no notebook could make these features.
    """
    import pandas as pd

    from build.core.progress import counting
    from build.search.regress.features import features_for, provenance_for
    from build.search.regress.report import FOLDS, evaluate
    from kernel_src.competition.constants import TARGETS
    from kernel_src.competition.tables import group_labels, read_train, target_array
    from kernel_src.runtime.files import write_json, write_text

    if not features:
        raise UsageError("regress needs at least one --features FILE.npz")
    made_by = provenance_for(features, experiment) if experiment else {}
    try:
        train = read_train(train_csv)
    except (FileNotFoundError, ValueError) as error:
        raise UsageError(str(error)) from None
    groups = group_labels(train)
    if len(set(groups)) <= FOLDS:
        raise UsageError(f"{train_csv} has {len(set(groups))} groups of State and date; nested folds need {FOLDS + 1}")
    table = features_for(features, list(train["image_id"]))
    with counting("outer folds", quiet) as advance:
        outcome = evaluate(table, target_array(train), groups, seed=seed, jobs=jobs, advance=advance)
    report_file.parent.mkdir(parents=True, exist_ok=True)
    oof_file = report_file.with_suffix(".oof.csv")
    oof = pd.DataFrame(outcome.oof, columns=list(TARGETS))
    oof.insert(0, "image_id", train["image_id"].to_numpy())
    write_text(oof_file, oof.to_csv(index=False, float_format="%.6f", lineterminator="\n"))
    report = outcome.report | {"files": [str(path) for path in features], "oof": str(oof_file)}
    if experiment:
        folder = REGRESSORS / experiment
        report["regressor"] = str(folder / REGRESSOR_FILE)
        oof.insert(1, "fold", outcome.folds)
        _keep_run(folder, outcome, report, made_by, oof, target_array(train))
    write_json(report_file, report)
    return report


def _keep_run(
    folder: Path,
    outcome: "RegressionResult",
    report: dict[str, Any],
    made_by: dict[str, Any],
    oof: "pd.DataFrame",
    grams: "np.ndarray",
) -> None:
    """Write what a training leaves: config.json last, so that a folder without it is no finished run."""
    import platform
    from importlib.metadata import version

    from build.notebooks.builder import ROOT
    from build.run.session import files_sha256
    from build.weights.bundle import REGRESS_REPORT
    from kernel_src.competition.constants import TARGETS
    from kernel_src.competition.constraints import project
    from kernel_src.models.regressor import save_regressor
    from kernel_src.runtime.files import write_json, write_text
    from kernel_src.runtime.manifest import BUNDLE_FORMAT, CONFIG_FILE
    from kernel_src.training.runs import OOF_FILE

    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_FILE).unlink(missing_ok=True)
    save_regressor(outcome.regressor, folder / REGRESSOR_FILE)
    write_json(folder / REGRESS_REPORT, report)
    write_text(folder / OOF_FILE, oof.to_csv(index=False, float_format="%.6f", lineterminator="\n"))
    sources = [path for place in ("build/search/regress", "kernel_src") for path in (ROOT / place).rglob("*.py")]
    means = project(grams.mean(0, keepdims=True))[0]
    config = {
        "format": BUNDLE_FORMAT,
        "experiment": made_by["experiment"],
        "source_sha256": files_sha256(sources, ROOT),
        "preprocessing": made_by["preprocessing"],
        "folds": [REGRESSOR_FILE],
        "backbone": made_by["weights"],
        "features": {name: made_by[name] for name in ("blocks", "features", "device", "versions")},
        "target_mean_g": dict(zip(TARGETS, means.tolist(), strict=True)),
        "oof": {"r2": report["leave_group_out_r2"], "images": len(oof), "formula": FORMULA},
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("scikit-learn", "numpy", "torch", "safetensors")},
        },
    }
    write_json(folder / CONFIG_FILE, config)


def run(as_json: bool, **arguments: Any) -> None:
    """Do it from the command line and say the scores beside their floor."""
    report = regress(quiet=as_json, **arguments)
    if as_json:
        print(json.dumps(report, indent=2))
        return
    interval, floors = report["interval"], report["floors"]
    print(
        f"leave-group-out R² {report['leave_group_out_r2']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}], "
        f"floor {floors['mean_of_other_groups']:.3f}\n"
        f"GroupKFold(5)   R² {report['group_kfold5_r2']:.3f}\n"
        f"random KFold(5) R² {report['random_kfold5_r2']:.3f}  (neighbours of each photograph were seen: optimistic)\n"
        f"{len(report['chosen'])} members, {report['seconds']:.0f} s → {arguments['report_file']}, {report['oof']}"
    )
    if "regressor" in report:
        print(f"next: python -m build bundle {shlex.quote(str(Path(report['regressor']).parent))}")
