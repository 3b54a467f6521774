"""Prints the table "Why the last epoch" of docs/seed-differences.md: which epoch to keep, and how many rows train.

    nice .venv/bin/python bench/epoch_picker.py [v7] [--more-steps]

The heads of an experiment (V7: five of 256, 64 and 1 units) are trained on embeddings of the real photographs, in the
place of its backbone: the kit's own folds, rows, order, loss, optimiser, schedule, clipping, constraint and official
metric over all out-of-fold rows. Three ways:

- picker: one of eight inner folds of the training rows is kept back, the epoch with its lowest loss is kept, and ten
  epochs without a better one end the training, as the listed experiments did before.
- last, same rows: the same training, its last epoch.
- last, all rows: nothing is kept back, the last epoch is kept, as the listed experiments do now.

What is not the experiment's: the backbone does not move, nothing is augmented, and a step takes at once the pictures
that accumulated batches give one after the other, which is the same gradient where there is no batch norm. Heads alone
do not get as far as they could in V7's 270 steps: with `--more-steps` batches are not accumulated, which gives four
times as many, and the embeddings are standardised by the training rows.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from build.search.regress.features import read_features  # noqa: E402
from kernel_src.competition.constants import TARGETS  # noqa: E402
from kernel_src.competition.constraints import constrain  # noqa: E402
from kernel_src.competition.metric import weighted_r2  # noqa: E402
from kernel_src.competition.tables import read_train, target_array  # noqa: E402
from kernel_src.data.training_photographs import SeededOrder  # noqa: E402
from kernel_src.models.model import GramsNet, TargetScaling, _head  # noqa: E402
from kernel_src.recipes.changes import changed  # noqa: E402
from kernel_src.recipes.experiment import Experiment  # noqa: E402
from kernel_src.recipes.experiments import EXPERIMENTS  # noqa: E402
from kernel_src.recipes.learning import InnerFold  # noqa: E402
from kernel_src.runtime.randomness import seed_at  # noqa: E402
from kernel_src.training.losses import loss_of  # noqa: E402
from kernel_src.training.optimization import (  # noqa: E402
    build_optimizer,
    learning_rate_factor,
    set_learning_rates,
)
from kernel_src.training.training_data import TrainingTable, training_table  # noqa: E402

SHARED = ROOT.parent / "shared/data"
FILES = {"dinov2_vits14_cls": (0, 1, 2), "resnet18_avgpool": (0,)}  # embeddings → seeds of the split
PICKER = InnerFold(8, patience=10)
WAYS = ("picker", "last, same rows", "last, all rows")
OUT = ROOT / "out/bench/epoch_picker.json"


class FeatureHeads(GramsNet):
    """The heads of an experiment on features (B, F); answers in z-scores (B, 5)."""

    log_variances = None  # of the uncertainty loss, which no listed experiment uses

    def __init__(self, experiment: Experiment, width: int) -> None:
        """Build with random weights."""
        super().__init__()
        self.backbone = nn.Identity()
        self.heads = nn.ModuleList(_head(width, experiment) for _ in TARGETS)
        self.scaling = TargetScaling()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (B, F) to (B, 5)."""
        return torch.cat([head(features) for head in self.heads], 1)


