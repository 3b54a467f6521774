"""The numbers of the demo: out-of-fold and hidden scores, the floors, and what colour alone would score."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kernel_src.common.competition import ID_COLUMN, SUBMISSION_FILE, TARGET_COLUMN, TRAIN_CSV
from kernel_src.common.constraints import constrain
from kernel_src.common.experiments import EXPERIMENTS
from kernel_src.common.floors import group_out_floor, mean_floor
from kernel_src.common.metric import r2_per_target, weighted_r2
from kernel_src.common.splits import fold_numbers
from kernel_src.common.tables import group_labels, long_to_wide, read_train, target_array

RESAMPLES = 2000


def read_submission(path: Path, image_ids: list[str]) -> np.ndarray:
    """Return a submission as grams (images, 5) in the order of `image_ids`."""
    table = pd.read_csv(path)
    return long_to_wide(dict(zip(table[ID_COLUMN], table[TARGET_COLUMN], strict=True)), image_ids)


def bootstrap_interval(truth: np.ndarray, predicted: np.ndarray, groups: np.ndarray, seed: int = 0) -> list[float]:
    """Return the 95 % percentile interval of the official score when whole groups are drawn again.

    Arrays are (images, 5) and (images,). With few groups such an interval is somewhat too narrow.
    """
    random = np.random.default_rng(seed)
    names = sorted(set(groups))
    rows_of = {name: np.flatnonzero(groups == name) for name in names}
    scores = []
    for _ in range(RESAMPLES):
        rows = np.concatenate([rows_of[name] for name in random.choice(names, len(names))])
        scores.append(weighted_r2(truth[rows], predicted[rows]))
    return [float(value) for value in np.quantile(scores, [0.025, 0.975])]


def score_demo(demo: Path) -> dict[str, Any]:
    """Score what a finished demo left in its folder."""
    from build.demo.colour import colour_baseline

    experiment = EXPERIMENTS["demo"]
    train = read_train(demo / "competition" / TRAIN_CSV)
    grams, groups = target_array(train), group_labels(train)
    folds = fold_numbers(experiment.split, groups, grams.sum(1), experiment.folds, experiment.split_seed)
    oof = pd.read_csv(demo / "bundle" / "oof.csv").set_index("image_id").loc[train["image_id"]]
    oof_grams = constrain(target_array(oof), experiment.constraint)

    hidden = read_train(demo / "hidden" / "labels.csv")
    hidden_grams = target_array(hidden)
    predicted = read_submission(demo / "rehearsal" / "working" / SUBMISSION_FILE, hidden["image_id"].tolist())
    colour = colour_baseline([demo / "competition" / path for path in train["image_path"]], grams, folds)
    return {
        "oof_r2": weighted_r2(grams, oof_grams),
        "oof_r2_interval": bootstrap_interval(grams, oof_grams, groups),
        "oof_r2_per_target": r2_per_target(grams, oof_grams),
        "hidden_r2": weighted_r2(hidden_grams, predicted),
        "hidden_r2_interval": bootstrap_interval(hidden_grams, predicted, group_labels(hidden)),
        "floor_mean_r2": mean_floor(grams),
        "floor_group_r2": group_out_floor(grams, groups),
        "colour_baseline_r2": weighted_r2(grams, colour),
        "images": {"train": len(train), "hidden": len(hidden)},
        "folds": experiment.folds,
    }
