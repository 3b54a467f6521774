"""Adversarial validation: can a classifier tell the images of one fold, or of one state, from the others?

Where it can, the part is unlike the rest, and its score measures another population than theirs. Recognising a visit is
not the question, so no visit is ever in both halves of the classifier's own cross-validation:

1. Deal the groups into five lots. For each lot, a ridge classifier is fitted on the images of the others.
2. Count in the lot how often an image of the part scores above one that is not. Only pairs within a lot count: between
   lots the share of the part differs, which would push the area below 0.5.
3. Repeat with other lots; all pairs together give the area under the curve.
4. What chance gives is found likewise: the same number of groups, drawn at random, called a part. That is why 0.5 is
   not the measure: of the 30 real groups, 95 of 100 random parts of six to eleven stay below .63 to .76, of three
   (as WA has) below .73 to .84; the highest figures are by metadata.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from build.report.diagnostics.subject import NUMBERS, SPECIES_COLUMN, Subject
from kernel_src.competitions.biomass.constants import DATE_COLUMN, STATE_COLUMN

LOTS, REPEATS, DRAWS = 5, 6, 200
PENALTY_IMAGES = 10.0  # ridge penalty on standardised features: weighs as much as so many images
USUAL = 0.95


@dataclass(frozen=True, kw_only=True)
class Separation:
    """How well one part is told from the rest by one set of features."""

    part: str
    by: str  # "metadata", "predictions" or "truth"
    area: float | None  # None where no lot holds images of both
    usual: float | None  # 95 of 100 random parts of as many groups are told apart as well or worse

    @property
    def unlike(self) -> bool:
        """Whether the part is told apart better than chance."""
        return self.area is not None and self.usual is not None and self.area > self.usual


def separations(subject: Subject, labels: np.ndarray, by: Sequence[str]) -> tuple[Separation, ...]:
    """Tell each label, (images,), from the others, by each set of features named.

    A part of one group cannot be told apart: whoever must not recognise the visit has nothing to learn from.
    """
    groups = subject.validation.groups
    names = sorted(set(labels.tolist()))
    columns = [labels == name for name in names]
    whole = all(len(set(labels[groups == group])) == 1 for group in set(groups.tolist()))
    counts = [len(set(groups[column])) if whole else int(column.sum()) for column in columns]
    everything = len(set(groups.tolist())) if whole else len(labels)
    sets = feature_sets(subject)
    random = np.random.default_rng(0)
    units = np.unique(groups, return_inverse=True)[1] if whole else np.arange(len(labels))
    drawn = {
        count: [random.permutation(everything)[units] < count for _ in range(DRAWS)]
        for count in sorted(set(counts))
        if 1 < count < everything - 1
    }
    found = []
    for kind in by:
        own = areas(sets[kind], np.stack(columns, 1), groups)
        usual = {
            count: float(np.nanquantile(areas(sets[kind], np.stack(masks, 1), groups), USUAL))
            for count, masks in drawn.items()
        }
        for name, area, count in zip(names, own, counts, strict=True):
            known = count in usual and bool(np.isfinite(area))
            found.append(
                Separation(
                    part=name, by=kind, area=float(area) if known else None, usual=usual[count] if known else None
                )
            )
    return tuple(found)


def areas(features: np.ndarray, parts: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the area under the curve of each part (images, parts) of bool; NaN where no lot holds both classes."""
    names, numbers = np.unique(groups, return_inverse=True)
    won, pairs = np.zeros(parts.shape[1]), np.zeros(parts.shape[1])
    random = np.random.default_rng(0)
    for _ in range(REPEATS):
        lots = (random.permutation(len(names)) % min(LOTS, len(names)))[numbers]
        for lot in range(int(lots.max()) + 1):
            fit, held = lots != lot, lots == lot
            scores = _ridge_scores(features[fit], parts[fit].astype(float), features[held])
            more, of = pairs_won(scores, parts[held])
            learnable = parts[fit].any(0) & ~parts[fit].all(0)
            won += np.where(learnable, more, 0)
            pairs += np.where(learnable, of, 0)
    return np.divide(won, pairs, out=np.full(len(won), np.nan), where=pairs > 0)


def _ridge_scores(features: np.ndarray, parts: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Fit a ridge on 0 and 1 for every part at once and score the images held out."""
    mean, deviation = features.mean(0), features.std(0)
    scale = np.where(deviation > 1e-9, deviation, 1.0)
    x, new = (features - mean) / scale, (held - mean) / scale
    gram = x.T @ x + PENALTY_IMAGES * np.eye(x.shape[1])
    return new @ np.linalg.solve(gram, x.T @ (parts - parts.mean(0)))


# %%
def feature_sets(subject: Subject) -> dict[str, np.ndarray]:
    """Return what a classifier may look at, each (images, features)."""
    return {
        "metadata": metadata_features(subject.metadata),
        "predictions": _grams(subject.predicted),
        "truth": _grams(subject.validation.truth),
    }


def _grams(grams: np.ndarray) -> np.ndarray:
    return np.hstack([grams, np.log1p(np.clip(grams, 0, None))])


def metadata_features(metadata: pd.DataFrame) -> np.ndarray:
    """Encode State, month and Species as 0 and 1, and the numbers of train.csv as they are; (images, features).

    The date itself is left out: it is the visit.
    """
    month = pd.to_datetime(metadata[DATE_COLUMN], errors="coerce").dt.month
    columns = [metadata[STATE_COLUMN].astype(str), month.astype(str)]
    if SPECIES_COLUMN in metadata:
        columns.append(metadata[SPECIES_COLUMN].astype(str))
    encoded = [pd.get_dummies(column).to_numpy(float) for column in columns]
    encoded += [
        metadata[[name]].astype(float).fillna(metadata[name].astype(float).mean()).to_numpy()
        for name in NUMBERS
        if name in metadata
    ]
    return np.hstack(encoded)


# %%
def pairs_won(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count how often a positive row scores above a negative one, ties as half.

    Both are (rows, columns). Returns the pairs won and all pairs of each column (Mann & Whitney 1947); their quotient
    is the area under the curve.
    """
    from scipy.stats import rankdata

    ranks = rankdata(scores, axis=0)
    count = positive.sum(0)
    won = (ranks * positive).sum(0) - count * (count + 1) / 2
    return won, count * (len(scores) - count)


def area_under_curve(scores: np.ndarray, positive: np.ndarray) -> float | None:
    """Return the share of pairs won, both (rows,); None where one class is empty."""
    won, pairs = pairs_won(scores[:, None], positive[:, None])
    return float(won[0] / pairs[0]) if pairs[0] else None
