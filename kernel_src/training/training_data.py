"""## What a run trains on

The competition's rows, which are divided into folds and judged; other people's photographs and pseudo-labels, which
only ever teach. Photographs are decoded and depth is estimated once for all folds, epochs and processes.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import kernel_src.competitions.held_external  # noqa: F401  # part: external
import kernel_src.data.pseudo_labels  # noqa: F401  # part: pseudo_labels
import kernel_src.models.table_inputs  # noqa: F401  # part: inputs
import kernel_src.training.auxiliary  # noqa: F401  # part: auxiliary
import kernel_src.training.depth_maps  # noqa: F401  # part: depth
from kernel_src.competition.facts import IMAGE_COLUMN
from kernel_src.competition.splits import fold_numbers, split_sha256
from kernel_src.competitions.held_rules import rules
from kernel_src.data.dataset import decoded_photographs
from kernel_src.data.training_photographs import FoldData
from kernel_src.data.training_rows import folds_with_external, training_only
from kernel_src.models.starting_weights import framing_of
from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.learning import InnerFold
from kernel_src.recipes.training_data import GroupSplit, Split
from kernel_src.runtime.device import DeviceReport
from kernel_src.runtime.parts import optional_part


def judged_folds(experiment: Experiment, train: pd.DataFrame) -> np.ndarray:
    """Return the fold in which each of the competition's images is validated, (images,)."""
    strata = rules().strata(rules().target_array(train))
    return split_rows(experiment.data.split, rules().group_labels(train), strata)


