"""## The training run

All folds of one experiment: train, predict every image by the fold that has not seen it, score. What is left is a
folder from which the kit makes the bundle: weights, `config.json`, out-of-fold predictions, the log.
"""

import csv
import platform
from collections.abc import Collection, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kernel_src.competition.splits import split_sha256
from kernel_src.competitions.held_answers import answers
from kernel_src.competitions.held_facts import facts
from kernel_src.competitions.held_rules import rules
from kernel_src.data.dataset import DecodedPhotographs, decoded_photographs
from kernel_src.data.trained_views import views
from kernel_src.models.full_pass import predict_values
from kernel_src.models.model import load_fold
from kernel_src.models.starting_weights import framing_of, preprocessing_of
from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.predictor import require_suited
from kernel_src.runtime.device import DeviceReport
from kernel_src.runtime.files import BUNDLE_FORMAT, CONFIG_FILE, write_json, write_text
from kernel_src.runtime.parts import optional_part
from kernel_src.runtime.provenance import sources_of
from kernel_src.training.fold_files import FoldFiles, csv_text, ended_in_fp32
from kernel_src.training.gradient_steps import TrainingDiverged
from kernel_src.training.resumption import check_fingerprint, checkpoint_folder, run_fingerprint
from kernel_src.training.session import ENDLESS, Session, SessionEnded
from kernel_src.training.training import OnEpoch, train_fold
from kernel_src.training.training_data import folds_to_train, judged_folds, training_pictures, training_table

OOF_FILE, LOG_FILE = "oof.csv", "log.csv"
VERSIONED = ("torch", "timm", "albumentations", "numpy", "safetensors")
SCORE_FORMULA = "the competition's metric over all rows, as a submission would be scored"


def folds_left(experiment: Experiment, train: pd.DataFrame, folder: Path) -> tuple[int, ...]:
    """Return the folds that are neither trained nor given up yet, in their order."""
    wanted = folds_to_train(experiment, judged_folds(experiment, train))
    files = {fold: FoldFiles(folder, fold) for fold in wanted}
    return tuple(fold for fold in wanted if not (files[fold].weights.exists() or files[fold].given_up.exists()))


def missing_folds(experiment: Experiment, train: pd.DataFrame, folder: Path) -> dict[int, str]:
    """Return the folds that this recipe cannot train, and why."""
    wanted = folds_to_train(experiment, judged_folds(experiment, train))
    given_up = {
        fold: FoldFiles(folder, fold).given_up for fold in wanted if not FoldFiles(folder, fold).weights.exists()
    }
    return {fold: path.read_text(encoding="utf-8").strip() for fold, path in given_up.items() if path.exists()}


def train_run(
    experiment: Experiment,
    train: pd.DataFrame,
    competition: Path,
    *,
    device: DeviceReport,
    starting_weights: Path | None,
    folder: Path,
    cache: Path,
    scratch: Path | None = None,
    folds: Sequence[int] | None = None,
    depth_folder: Path | None = None,
    external_folder: Path | None = None,
    pseudo_labels: pd.DataFrame | None = None,
    session: Session = ENDLESS,
    on_epoch: OnEpoch | None = None,
) -> None:
    """Train folds of an experiment into `folder`, all that are left unless given; a run can be resumed at any time.

    `train` is the wide table of `read_train`, `competition` the folder its image paths are relative to. When the
    session's time is up the training saves, says so and returns; `folds_left` then names what is not finished. A fold
    whose loss does not stay finite is given up, with the reason in a file, and the others are trained. Checkpoints lie
    in `scratch`, or else in `folder`.

    Raises:
        ValueError: `folder` holds a run of another experiment or of other data, or extra data is missing or unfit.
        ExperimentError: the competition does not allow the experiment.
        torch.OutOfMemoryError: not even one photograph fits.
    """
    require_suited(experiment, facts())
    folder.mkdir(parents=True, exist_ok=True)
    table = training_table(experiment, train, external_folder, pseudo_labels)
    weights = [starting_weights, None]
    if experiment.depth and depth_folder is not None:
        weights[1] = optional_part("depth").depth_weights_in(depth_folder)
    check_fingerprint(run_fingerprint(experiment, table.rows, table.fold_of, table.pseudo_labels, weights), folder)
    photographs, depth_maps = training_pictures(
        experiment, table.rows, competition, depth_folder=depth_folder, cache=cache, device=device
    )
    checkpoints = checkpoint_folder(scratch, folder) if scratch is not None else folder
    wanted = folds_to_train(experiment, judged_folds(experiment, train))
    for fold in wanted if folds is None else folds:
        files = FoldFiles(folder, fold, checkpoints)
        if files.weights.exists():
            files.clear()
            print(f"fold {fold}: trained before, kept")
            continue
        try:
            train_fold(
                experiment,
                fold,
                table.fold_data(experiment, fold, photographs, depth_maps),
                device=device,
                starting_weights=starting_weights,
                folder=folder,
                scratch=checkpoints,
                session=session,
                on_epoch=on_epoch,
            )
        except TrainingDiverged as error:
            print(f"fold {fold} is given up: {error}")
            write_text(files.given_up, f"{error}\n")  # every process writes the same
            files.checkpoint.unlink(missing_ok=True)
            files.handed_over.unlink(missing_ok=True)
        except SessionEnded as end:
            print(f"{end}, because the session's {session.limit_s:.0f} s are nearly over; everything is saved")
            return


