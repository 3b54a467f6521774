"""## The training run

All folds of one experiment: deal out the groups, train, predict every image by the fold that has not seen it, score.
What is left is a folder from which the kit makes the bundle: weights, `config.json`, out-of-fold predictions, the log.
"""

import csv
import hashlib
import io
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kernel_src.common.competition import TARGETS
from kernel_src.common.constraints import constrain, project
from kernel_src.common.dataset import DecodedPhotographs
from kernel_src.common.device import DeviceReport
from kernel_src.common.experiment import Experiment
from kernel_src.common.files import write_json, write_text
from kernel_src.common.images import decoded_photographs
from kernel_src.common.manifest import BUNDLE_FORMAT, CONFIG_FILE
from kernel_src.common.metric import weighted_r2
from kernel_src.common.model import BiomassNet, load_fold
from kernel_src.common.prediction import predict_grams
from kernel_src.common.preprocessing import preprocessing_of
from kernel_src.common.splits import fold_numbers
from kernel_src.common.symmetries import views
from kernel_src.common.tables import group_labels, target_array
from kernel_src.common.training import FoldData, train_fold

OOF_FILE, LOG_FILE, FINGERPRINT_FILE = "oof.csv", "log.csv", "fingerprint.json"
VERSIONED = ("torch", "timm", "albumentations", "numpy", "safetensors")
SCORE_FORMULA = "official weighted R2 over all rows, in grams, after the constraint"


def folds_to_train(experiment: Experiment, fold_of: np.ndarray) -> tuple[int, ...]:
    """Return the numbers of the folds that this experiment trains.

    Raises:
        ValueError: `train_folds` names a fold that the split has not.
    """
    there = tuple(range(int(fold_of.max()) + 1))
    if unknown := sorted(set(experiment.train_folds) - set(there)):
        raise ValueError(f"{experiment.name}: train_folds names {unknown}, the split has folds 0 to {there[-1]}")
    return experiment.train_folds or there


def train_run(
    experiment: Experiment,
    train: pd.DataFrame,
    competition: Path,
    *,
    device: DeviceReport,
    starting_weights: Path | None,
    folder: Path,
    cache: Path,
) -> None:
    """Train every fold of an experiment into `folder`; what is already there is kept, so a run can be resumed.

    `train` is the wide table of `read_train`, `competition` the folder its image paths are relative to.

    Raises:
        ValueError: `folder` holds a run of another experiment or of other data.
        TrainingDiverged: the loss is not finite.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _check_fingerprint(experiment, train, folder)
    photographs = decoded_photographs(
        [competition / path for path in train["image_path"]], experiment.image_size_px, cache
    )
    grams, groups = target_array(train), group_labels(train)
    fold_of = fold_numbers(experiment.split, groups, grams.sum(1), experiment.folds, experiment.split_seed)
    log = _read_log(folder / LOG_FILE)
    for fold in folds_to_train(experiment, fold_of):
        if (folder / f"fold{fold}.safetensors").exists():
            print(f"fold {fold}: trained before, kept")
            continue
        rows = np.flatnonzero(fold_of != fold)
        inner = np.zeros(0, int)
        if experiment.inner_folds:
            inner_of = fold_numbers("group", groups[rows], grams[rows].sum(1), experiment.inner_folds, fold)
            rows, inner = rows[inner_of != 0], rows[inner_of == 0]
        data = FoldData(photographs=photographs, grams=grams, train_rows=rows, inner_rows=inner)
        log += train_fold(experiment, fold, data, device=device, starting_weights=starting_weights, folder=folder)
        write_text(folder / LOG_FILE, _csv_text(log))


def _check_fingerprint(experiment: Experiment, train: pd.DataFrame, folder: Path) -> None:
    """Refuse to resume a run that was begun with something else."""
    data_hash = hashlib.sha256(train.to_csv(index=False).encode()).hexdigest()
    fingerprint = hashlib.sha256(f"{experiment}{data_hash}".encode()).hexdigest()
    path = folder / FINGERPRINT_FILE
    begun = path.exists() or any(folder.glob("fold*.safetensors"))
    if begun and not (path.exists() and fingerprint in path.read_text()):
        raise ValueError(f"{folder} holds a run of another experiment or of other data: choose an empty folder")
    write_json(path, {"fingerprint": fingerprint})


def _read_log(path: Path) -> list[dict[str, Any]]:
    """Return what the sessions before this one have logged."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def _csv_text(rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


# %%
def predict_out_of_fold(
    experiment: Experiment, train: pd.DataFrame, competition: Path, weights: Path, cache: Path, device: DeviceReport
) -> pd.DataFrame:
    """Predict each image by the fold that was not trained on it, as inference would, before the constraint.

    Returns `image_id`, `fold` and the five targets in grams, for the images of the trained folds.
    """
    photographs = decoded_photographs(
        [competition / path for path in train["image_path"]], experiment.image_size_px, cache
    )
    grams = target_array(train)
    fold_of = fold_numbers(experiment.split, group_labels(train), grams.sum(1), experiment.folds, experiment.split_seed)
    parts = []
    for fold in folds_to_train(experiment, fold_of):
        rows = np.flatnonzero(fold_of == fold)
        model = load_fold(experiment, weights / f"fold{fold}.safetensors")
        predicted = predict_grams(
            [model],
            DecodedPhotographs(photographs, rows),
            preprocessing=preprocessing_of(model.backbone),
            symmetries=views(experiment.tta, experiment.image_size_px),
            device=device,
            batch_size=experiment.batch_size,
        )[0]
        part = pd.DataFrame(predicted, columns=list(TARGETS))
        part.insert(0, "fold", fold)
        part.insert(0, "image_id", train["image_id"].to_numpy()[rows])
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def out_of_fold_r2(experiment: Experiment, train: pd.DataFrame, oof: pd.DataFrame) -> float:
    """Score out-of-fold predictions as a submission would be: constrained, official metric, all rows together."""
    truth = train.set_index("image_id").loc[oof["image_id"], list(TARGETS)].to_numpy(float)
    return weighted_r2(truth, constrain(oof[list(TARGETS)].to_numpy(float), experiment.constraint))


def finish_run(experiment: Experiment, train: pd.DataFrame, oof: pd.DataFrame, folder: Path) -> dict[str, Any]:
    """Write `oof.csv` and `config.json`, from which the bundle is made, and return the config."""
    write_text(folder / OOF_FILE, oof.to_csv(index=False, float_format="%.6f", lineterminator="\n"))
    files = sorted(folder.glob("fold*.safetensors"), key=lambda path: int(path.stem.removeprefix("fold")))
    # The model is built once more because timm, not this notebook, knows the backbone's mean and deviation.
    preprocessing = preprocessing_of(BiomassNet(experiment).backbone)
    means = target_array(train).mean(0, keepdims=True)  # projected: a wrong label must not break the fallback's sums
    config = {
        "format": BUNDLE_FORMAT,
        "experiment": experiment.as_json(),
        "preprocessing": {"mean": list(preprocessing.mean), "std": list(preprocessing.std)},
        "folds": [path.name for path in files],
        "target_mean_g": dict(zip(TARGETS, project(means)[0].tolist(), strict=True)),
        "oof": {"r2": out_of_fold_r2(experiment, train, oof), "images": len(oof), "formula": SCORE_FORMULA},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in VERSIONED}},
    }
    write_json(folder / CONFIG_FILE, config)
    return config
