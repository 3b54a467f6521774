"""The verbs `features` and `regress`: from photographs to a report, out-of-fold predictions and a regressor.

With an experiment's name it leaves a folder like a training's run: `python -m build bundle` makes the bundle of it.
"""

import shlex
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from build.core.errors import UsageError
from build.core.options import AsJson
from build.core.printing import print_json

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from build.search.regress.report import RegressionResult

# typer wants an Enum where an option is repeated.
Pooling = StrEnum("Pooling", ["own", "cls", "mean", "max", "min", "gem", "signed_gem"])
Part = StrEnum("Part", ["whole", "left", "right", "top", "bottom"])
SEED = 42
REGRESSORS = Path("out/regressors")
REGRESSOR_FILE = "regressor.safetensors"


def features_verb(
    experiment: Annotated[str, typer.Option(help="Whose backbone, size and normalisation; any experiment's.")],
    out: Annotated[Path, typer.Option(help="The .npz to write: image_id, features, and what made them.")],
    train_csv: Annotated[Path | None, typer.Option(help="train.csv; its photographs lie beside it.")] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of photographs; without train.csv, all in it.")] = None,
    pretrained: Annotated[list[Path] | None, typer.Option(help="Folder of the backbone's weights dataset.")] = None,
    height: Annotated[list[int] | None, typer.Option(help="A scale: the pictures' height in px; repeat.")] = None,
    part: Annotated[list[Part] | None, typer.Option(help="Of the photograph, a picture of its own; repeat.")] = None,
    layer: Annotated[list[int] | None, typer.Option(help="Counted from the last, which is 1; repeat.")] = None,
    pooling: Annotated[list[Pooling] | None, typer.Option(help="Of each layer; own: the backbone's; repeat.")] = None,
    set_values: Annotated[list[str] | None, typer.Option("--set", help="path=value …, e.g. encoder.timm=…")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Photographs at once.")] = 8,
    as_json: AsJson = False,
) -> None:
    """Make frozen features of photographs, for `regress`.

    Once through the backbone for each part and scale.

    Example: python -m build features --experiment demo --train-csv out/demo/competition/train.csv --part left
    --part right --pooling mean --pretrained out/demo/pretrained --out out/features/demo.npz
    """
    import timm

    from build.core.settings import find_recipe, parse_changes
    from build.run.datasets import match_datasets
    from build.search.regress.extraction import frozen_recipe, make_features, photographs_of
    from kernel_src.runtime.weight_sources import WEIGHTS_FILE

    if out.suffix != ".npz":
        raise UsageError(f"--out {out}: features are an .npz")
    base = find_recipe(experiment, "to take features from")
    chosen = {
        "pictures.scales": [px / base.pictures.height_px for px in height or ()],
        "pictures.parts": [str(one) for one in part or ()],
        "encoder.layers": layer,
        "head.pool": [str(one) for one in pooling or ()],
    }
    changes = parse_changes(set_values or []) | {path: values for path, values in chosen.items() if values}
    recipe = frozen_recipe(base, changes)
    if not timm.is_model(recipe.encoder.timm):
        raise UsageError(f"timm has no backbone {recipe.encoder.timm!r}")
    photographs = photographs_of(train_csv, images)
    needed = {recipe.encoder.weights: f"pretrained weights of {recipe.encoder.timm}"}
    folder = match_datasets(needed, pretrained or [], "--pretrained ")[recipe.encoder.weights]
    if not (folder / WEIGHTS_FILE).is_file():
        raise UsageError(f"{folder} holds no {WEIGHTS_FILE}: `python -m build weights` makes such a folder")
    made = make_features(recipe, photographs, folder / WEIGHTS_FILE, out, batch_size=batch_size, quiet=as_json)
    if as_json:
        print_json({"ok": True, "out": str(out), **made})
        return
    following = f"python -m build regress --features {shlex.quote(str(out))} --train-csv … --report …"
    if base.is_frozen:  # a regressor is kept for an experiment that is never fine-tuned, for no other
        following += f" --experiment {shlex.quote(recipe.name)}"
    print(
        f"{out}: {made['features']} features of {made['images']} photographs, {recipe.encoder.timm}, {made['device']}\n"
        f"  {'; '.join(made['blocks'])}\n"
        f"next: {following}"
    )


def regress_verb(
    features: Annotated[list[Path], typer.Option(help="An .npz of image_id and features; repeat to join several.")],
    train_csv: Annotated[Path, typer.Option(help="The competition's train.csv.")],
    report_file: Annotated[
        Path, typer.Option("--report", help="The JSON to write; predictions go beside it, as .oof.csv.")
    ],
    experiment: Annotated[
        str, typer.Option(help="Keep the regressor in out/regressors/NAME/, from which `bundle` makes a bundle.")
    ] = "",
    seed: Annotated[int, typer.Option(help="Of the draws, the forest and the networks.")] = SEED,
    jobs: Annotated[int, typer.Option(min=1, help="Processes; the result does not depend on it.")] = 2,
    as_json: AsJson = False,
) -> None:
    """Fit regressors on frozen features, in nested folds.

    Everything is chosen inside them; writes scores and their interval.

    Example: python -m build regress --features out/features/demo.npz --train-csv out/demo/competition/train.csv
    --report out/regress.json
    """
    report = regress(features, train_csv, report_file, experiment, seed=seed, jobs=jobs, quiet=as_json)
    if as_json:
        print_json(report)
        return
    interval, floors, name = report["interval"], report["floors"], report["metric"]
    print(
        f"leave-group-out {name} {report['leave_group_out']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}], "
        f"floor {list(floors.values())[-1]:.3f}\n"
        f"GroupKFold(5)   {name} {report['group_kfold5']:.3f}\n"
        f"random KFold(5) {name} {report['random_kfold5']:.3f}  (neighbours of each photograph were seen: optimistic)\n"
        f"{len(report['chosen'])} members, {report['seconds']:.0f} s → {report_file}, {report['oof']}"
    )
    if "regressor" in report:
        print(f"next: python -m build bundle {shlex.quote(str(Path(report['regressor']).parent))}")


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
    from kernel_src.competitions.held_facts import facts
    from kernel_src.competitions.held_rules import rules
    from kernel_src.runtime.files import write_json, write_text

    if not features:
        raise UsageError("regress needs at least one --features FILE.npz")
    if facts().are_classes:
        raise UsageError(f"regress fits numbers, and {facts().competition} has classes: train a network instead")
    made_by = provenance_for(features, experiment) if experiment else {}
    try:
        train = rules().read_train(train_csv)
    except (FileNotFoundError, ValueError) as error:
        raise UsageError(str(error)) from None
    drop = made_by["experiment"]["data"]["drop"] if experiment else ()
    for line in () if quiet else rules().drop_lines(drop, train):
        print(line)
    trains, groups = ~rules().dropped_rows(drop, train), rules().group_labels(train)
    if (count := len(set(groups[trains]))) <= FOLDS:
        raise UsageError(f"{train_csv} has {count} {rules().group_name}s; nested folds need {FOLDS + 1}")
    table, truth = features_for(features, list(train["image_id"])), rules().target_array(train)
    with counting("outer folds", quiet) as advance:
        outcome = evaluate(table, truth, groups, seed=seed, jobs=jobs, trains=trains, advance=advance)
    report_file.parent.mkdir(parents=True, exist_ok=True)
    oof_file = report_file.with_suffix(".oof.csv")
    oof = pd.DataFrame(outcome.oof, columns=list(facts().targets))
    oof.insert(0, "image_id", train["image_id"].to_numpy())
    write_text(oof_file, oof.to_csv(index=False, float_format="%.6f", lineterminator="\n"))
    report = outcome.report | {"files": [str(path) for path in features], "oof": str(oof_file)}
    if experiment:
        folder = REGRESSORS / experiment
        report["regressor"] = str(folder / REGRESSOR_FILE)
        oof.insert(1, "fold", outcome.folds)
        _keep_run(folder, outcome, report, made_by, oof, truth)
    write_json(report_file, report)
    return report


def _keep_run(
    folder: Path,
    outcome: "RegressionResult",
    report: dict[str, Any],
    made_by: dict[str, Any],
    oof: "pd.DataFrame",
    values: "np.ndarray",
) -> None:
    """Write what a training leaves: config.json last, so that a folder without it is not a finished run."""
    import platform
    from importlib.metadata import version

    from build.notebooks.builder import ROOT
    from build.run.session import files_sha256
    from build.weights.bundle import REGRESS_REPORT
    from kernel_src.competitions.held_answers import answers
    from kernel_src.competitions.held_facts import facts
    from kernel_src.competitions.held_reviews import review
    from kernel_src.competitions.held_rules import rules
    from kernel_src.data.symmetries import UPRIGHT
    from kernel_src.models.regressor import save_regressor
    from kernel_src.runtime.files import BUNDLE_FORMAT, CONFIG_FILE, write_json, write_text
    from kernel_src.training.runs import OOF_FILE

    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_FILE).unlink(missing_ok=True)
    save_regressor(outcome.regressor, folder / REGRESSOR_FILE)
    write_json(folder / REGRESS_REPORT, report)
    write_text(folder / OOF_FILE, oof.to_csv(index=False, float_format="%.6f", lineterminator="\n"))
    sources = [path for place in ("build/search/regress", "kernel_src") for path in (ROOT / place).rglob("*.py")]
    means = answers().finished(values.mean(0, keepdims=True), review().constraint)[0]
    formula = f"{rules().metric.name} over all rows, as submitted; each {rules().group_name} left out in turn"
    config = {
        "format": BUNDLE_FORMAT,
        "experiment": made_by["experiment"],
        "source_sha256": files_sha256(sources, ROOT),
        "preprocessing": made_by["preprocessing"],
        "views": [list(UPRIGHT)],  # as it was fitted and scored
        "folds": [REGRESSOR_FILE],
        "backbone": made_by["weights"],
        "features": {
            name: made_by[name]
            for name in ("blocks", "features", "device", "precision", "versions", "source_sha256")
            if name in made_by
        },
        "target_mean": dict(zip(facts().targets, means.tolist(), strict=True)),
        "competition": facts().competition,
        "oof": {
            "score": report["leave_group_out"],
            "metric": rules().metric.name,
            "images": len(oof),
            "formula": formula,
        },
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("scikit-learn", "numpy", "torch", "safetensors")},
        },
    }
    write_json(folder / CONFIG_FILE, config)
