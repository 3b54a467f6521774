"""## The fold that learns the test

What the process of a test-time training does: it goes on training a fold from its weights, on the competition's rows
and on the test photographs with their pseudo-labels, and predicts these again.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from kernel_src.bundle.bundles import BundleRecipe
from kernel_src.competition.facts import IMAGE_COLUMN
from kernel_src.competitions.held_answers import answers
from kernel_src.competitions.held_facts import facts
from kernel_src.competitions.held_rules import rules, weight_row
from kernel_src.data.dataset import DecodedPhotographs
from kernel_src.data.training_photographs import FoldData, TrainingBatch
from kernel_src.data.training_rows import EXTERNAL_COLUMN
from kernel_src.models.full_pass import predict_values
from kernel_src.models.model import load_fold, load_strictly
from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.learning import SWA, Constant
from kernel_src.recipes.predictor import TestTimeTraining
from kernel_src.recipes.training_data import LeaveGroupOut, PseudoLabels
from kernel_src.runtime.csv_table import read_csv
from kernel_src.runtime.device import DeviceReport
from kernel_src.runtime.files import CONFIG_FILE
from kernel_src.runtime.manifest import read_bundle_json
from kernel_src.runtime.weight_files import read_weights
from kernel_src.training.fold_files import FoldFiles
from kernel_src.training.gradient_steps import HalfPrecisionFailed
from kernel_src.training.runs import OOF_FILE
from kernel_src.training.session import ENDLESS, Session
from kernel_src.training.training import FoldTraining
from kernel_src.training.training_data import training_pictures, training_table
from kernel_src.training.training_net import TRAINING_ONLY

MEASURED_STEPS = 8  # after which the rest is projected; the first is not counted, since it loads the GPU's kernels
PREDICTION_SHARE = 0.5  # of a training step per photograph and view: a forward pass is a third of it
MINIATURE_BATCHES, MINIATURE_EPOCHS = 3, 2
HIDDEN_ROWS = 1157  # the competition's 357 and a hidden test of 800, for what a miniature projects
NO_FOLD = -2  # not that of any row: all of the competition's rows train


class NotAdapted(Exception):
    """Nothing came of it; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Adaptation:
    """One bundle's test-time training."""

    recipe: BundleRecipe
    how: TestTimeTraining
    competition: Path  # with train.csv and its photographs
    damaged: frozenset[str]  # files of the bundle that must not be used
    paths: tuple[Path, ...]  # of the test photographs that the bundle has predicted
    values: np.ndarray  # (photographs, targets), what it predicted
    device: DeviceReport
    threads: int
    is_miniature: bool


# %%
def adapt(adaptation: Adaptation, scratch: Path, tell: Callable[[str, Any], None]) -> np.ndarray:
    """Train the strongest fold on train and test and return what it predicts, (photographs, targets).

    Raises:
        NotAdapted: there is nothing to train on or with, or what it learnt is worse than nothing.
        TrainingDiverged: the loss is NaN or infinite, in fp32 too.
        torch.OutOfMemoryError: not even one photograph fits.
    """
    recipe = adaptation.recipe
    whole = Experiment.from_json(read_bundle_json(recipe.folder, CONFIG_FILE)["experiment"])
    experiment = adapted_experiment(whole, adaptation.how, adaptation.is_miniature)
    train = rules().read_train(adaptation.competition / facts().train_csv)
    fold, why = strongest_fold(recipe, train, adaptation.damaged)
    tell("line", f"test-time training of {recipe.folder.name}: fold {fold}, {why}; {experiment.schedule.epochs} epochs")
    if adaptation.is_miniature:
        train = train.iloc[: MINIATURE_BATCHES * experiment.batch.size]
        tell("line", "  in miniature: this is not the rerun, and the visible test says nothing")
    (framing,) = recipe.framings
    _check_room(scratch, (len(train) + len(adaptation.paths)) * 3 * framing.height_px * framing.width_px)
    data = rows_to_train_on(experiment, train, adaptation, scratch)
    training = trained(experiment, fold, data, adaptation, scratch, tell)
    model = load_fold(experiment, training.files.weights)
    half = training.half
    del training  # and with it the optimiser's memory
    values = predict_values(
        [model],
        DecodedPhotographs(data.photographs, np.arange(len(train), len(data.values))),
        preprocessing=recipe.preprocessing,
        symmetries=recipe.symmetries,
        device=replace(adaptation.device, half=half),
        batch_size=experiment.batch.size,
    )[0]
    _refuse_nonsense(values, data.values[len(train) :], data.values[: len(train)], adaptation.is_miniature)
    return values


