"""The numbers of the demo: out-of-fold and hidden scores, the floors, and what colour alone would score."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from build.scores.intervals import group_sums, score_intervals
from kernel_src.competition.splits import fold_numbers
from kernel_src.competitions.biomass.constants import ID_COLUMN, SUBMISSION_FILE, TARGET_COLUMN, TRAIN_CSV
from kernel_src.competitions.biomass.constraints import constrain
from kernel_src.competitions.biomass.floors import group_out_floor, mean_floor
from kernel_src.competitions.biomass.long_tables import long_to_wide
from kernel_src.competitions.biomass.metric import r2_per_target, weighted_r2
from kernel_src.competitions.biomass.tables import group_labels, read_train, target_array
from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.competitions.held_rules import weight_row
from kernel_src.recipes.training_data import GroupSplit


def read_submission(path: Path, image_ids: list[str]) -> np.ndarray:
    """Return a submission as grams (images, 5) in the order of `image_ids`."""
    table = pd.read_csv(path)
    return long_to_wide(dict(zip(table[ID_COLUMN], table[TARGET_COLUMN], strict=True)), image_ids)


def interval(truth: np.ndarray, predicted: np.ndarray, groups: np.ndarray) -> list[float]:
    """Return the kit's own 95 % interval of the official score over whole groups; (images, 5), (images,)."""
    (found,) = score_intervals(group_sums(truth, predicted[None], groups, weight_row()))
    return [found.low, found.high]


def score_demo(demo: Path) -> dict[str, Any]:
    """Score what a finished demo left in its folder."""
    from build.demo.colour import colour_baseline

    experiment = EXPERIMENTS["demo"]
    split = experiment.data.split
    assert isinstance(split, GroupSplit)
    train = read_train(demo / "competition" / TRAIN_CSV)
    grams, groups = target_array(train), group_labels(train)
    folds = fold_numbers(split.rule, groups, grams.sum(1), split.folds, split.seed)
    oof = pd.read_csv(demo / "bundle" / "oof.csv").set_index("image_id").loc[train["image_id"]]
    oof_grams = constrain(target_array(oof), experiment.predict.constraint)

    hidden = read_train(demo / "hidden" / "labels.csv")
    hidden_grams = target_array(hidden)
    predicted = read_submission(demo / "rehearsal" / "working" / SUBMISSION_FILE, hidden["image_id"].tolist())
    colour = colour_baseline([demo / "competition" / path for path in train["image_path"]], grams, folds)
    return {
        "oof_score": weighted_r2(grams, oof_grams),
        "oof_score_interval": interval(grams, oof_grams, groups),
        "oof_score_per_target": r2_per_target(grams, oof_grams),
        "hidden_score": weighted_r2(hidden_grams, predicted),
        "hidden_score_interval": interval(hidden_grams, predicted, group_labels(hidden)),
        "floor_mean_r2": mean_floor(grams),
        "floor_group_r2": group_out_floor(grams, groups),
        "colour_baseline_r2": weighted_r2(grams, colour),
        "images": {"train": len(train), "hidden": len(hidden)},
        "folds": int(folds.max()) + 1,
    }