def collect_log(folder: Path) -> None:
    """Gather the logs of the folds in one table, by fold and epoch."""
    parts = sorted(folder.glob("log?*.csv"), key=lambda path: int(path.stem.removeprefix("log")))
    rows: list[dict[str, Any]] = []
    for part in parts:
        with part.open(newline="", encoding="utf-8") as handle:
            rows += csv.DictReader(handle)
    if rows:
        write_text(folder / LOG_FILE, csv_text(rows))


# %%
def predict_out_of_fold(
    experiment: Experiment,
    train: pd.DataFrame,
    competition: Path,
    weights: Path,
    cache: Path,
    device: DeviceReport,
    depth_folder: Path | None = None,
    missing: Collection[int] = (),
) -> pd.DataFrame:
    """Predict each image by the fold that was not trained on it, as inference would, before the constraint.

    A fold whose training ended in fp32, because fp16 was too small for it, is also predicted in fp32.

    Returns `image_id`, `fold` and the targets, for the images of the trained folds but those `missing`.
    """
    paths = [competition / path for path in train["image_path"]]
    photographs = decoded_photographs(paths, framing_of(experiment), cache, [True] * len(paths))
    fold_of = judged_folds(experiment, train)
    estimator = None
    if experiment.depth and depth_folder is not None:
        estimator = optional_part("depth").load_depth_from(depth_folder)
    parts = []
    for fold in folds_to_train(experiment, fold_of):
        if fold in missing:
            continue
        rows = np.flatnonzero(fold_of == fold)
        files = FoldFiles(weights, fold)
        model = load_fold(experiment, files.weights)
        predicted = predict_values(
            [model],
            DecodedPhotographs(photographs, rows),
            preprocessing=preprocessing_of(experiment.encoder.timm),
            symmetries=views(experiment),
            device=replace(device, half=device.half and not ended_in_fp32(files.log)),
            batch_size=experiment.batch.size,
            estimator=estimator,
            depth_channels=experiment.depth_channels,
            depth_views=experiment.depth_views,
            inputs=rules().input_array(train)[rows] if experiment.inputs else None,
        )[0]
        part = pd.DataFrame(predicted, columns=list(facts().targets))
        part.insert(0, "fold", fold)
        part.insert(0, "image_id", train["image_id"].to_numpy()[rows])
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def out_of_fold_score(experiment: Experiment, train: pd.DataFrame, oof: pd.DataFrame) -> float:
    """Score out-of-fold predictions as a submission would be: constrained, official metric, all rows together."""
    truth = rules().target_array(train.set_index("image_id").loc[oof["image_id"]])
    return rules().score(truth, answers().finished(rules().target_array(oof), experiment.predict.constraint))


def finish_run(
    experiment: Experiment,
    train: pd.DataFrame,
    oof: pd.DataFrame,
    folder: Path,
    depth_folder: Path | None = None,
    device: DeviceReport | None = None,
) -> dict[str, Any]:
    """Write `oof.csv`, `log.csv`, the depth model and `config.json`, from which the bundle is made; return the config.

    `train` holds the competition's rows alone: no mean and no score here is taken over others. `device` is what
    the training ended on.
    """
    collect_log(folder)
    write_text(folder / OOF_FILE, oof.to_csv(index=False, float_format="%.6f", lineterminator="\n"))
    files = sorted(folder.glob("fold*.safetensors"), key=lambda path: int(path.stem.removeprefix("fold")))
    means = rules().target_array(train).mean(0, keepdims=True)
    config = {
        "format": BUNDLE_FORMAT,
        "experiment": experiment.as_json(),
        "source_sha256": sources_of(folder),
        "preprocessing": preprocessing_of(experiment.encoder.timm).as_json(),
        "views": [list(view) for view in views(experiment)],
        "folds": [path.name for path in files],
        # Projected: a wrong label must not break the sums of what is submitted for want of a prediction.
        "target_mean": dict(zip(facts().targets, answers().finished(means, "projection")[0].tolist(), strict=True)),
        "competition": facts().competition,
        "split_sha256": split_sha256(train["image_id"].tolist(), judged_folds(experiment, train)),
        "oof": {
            "score": out_of_fold_score(experiment, train, oof),
            "metric": rules().metric.name,
            "images": len(oof),
            "formula": SCORE_FORMULA,
        },
        "versions": {"python": platform.python_version(), **{name: version(name) for name in VERSIONED}},
    }
    if given_up := missing_folds(experiment, train, folder):
        config["missing_folds"] = {str(fold): why for fold, why in given_up.items()}
    if device is not None:
        config["device"] = device.as_json()
    if experiment.depth and depth_folder is not None:
        config["depth"] = optional_part("depth").keep_depth_model(depth_folder, folder)
    write_json(folder / CONFIG_FILE, config)
    return config