def adapted_experiment(experiment: Experiment, how: TestTimeTraining, is_miniature: bool = False) -> Experiment:
    """Return the experiment as it trains on the test: a constant rate, whose last epochs can be averaged.

    Auxiliary targets are left out, since a bundle holds no heads of them, and so is what was not weighed by the
    competition: it is not attached.
    """
    epochs = min(MINIATURE_EPOCHS, how.epochs) if is_miniature else how.epochs
    optimizer = experiment.optimizer
    return replace(
        experiment,
        optimizer=replace(
            optimizer, lr=how.lr_factor * optimizer.lr, backbone_lr=how.lr_factor * optimizer.backbone_lr
        ),
        schedule=Constant(epochs=epochs),
        keep=SWA(start=(epochs - min(how.average, epochs)) / epochs),
        auxiliary=(),
        data=replace(
            experiment.data,
            split=LeaveGroupOut(),  # whatever rows there are; nothing is judged
            train_folds=(),
            external=None,
            pseudo=PseudoLabels(weight=how.pseudo_weight),
        ),
    )


def strongest_fold(recipe: BundleRecipe, train: pd.DataFrame, damaged: frozenset[str]) -> tuple[int, str]:
    """Return the number of the fold with the best out-of-fold score on its own photographs, and why it was chosen.

    Where the bundle's out-of-fold predictions cannot be used it is the first fold.

    Raises:
        NotAdapted: no fold is intact.
    """
    intact = [name for name in recipe.folds if name not in damaged]
    numbers = [int(Path(name).stem.removeprefix("fold")) for name in intact]  # as training names them
    if not numbers:
        raise NotAdapted("no fold of the bundle is intact")
    try:
        if OOF_FILE in damaged:
            raise ValueError(f"{OOF_FILE} is damaged")
        oof = read_csv(recipe.folder / OOF_FILE, dtype={"image_id": str})
        truth = train.set_index(train["image_id"].astype(str))
        scores = {}
        for fold in sorted(set(oof["fold"]) & set(numbers)):
            own = oof[oof["fold"] == fold]
            values = answers().finished(rules().target_array(own), recipe.experiment.predict.constraint)
            scores[fold] = rules().score(rules().target_array(truth.loc[own["image_id"]]), values)
        best = max(scores, key=lambda fold: rules().metric.gain(scores[fold]))
    except (OSError, ValueError, KeyError) as error:
        return numbers[0], f"the first, since the folds' own scores are not known ({type(error).__name__}: {error})"
    all_scores = ", ".join(f"fold {fold} {score:.3f}" for fold, score in scores.items())
    return int(best), f"the best out of fold on its own photographs ({rules().metric.name}: {all_scores})"


def rows_to_train_on(experiment: Experiment, train: pd.DataFrame, adaptation: Adaptation, scratch: Path) -> FoldData:
    """Decode all photographs and put the test's rows behind the competition's, which all train."""
    test = pd.DataFrame(
        {
            "image_id": [path.stem for path in adaptation.paths],
            IMAGE_COLUMN: [str(path.resolve()) for path in adaptation.paths],
            EXTERNAL_COLUMN: True,
        }
    )
    rows = pd.concat([train.assign(**{EXTERNAL_COLUMN: False}), test], ignore_index=True)
    photographs, _ = training_pictures(
        experiment,
        rows,
        adaptation.competition,
        depth_folder=None,
        cache=scratch / "photographs",
        device=adaptation.device,
    )
    weighed = replace(experiment, data=replace(experiment.data, pseudo=None))
    data = training_table(weighed, train, None, None).fold_data(weighed, NO_FOLD, photographs, None)
    return replace(
        data,
        values=np.concatenate([data.values, rules().pseudo_labels(adaptation.values, adaptation.how.below_g)]),
        train_rows=np.concatenate([data.train_rows, np.arange(len(train), len(rows))]),
        inner_rows=np.zeros(0, int),
        pseudo=np.arange(len(rows)) >= len(train),
    )