def split_rows(split: Split, groups: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """Return the fold of each row, (rows,), by its group (rows,) and a number (rows,) that a split may balance."""
    folds, seed = (split.folds, split.seed) if isinstance(split, GroupSplit) else (1, 0)
    return fold_numbers(split.rule, groups, strata, folds, seed, rules().group_name)


def folds_to_train(experiment: Experiment, fold_of: np.ndarray) -> tuple[int, ...]:
    """Return the numbers of the folds that this experiment trains.

    Raises:
        ValueError: `train_folds` names a fold that the split has not.
    """
    there = tuple(range(int(fold_of.max()) + 1))
    if unknown := sorted(set(experiment.data.train_folds) - set(there)):
        raise ValueError(f"{experiment.name}: train_folds names {unknown}, the split has folds 0 to {there[-1]}")
    return experiment.data.train_folds or there


# %%
@dataclass(frozen=True, kw_only=True)
class TrainingTable:
    """Every row that trains, and which of them are judged."""

    rows: pd.DataFrame  # the competition's, then external, then pseudo-labelled ones
    fold_of: np.ndarray  # (rows,), NEVER_VALIDATED for the others
    pseudo: np.ndarray  # (rows,) of bool
    pseudo_labels: pd.DataFrame | None

    def values_for(self, fold: int) -> np.ndarray:
        """Return what the rows weigh in the eyes of a fold, (rows, targets); NaN where it has no own prediction."""
        values = rules().target_array(self.rows)
        if self.pseudo_labels is not None:
            pseudo_values = optional_part("pseudo_labels").pseudo_values
            values[self.pseudo] = pseudo_values(self.pseudo_labels, self.rows["image_id"][self.pseudo].tolist(), fold)
        return values

    def fold_data(
        self, experiment: Experiment, fold: int, photographs: np.ndarray, depth_maps: np.ndarray | None
    ) -> FoldData:
        """Choose the rows that a fold trains on, and those that pick its epoch: whole visits, and judged ones only.

        Rows that the experiment drops pick and judge as all others; they only do not train.
        """
        values = self.values_for(fold)
        judged = ~training_only(self.rows)
        rows, inner = np.flatnonzero(judged & (self.fold_of != fold)), np.zeros(0, int)
        if isinstance(experiment.keep, InnerFold):
            groups, strata = rules().group_labels(self.rows.iloc[rows]), rules().strata(values[rows])
            inner_of = split_rows(GroupSplit(experiment.keep.folds, fold), groups, strata)
            rows, inner = rows[inner_of != 0], rows[inner_of == 0]
        if experiment.data.drop:
            rows = rows[~rules().dropped_rows(experiment.data.drop, self.rows.iloc[rows])]
        extra = np.flatnonzero(~judged & ~np.isnan(values).any(1))
        inputs = None
        if experiment.inputs:
            inputs = optional_part("inputs").filled_inputs(rules().input_array(self.rows), rows)
        return FoldData(
            photographs=photographs,
            depth_maps=depth_maps,
            inputs=inputs,
            values=values,
            train_rows=np.concatenate([rows, extra]),
            inner_rows=inner,
            pseudo=self.pseudo,
            columns=_columns_to_learn(experiment, self.rows),
        )


def _columns_to_learn(experiment: Experiment, rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return what the experiment's auxiliary targets read of the rows.

    Raises:
        ValueError: a column is not there, or cannot be used.
    """
    if not experiment.auxiliary:
        return {}
    columns: dict[str, np.ndarray] = optional_part("auxiliary").auxiliary_columns(experiment.auxiliary, rows)
    return columns


def training_table(
    experiment: Experiment, train: pd.DataFrame, external_folder: Path | None, pseudo_labels: pd.DataFrame | None
) -> TrainingTable:
    """Put the rows together; `train` is the competition's table.

    Raises:
        ValueError: the experiment asks for external data or pseudo-labels and there are none, or they cannot be used;
            or a column that an auxiliary target or the network needs.
    """
    fold_of = judged_folds(experiment, train)
    rows = train
    if experiment.data.external:
        rows = optional_part("external").with_external(experiment, rows, external_folder)
    pseudo, labelled = experiment.data.pseudo, len(rows)
    used = pseudo_labels if pseudo else None
    if pseudo and used is None:
        raise ValueError(
            f"{experiment.name} has data.pseudo={pseudo} and there are no pseudo-labels: name their dataset there and "
            "attach it, or set data.pseudo=none"
        )
    if pseudo and used is not None:
        split = split_sha256(train["image_id"].tolist(), fold_of)
        rows = optional_part("pseudo_labels").with_pseudo_labels(
            rows, used, split, folds_to_train(experiment, fold_of), pseudo.weight
        )
    # Now, not when all photographs are decoded.
    _columns_to_learn(experiment, rows)
    if experiment.inputs:
        rules().input_array(rows)
    return TrainingTable(
        rows=rows,
        fold_of=folds_with_external(fold_of, training_only(rows)),
        pseudo=np.arange(len(rows)) >= labelled,
        pseudo_labels=used,
    )


# %%
@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Let the other processes wait; the lock of a killed one is gone with it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def training_pictures(
    experiment: Experiment,
    rows: pd.DataFrame,
    competition: Path,
    *,
    depth_folder: Path | None,
    cache: Path,
    device: DeviceReport,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Decode the photographs (rows, H, W, 3) and estimate their depth (rows, C, H, W); one process does it for all.

    Raises:
        ImageError: a photograph cannot be read, or one of the competition's is unlike all others.
        ValueError: the experiment has a depth branch and there is no depth model.
    """
    with _one_at_a_time(cache):
        paths = [competition / path for path in rows[IMAGE_COLUMN]]
        photographs = decoded_photographs(paths, framing_of(experiment), cache, (~training_only(rows)).tolist())
        if not experiment.depth:
            return photographs, None
        if depth_folder is None:
            raise ValueError(f"{experiment.name} needs depth: attach the dataset {experiment.depth.weights}")
        depth = optional_part("depth")
        estimator, weights = depth.load_depth_from(depth_folder), depth.depth_weights_in(depth_folder)
        maps: np.ndarray = depth.cached_depth_maps(
            photographs, estimator, weights, experiment.depth.channels, cache, torch.device(device.kind)
        )
    return photographs, maps
