"""One trial: the inner folds of the training rows of one outer fold, trained and scored.

The rows of the outer fold are taken out of the table before anything else happens: no function below is ever given
them. What is left is divided into inner folds of whole groups, and the score is the mean of the competition's metric
over them.
A trial is compared with others by the same score after each epoch, not by its loss: losses are part of the search.
"""

import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from kernel_src.competitions.held_answers import answers
from kernel_src.competitions.held_rules import rules
from kernel_src.data.dataset import DecodedPhotographs
from kernel_src.data.symmetries import UPRIGHT
from kernel_src.data.trained_views import views
from kernel_src.models.depth import DEPTH_CONFIG_FILE, DEPTH_WEIGHTS_FILE, load_depth
from kernel_src.models.full_pass import predict_values
from kernel_src.models.model import BackboneNet, load_fold, load_strictly
from kernel_src.models.starting_weights import preprocessing_of
from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.training_data import GroupSplit
from kernel_src.runtime.device import DeviceReport
from kernel_src.training.fold_files import FoldFiles
from kernel_src.training.training import train_fold
from kernel_src.training.training_data import judged_folds, training_pictures, training_table
from kernel_src.training.training_net import predicting_weights

if TYPE_CHECKING:
    from optuna import Trial

Report = Callable[[int, float], None]  # step, score so far; raises to end the trial


@dataclass(frozen=True, kw_only=True)
class TuningData:
    """What every trial of a study works on: the training rows of one outer fold."""

    train: pd.DataFrame  # the wide table without the outer fold
    competition: Path
    outer_fold: int
    inner_folds: int
    weights: dict[str, Path]  # backbone → starting weights
    depth_folder: Path | None
    external_folder: Path | None
    cache: Path
    device: DeviceReport


def without_outer_fold(experiment: Experiment, train: pd.DataFrame, outer_fold: int) -> pd.DataFrame:
    """Return the rows that an outer fold trains on.

    Raises:
        ValueError: the split has no such fold.
    """
    fold_of = judged_folds(experiment, train)
    if outer_fold not in set(fold_of.tolist()):
        raise ValueError(f"there is no outer fold {outer_fold}: the split has folds 0 to {fold_of.max()}")
    return train[fold_of != outer_fold].reset_index(drop=True)


def inner_experiment(experiment: Experiment, inner_folds: int, seed: int) -> Experiment:
    """Return the experiment that a trial trains: the same recipe on grouped inner folds, its weights already found."""
    data = replace(experiment.data, split=GroupSplit(inner_folds, seed), train_folds=())
    return replace(experiment, data=data, machine=replace(experiment.machine, limit_s=0.0))


def score_trial(experiment: Experiment, data: TuningData, report: Report) -> list[float]:
    """Train an experiment on the inner folds and return the score of each, of the weights that training keeps.

    `report` gets the mean so far after each epoch of each fold, without test-time augmentation, and may raise.
    """
    trial = inner_experiment(experiment, data.inner_folds, data.outer_fold)
    table = training_table(trial, data.train, data.external_folder, None)
    photographs, depth_maps = training_pictures(
        trial, table.rows, data.competition, depth_folder=data.depth_folder, cache=data.cache, device=data.device
    )
    estimator = None
    if trial.depth and data.depth_folder is not None:
        estimator = load_depth(data.depth_folder / DEPTH_WEIGHTS_FILE, data.depth_folder / DEPTH_CONFIG_FILE)
    scores: list[float] = []
    with tempfile.TemporaryDirectory(prefix="tuning-") as scratch:
        for fold in range(data.inner_folds):
            rows = np.flatnonzero(table.fold_of == fold)
            inputs = rules().input_array(table.rows.iloc[rows]) if trial.inputs else None
            truth = rules().target_array(table.rows)[rows]
            judge = _Judge(trial, photographs, rows, truth, inputs, estimator, data.device)
            files = FoldFiles(Path(scratch), fold)
            train_fold(
                trial,
                fold,
                table.fold_data(trial, fold, photographs, depth_maps),
                device=data.device,
                starting_weights=data.weights.get(trial.encoder.timm) if trial.encoder.weights else None,
                folder=Path(scratch),
                on_epoch=judge.on_each_epoch(report, scores),
            )
            scores.append(judge.score(load_fold(trial, files.weights), views(trial)))
    return scores


class _Judge:
    """Scores the weights of one inner fold on the rows that it does not train on."""

    def __init__(
        self,
        experiment: Experiment,
        photographs: np.ndarray,
        rows: np.ndarray,
        truth: np.ndarray,
        inputs: np.ndarray | None,
        estimator: Any,
        device: DeviceReport,
    ) -> None:
        self.experiment, self.device, self.estimator = experiment, device, estimator
        self.truth, self.inputs = truth, inputs
        self.photographs = DecodedPhotographs(photographs, rows)
        self.model: BackboneNet | None = None

    def score(self, model: BackboneNet, symmetries: Any) -> float:
        """Return the score of a model's finished predictions."""
        experiment = self.experiment
        predicted = predict_values(
            [model],
            self.photographs,
            preprocessing=preprocessing_of(experiment.encoder.timm),
            symmetries=symmetries,
            device=self.device,
            batch_size=experiment.batch.size,
            estimator=self.estimator,
            depth_channels=experiment.depth_channels,
            depth_views=experiment.depth_views,
            inputs=self.inputs,
        )[0]
        return rules().score(self.truth, answers().finished(predicted, experiment.predict.constraint))

    def on_each_epoch(
        self, report: Report, scores: list[float]
    ) -> Callable[[int, dict[str, Any], Mapping[str, Any]], None]:
        """Return what training calls after each epoch: it scores the weights so far and reports the mean."""
        before = list(scores)

        def on_epoch(epoch: int, row: dict[str, Any], weights: Mapping[str, Any]) -> None:
            if self.model is None:
                self.model = BackboneNet(self.experiment)
            load_strictly(self.model, predicting_weights(weights), "the weights of this epoch")
            now = self.score(self.model, (UPRIGHT,))
            report(len(before) * self.experiment.schedule.epochs + epoch, float(np.mean([*before, now])))

        return on_epoch


def objective(experiment: Experiment, space: Any, data: TuningData) -> "Callable[[Trial], float]":
    """Return what Optuna calls once per trial."""
    import optuna

    from build.core.settings import apply_changes
    from build.search.tuning.space import draw
    from kernel_src.training.gradient_steps import TrainingDiverged

    def run_trial(trial: "Trial") -> float:
        changes = draw(trial, space, experiment)
        trial.set_user_attr("changes", changes)
        changed_experiment = apply_changes(experiment, changes)

        def report(step: int, score: float) -> None:
            epochs, name = changed_experiment.schedule.epochs, rules().metric.name
            fold, epoch = divmod(step - 1, epochs)
            where = f"inner fold {fold + 1} of {data.inner_folds}, epoch {epoch + 1} of {epochs}"
            print(f"trial {trial.number}: {where}, {name} {score:.4f}", file=sys.stderr, flush=True)
            trial.report(score, step)
            if trial.should_prune():
                raise optuna.TrialPruned(f"at step {step} with {name} {score:.4f}")

        try:
            scores = score_trial(changed_experiment, data, report)
        except TrainingDiverged as end:
            raise optuna.TrialPruned(str(end)) from None
        trial.set_user_attr("inner_scores", scores)
        return float(np.mean(scores))

    return run_trial
