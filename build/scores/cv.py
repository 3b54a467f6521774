"""The cross-validation score of a bundle in the ledger.

The interval is computed once, when the submission is recorded (or by `make scores` for a row that has none yet), and
stored in the ledger: it needs train.csv, which is not committed, and a teammate's clone should draw the same picture.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from build.scores.cross_validation import TRAIN_TABLES, cross_validation
from build.scores.ledger import Score
from kernel_src.runtime.files import sha256_of
from kernel_src.runtime.manifest import MANIFEST_FILE


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
