"""The cross-validation score of a run or a bundle with interval and floors: what a public score is held against.

Interval and floors need the training table, which is not committed: they are computed where a table that has all the
images is at hand, and are not known elsewhere. The ledger stores them once they are: a teammate's clone draws the same
picture.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from build.scores.ledger import Score
from kernel_src.competition.choice import DEFAULT_COMPETITION
from kernel_src.competitions.held_facts import facts
from kernel_src.competitions.held_reviews import review
from kernel_src.competitions.held_rules import rules
from kernel_src.runtime.files import CONFIG_FILE, sha256_of
from kernel_src.runtime.manifest import MANIFEST_FILE, read_bundle_json

OOF_FILE = "oof.csv"  # as in kernel_src.training.runs, whose import would load torch


def train_tables() -> tuple[Path, ...]:
    """Return where a training table of the competition may lie: what `make data` downloads, what `make demo` makes."""
    own = facts()
    demo = Path("out", "demo") / ("" if own.competition == DEFAULT_COMPETITION else own.competition)
    return Path("data", own.slug, own.train_csv), demo / "competition" / own.train_csv


@dataclass(frozen=True, kw_only=True)
class CrossValidation:
    """What a run or a bundle says about itself."""

    score: float
    formula: str
    folds: str
    images: int
    low: float | None = None  # 95 % interval; None: no training table at hand that has these images
    high: float | None = None
    groups: int | None = None  # of its images
    floors: dict[str, float] = field(default_factory=dict)  # on its images


def cross_validation(folder: Path, tables: Sequence[Path] | None = None) -> CrossValidation:
    """Read the out-of-fold score from a run or a bundle; interval and floors too where a training table is at hand.

    Raises:
        BundleError: the config cannot be read.
        KeyError: it is not a config of a run or a bundle.
    """
    tables = train_tables() if tables is None else tables
    config = read_bundle_json(folder, CONFIG_FILE)
    experiment, oof = config["experiment"], config["oof"]
    known = CrossValidation(
        score=float(oof["score"]),
        formula=str(oof["formula"]),
        folds=f"{_folds(config)}, {oof['images']} images",
        images=int(oof["images"]),
    )
    if not (folder / OOF_FILE).is_file():
        return known
    table = find_table(folder / OOF_FILE, tables)
    if table is None:
        return known
    return _with_interval(known, folder / OOF_FILE, experiment["predict"]["constraint"], table)


def _folds(config: Mapping[str, Any]) -> str:
    experiment = config["experiment"]
    if is_frozen(experiment):
        return f"every {rules().group_name} left out once, everything chosen inside the others"
    total = split_text(experiment)
    missing = ", ".join(config.get("missing_folds") or ())
    return f"{len(config['folds'])} of {total}{f', without fold {missing}, which could not be trained' * bool(missing)}"


def split_text(experiment: Mapping[str, Any]) -> str:
    """Say how a recipe, as JSON holds it, divides the rows into folds."""
    split = experiment["data"]["split"]
    if "folds" not in split:
        return f"folds by {split['kind']}"
    return f"{split['folds']} folds by {split['kind']}, seed {split['seed']}"


def is_frozen(experiment: Mapping[str, Any]) -> bool:
    """Whether of a recipe, as JSON holds it, a regressor on frozen features predicts (build/search/regress/)."""
    return bool(experiment["head"].get("kind") == "RegressorHead")


def is_competitions_own(means: Mapping[str, float]) -> bool:
    """Whether the targets' means are those of the real training table; a part of it, or a painted table, has others.

    Where a competition does not say what its real means are, nobody can tell.
    """
    known, within = review().data_means, review().means_tolerance
    return bool(known) and all(abs(means.get(target, -1.0) - mean) < within for target, mean in known.items())


def with_cv(score: Score, bundle: Path, tables: Sequence[Path] | None = None) -> Score:
    """Return the score with the bundle's cross-validation in it."""
    cv = cross_validation(bundle, tables)
    return replace(score, cv=cv.score, cv_low=cv.low, cv_high=cv.high, cv_formula=cv.formula, cv_folds=cv.folds)


def with_interval(score: Score, bundles: Sequence[Path], tables: Sequence[Path] | None = None) -> Score:
    """Fill in a missing interval from the bundle of exactly this score, if it still lies here."""
    if score.cv is None or score.cv_low is not None:
        return score
    for bundle in bundles:
        manifest = bundle / MANIFEST_FILE
        if manifest.is_file() and sha256_of(manifest) == score.bundle_sha256:
            return with_cv(score, bundle, tables)
    return score


def find_table(oof: Path, tables: Sequence[Path]) -> Path | None:
    """Return the first training table that has every image of an out-of-fold file."""
    from kernel_src.runtime.csv_table import read_csv

    images = set(read_csv(oof, {"image_id": str})["image_id"])
    if not images:
        return None
    read = rules().read_train
    return next((path for path in tables if path.is_file() and images <= set(read(path)["image_id"])), None)


def _with_interval(known: CrossValidation, oof_path: Path, constraint: str, table: Path) -> CrossValidation:
    from build.scores.intervals import group_scores, score_intervals
    from build.scores.oof_files import read_oof
    from kernel_src.competitions.held_answers import answers

    train = rules().read_train(table).set_index("image_id")
    oof = read_oof(str(oof_path), tuple(train.index)).table
    seen = train.loc[oof.index].reset_index()
    truth, groups = rules().target_array(seen), rules().group_labels(seen)
    count = len(set(groups))
    if count < 2:  # no interval, and no other group whose mean could be a floor
        return replace(known, groups=count)
    predicted = answers().finished(rules().target_array(oof), constraint)
    try:
        (interval,) = score_intervals(group_scores(truth, predicted[None], groups))
    except ValueError:  # with one group left out the truth is constant: a score there is not defined
        return replace(known, groups=count)
    floors = review().reference_points(truth, groups)
    return replace(known, low=interval.low, high=interval.high, groups=count, floors=floors)
