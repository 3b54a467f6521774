"""Pictures of a training: loss over the epochs, and what the folds predict of photographs they have not seen."""

import csv
from pathlib import Path

from kernel_src.competitions.biomass.constants import TARGETS, TRAIN_CSV


def read_log(path: Path) -> dict[int, dict[str, list[float]]]:
    """Return per fold the columns of a training log; an empty cell is left out."""
    folds: dict[int, dict[str, list[float]]] = {}
    with path.open(newline="", encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            columns = folds.setdefault(int(row["fold"]), {})
            for name in ("epoch", "train_loss", "inner_loss", "learning_rate", "seconds"):
                if row.get(name):
                    columns.setdefault(name, []).append(float(row[name]))
    return folds


def draw_curves(run: Path, picture: Path) -> None:
    """Draw the training loss of each fold, the loss on its inner rows dashed, and the learning rate."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (losses, rates) = plt.subplots(1, 2, figsize=(11, 4), width_ratios=(3, 1))
    for fold, columns in sorted(read_log(run / "log.csv").items()):
        (line,) = losses.plot(columns["epoch"], columns["train_loss"], marker=".", label=f"fold {fold}")
        if "inner_loss" in columns:
            losses.plot(columns["epoch"], columns["inner_loss"], "--", color=line.get_color())
        rates.plot(columns["epoch"], columns["learning_rate"], color=line.get_color())
    losses.set_title("loss in training; dashed: on the inner rows that pick the epoch", fontsize=9)
    losses.set_yscale("log")
    losses.legend(fontsize=8)
    rates.set_title("learning rate of the heads", fontsize=9)
    for axis in (losses, rates):
        axis.set_xlabel("epoch")
    figure.tight_layout()
    figure.savefig(picture, dpi=110)
    plt.close(figure)


def draw_scatter(run: Path, data: Path, picture: Path) -> None:
    """Draw the out-of-fold predictions against the truth."""
    import json

    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import pandas as pd

    from kernel_src.competitions.biomass.constraints import constrain
    from kernel_src.competitions.biomass.tables import read_train, target_array
    from kernel_src.data.score_charts import scatter_per_target

    config = json.loads((run / "config.json").read_bytes())
    oof = pd.read_csv(run / "oof.csv", dtype={"image_id": str})
    seen = read_train(data / TRAIN_CSV).set_index("image_id").loc[oof["image_id"]]
    grams = constrain(oof[list(TARGETS)].to_numpy(float), config["experiment"]["predict"]["constraint"])
    figure = scatter_per_target(target_array(seen), grams)
    figure.savefig(picture, dpi=110)
    plt.close(figure)
