"""Do the parts help? Prints the table of docs/recipes.md: each part added to the demo's recipe, then all together.

    make demo && nice .venv/bin/python bench/parts.py [--budget 60] [--seeds 3] [--share 1/2] [PART …]

On the painted pasture of `make demo`, with real Lite0 weights, at 96 x 192 px: some 1.5 hours of one core. Every recipe
is trained for the same processor time: the seconds of an epoch are measured first, and as many epochs as fit the budget
are trained, whatever the part costs. Scores are out of fold, by State+date groups, the official metric. A difference is
the mean over the seeds of a recipe less that of the demo's, with its paired interval over the groups. Two processes,
each with a `--share`, use two cores; what lies in out/bench/ is not measured again.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from build.scores.intervals import group_sums, jackknife, scores, scores_without_each  # noqa: E402
from kernel_src.competitions.biomass.constants import TARGETS, TRAIN_CSV  # noqa: E402
from kernel_src.competitions.biomass.constraints import constrain  # noqa: E402
from kernel_src.competitions.biomass.metric import weight_row  # noqa: E402
from kernel_src.competitions.biomass.tables import group_labels, read_train, target_array  # noqa: E402
from kernel_src.competitions.held_recipes import EXPERIMENTS  # noqa: E402
from kernel_src.recipes.changes import changed  # noqa: E402
from kernel_src.recipes.experiment import Experiment  # noqa: E402
from kernel_src.recipes.learning import EMA, SWA, BatchR2, Bins, Classify, Regress, SmoothL1, SqrtError  # noqa: E402
from kernel_src.recipes.network import DenseHead, FirstShare, PooledHead  # noqa: E402
from kernel_src.recipes.pictures import HALVES, Attention, Sum  # noqa: E402
from kernel_src.recipes.training_data import CutMix, Mixup, TokenMix  # noqa: E402
from kernel_src.runtime.device import DeviceReport  # noqa: E402
from kernel_src.runtime.files import write_json  # noqa: E402

DEMO = ROOT / "out/demo"
OUT = ROOT / "out/bench/parts.json"
CPU = DeviceReport(kind="cpu", name="CPU", count=1, half=False)
AS_IT_IS = "the demo's recipe"
SMALLER = {"pictures.height_px": 96, "pictures.width_px": 192}
DENSITY = DenseHead(hidden=(64,), reduce="mean")
HALVED = {"pictures.parts": HALVES, "pictures.width_px": 96}
PARTS: dict[str, dict[str, Any]] = {
    "dense head, grams summed over the map": {"head": DenseHead(hidden=(64,))},
    "dense head, a density averaged over the map": {"head": DENSITY},
    "dense head, Total times shares": {"head": DenseHead(hidden=(64,), reduce="mean", targets="shares")},
    "three components, sums exact": {"head.targets": "components"},
    "Total times shares": {"head.targets": "shares"},
    "pooled by mean, max and signed GeM": {"head": PooledHead((128,), pool=("mean", "max", "signed_gem"))},
    "two layers, pooled by mean": {"head": PooledHead((128,), pool=("mean",)), "encoder.layers": (1, 2)},
    "halves, their grams added": HALVED | {"pictures.join": Sum()},
    "halves, attention across them": HALVED | {"pictures.join": Attention(heads=8)},
    "seven bins per target": {"auxiliary": (Bins(7, weight=0.3),)},
    "height, NDVI and state": {
        "auxiliary": (Regress("Height_Ave_cm", 0.1), Regress("Pre_GSHH_NDVI", 0.1), Classify("State", 0.1))
    },
    "smooth L1, beta 5, the metric's weights": {"loss": SmoothL1(beta=5.0, weights="metric")},
    "1 - R² of the batch": {"loss": BatchR2()},
    "square roots": {"loss": SqrtError()},
    "CutMix": {"augment.mix": CutMix(0.3)},
    "mixup": {"augment.mix": Mixup(0.3)},
    "dense head with mixed patches": {"head": DENSITY, "augment.mix": TokenMix(0.3)},
    "shrunk, padded with black": {"augment.rescale": (0.7, 1.0), "augment.rescale_p": 0.3},
    "random crop": {"augment.crop": (0.7, 1.0)},
    "dense head with random crop": {"head": DENSITY, "augment.crop": (0.7, 1.0)},
    "date stamps and light spots": {"augment.stamps_p": 0.2, "augment.spots_p": 0.2},
    "EMA": {"keep": EMA(0.98)},
    "SWA": {"keep": SWA(0.6)},
    "layer-wise decay": {"optimizer.layer_decay": 0.85},
    "first half of the backbone frozen": {"encoder.freeze": FirstShare(0.5)},
}
PARTS["several together"] = {
    **{"head": DENSITY, "auxiliary": (Bins(7, weight=0.3),), "loss": SmoothL1(beta=5.0, weights="metric")},
    **{"augment.crop": (0.7, 1.0), "augment.mix": CutMix(0.3), "keep": EMA(0.98)},
}


def out_of_fold(experiment: Experiment) -> tuple[np.ndarray, float]:
    """Train all folds and predict each photograph by the one that has not seen it.

    Returns grams (images, 5) in the order of train.csv, and the processor seconds of training.
    """
    from kernel_src.training.runs import predict_out_of_fold, train_run

    competition, weights = DEMO / "competition", DEMO / "pretrained" / experiment.encoder.weights
    train = read_train(competition / TRAIN_CSV)
    height_px, width_px = experiment.pictures.canvas_px
    cache = ROOT / f"out/bench/parts-{height_px}x{width_px}"
    weights = weights if weights.is_dir() else DEMO / "pretrained"
    with tempfile.TemporaryDirectory() as scratch:
        run, started = Path(scratch) / "run", time.process_time()
        train_run(
            experiment,
            train,
            competition,
            device=CPU,
            starting_weights=weights / "model.safetensors",
            folder=run,
            cache=cache,
        )
        seconds = time.process_time() - started
        oof = predict_out_of_fold(experiment, train, competition, run, cache, CPU)
    grams = oof.set_index("image_id").loc[train["image_id"], list(TARGETS)].to_numpy(float)
    return constrain(grams, experiment.predict.constraint), seconds


def epochs_within(experiment: Experiment, budget_s: float) -> int:
    """Return how many epochs of all folds take so many processor seconds; one at least."""
    one, three = (out_of_fold(changed(experiment, {"schedule.epochs": epochs}))[1] for epochs in (1, 3))
    per_epoch = (three - one) / 2
    return max(1, int((budget_s - (one - per_epoch)) / per_epoch))


def measure(name: str, budget_s: float, seeds: int) -> dict[str, Any]:
    """Train one recipe with some seeds; return its epochs, seconds and predictions."""
    experiment = changed(EXPERIMENTS["demo"], SMALLER | PARTS.get(name, {}))
    epochs = epochs_within(experiment, budget_s)
    runs = [out_of_fold(changed(experiment, {"schedule.epochs": epochs, "seed": seed})) for seed in range(seeds)]
    return {
        "epochs": epochs,
        "seconds": [round(seconds, 1) for _, seconds in runs],
        "grams": [grams.round(3).tolist() for grams, _ in runs],
    }


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Write the table, the greatest gain first."""
    train = read_train(DEMO / "competition" / TRAIN_CSV)
    truth, groups, weights = target_array(train), group_labels(train), weight_row()
    base = group_sums(truth, np.array(found[AS_IT_IS]["grams"]), groups, weights)
    rows = []
    for name in found:
        sums = group_sums(truth, np.array(found[name]["grams"]), groups, weights)
        whole = scores(sums).mean() - scores(base).mean()
        parts = scores_without_each(sums).mean(0) - scores_without_each(base).mean(0)
        rows.append((float(whole), name, scores(sums), jackknife(float(whole), parts)))
    lines = [
        "| part | R², mean of seeds | seeds from | to | epochs | difference | 95 % interval |",
        "|---|---|---|---|---|---|---|",
    ]
    for _, name, r2, interval in sorted(rows, key=lambda row: -row[0]):
        difference = "" if name == AS_IT_IS else f"{interval.estimate:+.3f}"
        reach = "" if name == AS_IT_IS else f"{interval.low:+.3f} to {interval.high:+.3f}"
        lines.append(
            f"| {name} | {r2.mean():.3f} | {r2.min():.3f} | {r2.max():.3f} | {found[name]['epochs']} | {difference} | "
            f"{reach} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Measure what is not measured yet, and print the table."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help="all unless named")
    parser.add_argument("--budget", type=float, default=60.0, help="processor seconds of each training of all folds")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--share", default="1/1", help="the first of two processes takes 1/2, the other 2/2")
    arguments = parser.parse_args()
    if not (DEMO / "competition" / TRAIN_CSV).is_file():
        print("first paint the pasture: make demo")
        return 2
    torch.set_num_threads(1)
    os.environ["TQDM_DISABLE"] = "1"
    mine, of = map(int, arguments.share.split("/"))
    names = [AS_IT_IS, *(arguments.parts or PARTS)]
    for name in names[mine - 1 :: of]:
        place = OUT.with_name(f"{OUT.stem}-{names.index(name)}.json")
        if not place.is_file():
            write_json(place, {"part": name, **measure(name, arguments.budget, arguments.seeds)})
            print(f"{name}: measured", file=sys.stderr, flush=True)
    done = [json.loads(path.read_bytes()) for path in sorted(OUT.parent.glob(f"{OUT.stem}-*.json"))]
    found = {one["part"]: one for one in done}
    if AS_IT_IS not in found:
        return 0
    facts = (
        f"{arguments.budget:g} processor seconds each, {arguments.seeds} seeds, "
        f"Python {platform.python_version()}, torch {version('torch')}, {os.cpu_count()} cores, one thread"
    )
    print(f"{table(found)}\n\n{facts}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
