"""Simulates the intervals of `compare` on data with the real group sizes, and chooses the method: coverage and size.

    .venv/bin/python bench/validation.py 4000

Each draw is a new set of 30 visits with the sizes of train.csv. Grams are gamma with the means and deviations of
train.csv, and visits differ so much that the mean of each visit scores .6, as there. Predictions err with a part per
visit, a part per photograph, and a part that all models share; the laws below differ in how heavy the tails are and in
whether heavy swards err more. The true score is that of 60,000 visits: coverage counts how often an interval holds it.
Under the null two models have the same law.

As a part of `make bench` it times `compare` on two files, the whole process: the real ones where they are at hand.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
RUNS = 5
sys.path.insert(0, str(ROOT))

from build.scores.intervals import GroupSums, difference_interval, jackknife, score_intervals, scores  # noqa: E402
from build.scores.intervals import scores_without_each as without_each  # noqa: E402
from kernel_src.competition.constraints import component_matrix  # noqa: E402
from kernel_src.competition.metric import weight_row  # noqa: E402

# Photographs of each of the 30 State+Sampling_Date groups of train.csv.
REAL_SIZES = np.array(
    (1, 6, 7, 7, 8, 9, 9, 9, 9, 10, 10, 10, 10, 10, 10, 11, 11, 11, 12, 12, 13, 15, 16, 17, 17, 18, 18, 19, 20, 22)
)
MEANS_G, DEVIATIONS_G = np.array([26.6, 12.0, 6.7]), np.array([25.4, 12.4, 12.1])  # Green, Dead, Clover
VISIT_VARIANCE = np.array([0.45, 0.5, 0.9])  # of the mean of a visit, relative to the square of MEANS_G
TARGET_MEANS_G, TARGET_DEVIATIONS_G = np.array([26.6, 12.0, 6.7, 33.3, 45.3]), np.array([25.4, 12.4, 12.1, 24.9, 27.9])
VISIT_ERROR, SHARED_ERROR, OWN_ERROR, WORSE_ERROR = 0.25, 0.35, 0.25, 0.35  # in deviations of the target


@dataclass(frozen=True, kw_only=True)
class Law:
    """How photographs err."""

    heavy_share: float = 0.05  # of the errors
    heavy_factor: float = 3.0  # so much larger
    growth: float = 0.5  # share of the error that grows in proportion to the grams


LAWS = {
    "main": Law(),
    "no growth": Law(growth=0.0),
    "normal": Law(heavy_share=0.0, growth=0.3),
    "heavier": Law(heavy_share=0.03, heavy_factor=4.0, growth=0.3),
}


def draw(random: np.random.Generator, law: Law, own_errors: tuple[float, ...], sizes: np.ndarray) -> GroupSums:
    """Draw visits (groups,) and what the score needs of them, for one model per own error."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    photograph_variance = (1 + (DEVIATIONS_G / MEANS_G) ** 2) / (1 + VISIT_VARIANCE) - 1
    visit = random.gamma(1 / VISIT_VARIANCE, VISIT_VARIANCE, (len(sizes), 3))[groups]
    photograph = random.gamma(1 / photograph_variance, photograph_variance, (len(groups), 3))
    truth = (MEANS_G * visit * photograph) @ component_matrix().T  # (images, 5)

    def heavy() -> np.ndarray:
        large = random.random((len(groups), 1)) < law.heavy_share
        return random.normal(size=truth.shape) * np.where(large, law.heavy_factor, 1.0)

    def by_visit() -> np.ndarray:
        return random.normal(size=(len(sizes), 5))[groups]

    scale = TARGET_DEVIATIONS_G * (1 - law.growth + law.growth * truth / TARGET_MEANS_G)
    common_visit, common = by_visit(), heavy()
    errors = []
    for own in own_errors:
        error = VISIT_ERROR * (0.8 * common_visit + 0.6 * by_visit()) + SHARED_ERROR * common + own * heavy()
        errors.append(np.bincount(groups, (scale * error) ** 2 @ weight_row()))
    weights = weight_row()
    return GroupSums(
        errors=np.stack(errors),
        weights=np.bincount(groups, np.full(len(groups), weights.sum())),
        firsts=np.bincount(groups, truth @ weights),
        seconds=np.bincount(groups, truth**2 @ weights),
    )


