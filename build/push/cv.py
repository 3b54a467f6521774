"""The cross-validation score of a bundle, with its interval: what a public score is held against.

The interval is computed once, when the submission is recorded (or by `make scores` for a row that has none yet), and
stored in the ledger: it needs train.csv, which is not committed, and a teammate's clone should draw the same picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from build.push.ledger import Score
from kernel_src.common.files import sha256_of
from kernel_src.common.manifest import CONFIG_FILE, MANIFEST_FILE, read_bundle_json

if TYPE_CHECKING:
    import numpy as np

# Where a training table may lie: what `make data` downloads, what `make demo` paints.
TRAIN_TABLES = (Path("data/csiro-biomass/train.csv"), Path("out/demo/competition/train.csv"))
OOF_FILE = "oof.csv"  # as in kernel_src.common.runs, whose import would load torch
DRAWS = 1000
SEED = 0


@dataclass(frozen=True, kw_only=True)
class CrossValidation:
    """What a bundle says about itself."""

    r2: float
    formula: str
    folds: str
    low: float | None = None  # None: no training table at hand that has these images
    high: float | None = None


def cross_validation(bundle: Path, tables: Sequence[Path] = TRAIN_TABLES) -> CrossValidation:
    """Read the out-of-fold score from the bundle; the interval too where a training table is at hand.

    Raises:
        ValueError: the bundle's config cannot be read.
        KeyError: it is no config of a bundle.
    """
    config = read_bundle_json(bundle, CONFIG_FILE)
    experiment, oof = config["experiment"], config["oof"]
    folds = (
        f"{len(config['folds'])} of {experiment['folds']} {experiment['split']} folds "
        f"(seed {experiment['split_seed']}), {oof['images']} images"
    )
    low, high = oof_interval(bundle, experiment["constraint"], tables) or (None, None)
    return CrossValidation(r2=float(oof["r2"]), formula=str(oof["formula"]), folds=folds, low=low, high=high)


def with_cv(score: Score, bundle: Path, tables: Sequence[Path] = TRAIN_TABLES) -> Score:
    """Return the score with the bundle's cross-validation in it."""
    cv = cross_validation(bundle, tables)
    return replace(score, cv=cv.r2, cv_low=cv.low, cv_high=cv.high, cv_formula=cv.formula, cv_folds=cv.folds)


def with_interval(score: Score, bundles: Sequence[Path], tables: Sequence[Path] = TRAIN_TABLES) -> Score:
    """Fill in a missing interval from the bundle of exactly this score, if it still lies here."""
    if score.cv is None or score.cv_low is not None:
        return score
    for bundle in bundles:
        manifest = bundle / MANIFEST_FILE
        if manifest.is_file() and sha256_of(manifest) == score.bundle_sha256:
            return with_cv(score, bundle, tables)
    return score


def oof_interval(bundle: Path, constraint: str, tables: Sequence[Path]) -> tuple[float, float] | None:
    """Return the 95 % interval of the out-of-fold score from the first table that has all its images."""
    import pandas as pd

    from kernel_src.common.competition import TARGETS
    from kernel_src.common.constraints import constrain
    from kernel_src.common.tables import group_labels, read_train, target_array

    if not (bundle / OOF_FILE).is_file():
        return None
    oof = pd.read_csv(bundle / OOF_FILE)
    for table in filter(Path.is_file, tables):
        train = read_train(table).set_index("image_id")
        if not set(oof["image_id"]) <= set(train.index):
            continue
        seen = train.loc[oof["image_id"]]
        predicted = constrain(oof[list(TARGETS)].to_numpy(float), constraint)
        return group_bootstrap(target_array(seen), predicted, group_labels(seen))
    return None


def group_bootstrap(
    truth: "np.ndarray", predicted: "np.ndarray", groups: "np.ndarray", draws: int = DRAWS
) -> tuple[float, float] | None:
    """Return the 2.5 and 97.5 % points of the score when whole groups are drawn again, with replacement.

    Photographs of one visit resemble each other, so drawing single ones would promise too narrow an interval (Efron and
    Tibshirani, An Introduction to the Bootstrap, ch. 8: resample the independent unit). `truth` and `predicted` are
    (images, 5) in grams, `groups` (images,). None where there are fewer than two groups.
    """
    import numpy as np

    from kernel_src.common.metric import weighted_r2

    rows_of = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    if len(rows_of) < 2:
        return None
    random, scores = np.random.default_rng(SEED), []
    for _ in range(draws):
        rows = np.concatenate([rows_of[index] for index in random.integers(len(rows_of), size=len(rows_of))])
        try:
            scores.append(weighted_r2(truth[rows], predicted[rows]))
        except ValueError:  # one group drawn throughout, and it is constant: no score
            continue
    if not scores:
        return None
    low, high = np.quantile(scores, (0.025, 0.975))
    return float(low), float(high)
