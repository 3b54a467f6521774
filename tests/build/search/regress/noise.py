"""Shows on pure noise what choosing inside the folds is worth: `regress` beside two naive ways to choose.

Each draw has 92 images of 12 visits and 80 features that know nothing of the grams; the scored folds keep visits whole.
Everything is the official score minus that of the mean of the other folds, so 0 is no skill.

- nested: the verb's own procedure, all families; the scored rows are never seen.
- own folds: the same candidates blended by the very folds that they are scored on.
- picked: the verb's own procedure, but on the ten features that correlate best with Total over all rows, the scored
  ones too (Hastie et al., The Elements of Statistical Learning, 2009, section 7.10.2).
"""

from collections.abc import Sequence

import numpy as np

from build.search.regress.candidates import Family
from build.search.regress.nested import blend_weights, guesses, nested_predictions, one_thread
from build.search.regress.rows import TrainingRows, ValuesElsewhere
from kernel_src.competitions.biomass.constants import IDENTITIES, TARGETS
from kernel_src.competitions.biomass.metric import weighted_r2

SIZES = (12, 3, 8, 15, 6, 9, 4, 11, 7, 5, 10, 2)  # images of each visit
GROUPS = np.repeat([f"visit {i:02}" for i in range(len(SIZES))], SIZES)
FOLDS = np.repeat(np.arange(len(SIZES)) % 4, SIZES)
PICKED = 10  # features


def problem(seed: int, signal: float) -> tuple[np.ndarray, np.ndarray]:
    """80 features of 92 images, and grams that agree with the identities; signal 0 is pure noise."""
    random = np.random.default_rng(seed)
    causes = random.normal(0, 0.6, (len(GROUPS), 5))
    features = random.normal(0, 1, (len(GROUPS), 80)) + signal * np.tile(causes, 16)
    grams = np.exp(2 + causes)
    for total, parts in IDENTITIES.items():
        grams[:, TARGETS.index(total)] = grams[:, [TARGETS.index(part) for part in parts]].sum(1)
    return features, grams


def means_of_the_others(grams: np.ndarray) -> np.ndarray:
    """Predict every image by the mean of the other folds."""
    return np.stack([grams[fold != FOLDS].mean(0) for fold in FOLDS])


def scored_on_its_own_folds(features: np.ndarray, grams: np.ndarray, families: Sequence[Family]) -> float:
    """Blend all candidates by the very folds they are scored on."""
    predicted: dict[str, np.ndarray] = {}
    for fold in np.unique(FOLDS):
        left = fold == FOLDS
        for family in families:
            rows, elsewhere = TrainingRows(features[~left]), ValuesElsewhere(features[left])
            for member, guess in guesses(family, rows, grams[~left], elsewhere, 0):
                predicted.setdefault(member.name, np.zeros_like(grams))[left] = guess
    stacked = np.stack(list(predicted.values()))
    weights = blend_weights(list(predicted), stacked, grams, GROUPS, 0)
    return weighted_r2(grams, np.einsum("mt,mnt->nt", weights, stacked))


def picked_before_the_folds(features: np.ndarray, grams: np.ndarray) -> np.ndarray:
    """Keep the features that correlate best with Total over all rows."""
    total = grams[:, TARGETS.index("Dry_Total_g")]
    correlation = [abs(np.corrcoef(column, total)[0, 1]) for column in features.T]
    return features[:, np.argsort(correlation)[-PICKED:]]


def noise_scores(seed: int, families: Sequence[Family]) -> dict[str, float]:
    """Return the score above the floor of each way to choose, on one draw, by one thread."""
    features, grams = problem(seed, 0.0)
    floor = weighted_r2(grams, means_of_the_others(grams))

    def nested(these: np.ndarray) -> float:
        (guess,) = nested_predictions(these, grams, GROUPS, [FOLDS], seed=0, families=families)
        return weighted_r2(grams, guess) - floor

    with one_thread():
        return {
            "nested": nested(features),
            "own folds": scored_on_its_own_folds(features, grams, families) - floor,
            "picked": nested(picked_before_the_folds(features, grams)),
        }