# %%
Ends = tuple[float, float]


def taken(sums: GroupSums, rows: np.ndarray) -> GroupSums:
    """Return the groups of these numbers."""
    return GroupSums(
        errors=sums.errors[:, rows], weights=sums.weights[rows], firsts=sums.firsts[rows], seconds=sums.seconds[rows]
    )


def methods(sums: GroupSums, contrast: np.ndarray, random: np.random.Generator) -> dict[str, Ends]:
    """Return the interval of each method for `contrast @ scores`."""
    from scipy.special import stdtrit

    from build.scores.intervals import kurtosis_freedom

    estimate, parts = float(contrast @ scores(sums)), contrast @ without_each(sums)
    plain = jackknife(estimate, parts)
    chosen = jackknife(estimate, parts, freedom=kurtosis_freedom(parts))
    groups = sums.groups
    reach = 1.96 * np.sqrt((groups - 1) / groups * ((parts - parts.mean()) ** 2).sum())
    # Delete-m jackknife for unequal m: Busing, Meijer & van der Leeden, Statistics and Computing 9, 1999.
    h = sums.weights.sum() / sums.weights
    centre = groups * estimate - ((1 - 1 / h) * parts).sum()
    unequal = float(stdtrit(groups - 1, 0.975)) * np.sqrt(
        ((h * estimate - (h - 1) * parts - centre) ** 2 / (h - 1)).mean()
    )
    rows = random.integers(0, groups, (BOOTSTRAPS, groups))
    weight, first, second = (total[rows].sum(1) for total in (sums.weights, sums.firsts, sums.seconds))
    drawn = contrast @ (1 - sums.errors[:, rows].sum(2) / (second - first**2 / weight))
    low, high = np.quantile(drawn, (0.025, 0.975)).tolist()
    return {
        "group jackknife, t with kurtosis": (chosen.low, chosen.high),
        "group jackknife, t": (plain.low, plain.high),
        "group jackknife, normal": (estimate - reach, estimate + reach),
        "delete-m jackknife, t": (estimate - unequal, estimate + unequal),
        "percentile group bootstrap": (low, high),
    }


BOOTSTRAPS = 1000
SCORE, DIFFERENCE, NULL = np.array([1.0, 0, 0]), np.array([-1.0, 0, 1]), np.array([-1.0, 1, 0])
MODELS = (OWN_ERROR, OWN_ERROR, WORSE_ERROR)


def true_scores(random: np.random.Generator, law: Law, visits: int = 60_000) -> np.ndarray:
    """Return the scores of the three models on very many visits; the first two are one law."""
    found = scores(draw(random, law, MODELS, random.choice(REAL_SIZES, visits)))
    return np.array([found[:2].mean(), found[:2].mean(), found[2]])


def method_rates(law: Law, draws: int, seed: int = 0) -> dict[str, tuple[float, float, float]]:
    """Return of each method: coverage of a score, coverage of a difference, size under the null."""
    random = np.random.default_rng(seed)
    true = true_scores(random, law)
    held: dict[str, np.ndarray] = {}
    for _ in range(draws):
        sums = draw(random, law, MODELS, REAL_SIZES)
        for column, contrast in enumerate((SCORE, DIFFERENCE, NULL)):
            for name, (low, high) in methods(sums, contrast, random).items():
                held.setdefault(name, np.zeros(3))[column] += low <= contrast @ true <= high
    return {name: (*(count[:2] / draws).tolist(), 1 - count[2] / draws) for name, count in held.items()}