def trained(
    experiment: Experiment,
    fold: int,
    data: FoldData,
    adaptation: Adaptation,
    scratch: Path,
    tell: Callable[[str, Any], None],
) -> "AdaptedFold":
    """Train from the fold's weights, in fp16 where that is precise enough, otherwise in fp32 from the beginning."""
    training, failure = AdaptedFold(experiment, fold, data, adaptation, scratch, tell), ""
    try:
        training.run(ENDLESS, None)
    except HalfPrecisionFailed as error:
        failure = str(error)
    if failure:
        tell("line", f"  {failure}. Once more in fp32")
        del training  # outside the handler, which would keep its memory
        training = AdaptedFold(experiment, fold, data, adaptation, scratch, tell, "fp32")
        training.run(ENDLESS, None)
    return training


# %%
class AdaptedFold(FoldTraining):
    """A fold's training that goes on from its weights, reports how long it will take, and keeps no checkpoint."""

    def __init__(
        self,
        experiment: Experiment,
        fold: int,
        data: FoldData,
        adaptation: Adaptation,
        scratch: Path,
        tell: Callable[[str, Any], None],
        precision: str = "",
    ) -> None:
        """Build everything; see `FoldTraining`."""
        self.weights_file = adaptation.recipe.folder / f"fold{fold}.safetensors"
        self.adaptation, self.tell = adaptation, tell
        self.step_ends_s: list[float] = []
        super().__init__(experiment, data, adaptation.device, None, FoldFiles(scratch, fold), precision)

    def _take_up_checkpoint(self) -> None:
        """Begin with the fold's weights, its scaling of the targets among them; only what the loss learns is new."""
        fresh = {name: tensor for name, tensor in self.model.state_dict().items() if name.startswith(TRAINING_ONLY)}
        load_strictly(self.model, {**fresh, **read_weights(self.weights_file)}, str(self.weights_file))

    def save(self) -> None:
        """Keep nothing: there is no later session."""

    def take_step(self, batches: Sequence[TrainingBatch], session: Session) -> None:
        """Make one optimiser step, and after the first few project the rest."""
        super().take_step(batches, session)
        if self.device.type == "cuda" and len(self.step_ends_s) < MEASURED_STEPS:
            torch.cuda.synchronize()
        self.step_ends_s.append(time.perf_counter())
        steps, taken = self.experiment.schedule.epochs * self.steps_per_epoch, len(self.step_ends_s)
        if taken == min(MEASURED_STEPS, steps):
            self.project(steps - taken)

    def project(self, steps_left: int) -> None:
        """Tell how long the steps that are left and the prediction will take."""
        ends = self.step_ends_s
        each_s = (ends[-1] - ends[0]) / max(1, len(ends) - 1)
        photograph_s = each_s / (self.experiment.batch.size * self.experiment.batch.accumulate)
        passes = len(self.adaptation.paths) * len(self.adaptation.recipe.symmetries)
        self.tell("projected", each_s * steps_left + PREDICTION_SHARE * photograph_s * passes)
        if self.adaptation.is_miniature:
            rerun_s = self.adaptation.how.epochs * HIDDEN_ROWS * photograph_s
            self.tell("line", f"  in the rerun some {rerun_s / 60:.1f} min for {HIDDEN_ROWS} photographs")

    def finish_epoch(self) -> dict[str, Any]:
        """Tell how the epoch went."""
        row = super().finish_epoch()
        self.tell("line", f"  epoch {row['epoch']}: loss {row['train_loss']:.4f}, {row['seconds']:.1f} s")
        return row


# %%
def _check_room(folder: Path, needed: int) -> None:
    """Make sure that the decoded photographs find room.

    Raises:
        NotAdapted: they do not.
    """
    free = shutil.disk_usage(folder).free
    if free < 2 * needed:
        raise NotAdapted(f"{folder} has {free / 1e9:.1f} GB left, the decoded photographs take {needed / 1e9:.1f} GB")


def _refuse_nonsense(values: np.ndarray, labels: np.ndarray, truth: np.ndarray, is_miniature: bool) -> None:
    """Refuse predictions that are further from what was taught than the training rows are from their mean.

    Raises:
        NotAdapted: they are, or they are not finite.
    """
    if not np.isfinite(values).all():
        raise NotAdapted("what it predicts is not finite")
    error = float(((values - labels) ** 2 @ weight_row()).mean())
    spread = float(((truth - truth.mean(0)) ** 2 @ weight_row()).mean())
    if not is_miniature and error > spread:
        raise NotAdapted(
            f"it has not learnt what it was taught: its squared error there is {error / spread:.1f} times the variance "
            "of the training rows"
        )