def train_and_predict(
    experiment: Experiment,
    table: TrainingTable,
    fold: int,
    features: torch.Tensor,
    grams: torch.Tensor,
    standardise: bool,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Train one fold: what the last epoch predicts for its images (m, 5), what the picked one does, and which it is."""
    data = table.fold_data(experiment, fold, np.zeros(0), None)
    rows, inner, held = (torch.from_numpy(each) for each in (data.train_rows, data.inner_rows, table.fold_of == fold))
    torch.manual_seed(seed_at(experiment.seed, "initial weights"))
    if standardise:
        features = (features - features[rows].mean(0)) / features[rows].std(0).clamp_min(1e-6)
    model = FeatureHeads(experiment, features.shape[1])
    model.scaling.fit(data.grams[data.train_rows])
    optimizer = build_optimizer(model, experiment)  # type: ignore[arg-type]  # heads and a backbone, as it needs
    order = SeededOrder(len(rows), seed_at(experiment.seed, "fold", fold))
    size = experiment.batch.size * experiment.batch.accumulate
    steps_per_epoch = -(-len(rows) // size)

    def loss(chosen: torch.Tensor) -> torch.Tensor:
        return loss_of(model(features[chosen]), model.scaling.to_z(grams[chosen]), experiment, scaling=model.scaling)

    def predict() -> np.ndarray:
        model.eval()
        with torch.inference_mode():
            return model.scaling.to_grams(model(features[held])).double().numpy()

    picked, best, best_epoch = predict(), float("inf"), 0
    for epoch in range(experiment.schedule.epochs):
        model.train()
        order.epoch = epoch
        for number, chosen in enumerate(rows[torch.tensor(list(order))].split(size)):
            step = epoch * steps_per_epoch + number
            set_learning_rates(optimizer, learning_rate_factor(experiment, step, steps_per_epoch))
            torch.manual_seed(seed_at(experiment.seed, "dropout", fold, step))
            optimizer.zero_grad()
            loss(chosen).backward()
            if experiment.optimizer.clip_norm:
                nn.utils.clip_grad_norm_(model.parameters(), experiment.optimizer.clip_norm)
            optimizer.step()
        if len(inner) and epoch - best_epoch < PICKER.patience:
            model.eval()
            with torch.inference_mode():
                now = float(loss(inner))
            if now < best:
                picked, best, best_epoch = predict(), now, epoch + 1
    return predict(), picked, best_epoch


def scores(
    experiment: Experiment, train: pd.DataFrame, embeddings: Mapping[str, np.ndarray], standardise: bool = False
) -> dict[str, float]:
    """Return the official R² of each of the ways over all images, and the picked epochs' mean."""
    features = torch.from_numpy(np.stack([embeddings[image] for image in train["image_id"]])).float()
    truth = target_array(train)
    grams = torch.from_numpy(truth).float()
    predicted = {way: np.zeros_like(truth) for way in WAYS}
    epochs = []
    for way, recipe in ((WAYS[1], replace(experiment, keep=PICKER)), (WAYS[2], experiment)):
        table = training_table(recipe, train, None, None)
        for fold in range(recipe.data.folds_trained):
            last, picked, epoch = train_and_predict(recipe, table, fold, features, grams, standardise)
            predicted[way][table.fold_of == fold] = last
            if recipe.keep.picks_epoch:
                predicted[WAYS[0]][table.fold_of == fold] = picked
                epochs.append(epoch)
    r2 = {
        way: weighted_r2(truth, constrain(grams_, experiment.predict.constraint)) for way, grams_ in predicted.items()
    }
    return r2 | {"picked epoch, mean": float(np.mean(epochs))}


def main() -> int:
    """Print the table, and write it to out/bench/epoch_picker.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", nargs="?", default="v7", choices=list(EXPERIMENTS))
    parser.add_argument("--more-steps", action="store_true", help="standardised embeddings, no accumulated batches")
    arguments = parser.parse_args()
    name = arguments.experiment
    needed = [SHARED / "train.csv", *(SHARED / "features" / f"{file}.npz" for file in FILES)]
    if missing := [str(path) for path in needed if not path.is_file()]:
        print(f"skipped: the real embeddings are not here ({', '.join(missing)}); they are no part of the kit")
        return 0
    torch.set_num_threads(1)
    train, started = read_train(SHARED / "train.csv"), time.monotonic()
    base = changed(EXPERIMENTS[name], {"data.external": None, "data.split": "GroupSplit", "data.train_folds": ()})
    base = changed(base, {"batch.accumulate": 1}) if arguments.more_steps else base
    rows = []
    for file, seeds in FILES.items():
        embeddings = read_features(SHARED / "features" / f"{file}.npz")
        for seed in seeds:
            found = scores(changed(base, {"data.split.seed": seed}), train, embeddings, arguments.more_steps)
            rows.append({"embeddings": file, "split seed": seed, **found})
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    print(f"| embeddings | split seed | {' | '.join(WAYS)} | picked epoch, mean |\n|---|---|---|---|---|---|")
    for row in rows:
        figures = " | ".join(f"{row[way]:.3f}" for way in WAYS)
        print(f"| `{row['embeddings']}` | {row['split seed']} | {figures} | {row['picked epoch, mean']:.0f} |")
    more = ", more steps" if arguments.more_steps else ""
    facts = (
        f"heads of {name}{more}, {len(train)} images, {base.data.folds_trained} group folds, "
        f"{base.schedule.epochs} epochs, n = 1 each; "
        f"Python {platform.python_version()}, torch {version('torch')}, {os.cpu_count()} cores, one used, "
        f"{time.monotonic() - started:.0f} s"
    )
    print(f"\n{facts}")
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps({"rows": rows, "measured": facts}, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