def kit_rates(law: Law, draws: int, seed: int = 0) -> dict[str, float]:
    """Return the same three rates of the kit's own two functions."""
    random = np.random.default_rng(seed)
    true = true_scores(random, law)
    counts = {"score": 0, "difference": 0, "null rejected": 0}
    for _ in range(draws):
        sums = draw(random, law, MODELS, REAL_SIZES)
        score, difference = score_intervals(sums)[0], difference_interval(sums, 0, 2)
        counts["score"] += int(score.low <= true[0] <= score.high)
        counts["difference"] += int(difference.low <= true[2] - true[0] <= difference.high)
        counts["null rejected"] += int(difference_interval(sums, 0, 1).carried)
    return {name: count / draws for name, count in counts.items()}


def measure(quick: bool) -> dict[str, Any]:
    """Return `validation`: seconds of a whole `compare` of two files, by the wall and of the processor."""
    from bench.budget import rounds
    from bench.pairs import amount

    with tempfile.TemporaryDirectory() as scratch:
        real = sorted((DATA / "oof").glob("*.csv"))[:2]
        files, train = (real, DATA / "train.csv") if len(real) == 2 else _painted(Path(scratch))
        verb = [sys.executable, "-m", "build", "compare", *map(str, files), "--train-csv", str(train)]
        load, walls, processors = os.getloadavg()[0], [], []
        for _ in rounds(1 if quick else RUNS):
            before, start = _children_s(), time.perf_counter()
            subprocess.run(verb, cwd=ROOT, check=True, capture_output=True)
            walls.append(time.perf_counter() - start)
            processors.append(_children_s() - before)
    told = {"files": "real" if len(real) == 2 else "painted", "load_before": round(load, 1)}
    return {
        "validation": {
            "compare_s": amount(walls, "s") | told,
            "compare_processor_s": amount(processors, "s"),
        }
    }


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _painted(folder: Path) -> tuple[list[Path], Path]:
    """Write a table of visits as large as the real ones, and two files of predictions."""
    import pandas as pd

    from build.core.long_tables import wide_to_long
    from kernel_src.competition.constants import TARGETS

    random = np.random.default_rng(0)
    visits = np.repeat(np.arange(len(REAL_SIZES)), REAL_SIZES)
    grams = random.gamma(1, MEANS_G, (len(visits), 3)) @ component_matrix().T
    image_ids = [f"ID{i}" for i in range(len(visits))]
    train = pd.DataFrame(wide_to_long(image_ids, grams).items(), columns=["sample_id", "target"])
    train[["image_id", "target_name"]] = train["sample_id"].str.split("__", expand=True)
    train["image_path"] = "train/" + train["image_id"] + ".jpg"
    visit_of = dict(zip(image_ids, visits.tolist(), strict=True))
    train["State"] = "Tas"
    train["Sampling_Date"] = [f"2015/{1 + visit_of[one] // 28}/{1 + visit_of[one] % 28}" for one in train["image_id"]]
    train.drop(columns="image_id").to_csv(folder / "train.csv", index=False)
    files = []
    for name in ("a", "b"):
        table = pd.DataFrame(grams * random.normal(1, 0.3, grams.shape), columns=list(TARGETS))
        table.insert(0, "image_id", image_ids)
        table.to_csv(folder / f"{name}.csv", index=False)
        files.append(folder / f"{name}.csv")
    return files, folder / "train.csv"


def main() -> None:
    """Print a table per law."""
    draws = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    began = time.perf_counter()
    print(f"{draws} draws: a rate of .95 has a standard error of {np.sqrt(0.95 * 0.05 / draws):.4f}")
    for name, law in LAWS.items():
        print(f"\n{name}: {law}, true {true_scores(np.random.default_rng(0), law).round(3)}")
        for method, (score, difference, size) in method_rates(law, draws).items():
            print(f"  {method:33s} score {score:.3f}  difference {difference:.3f}  size {size:.3f}", flush=True)
        print(f"  the kit's own {kit_rates(law, draws)}")
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
