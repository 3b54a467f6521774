"""Blends of out-of-fold predictions, judged as if they were models: what is fitted never sees the rows it is scored on.

1. Candidates, simplest first: the best single file; the mean; non-negative shares that add up to one; non-negative
   weights per target; a Ridge per target that is pulled towards the mean.
2. Outer folds of whole groups: on the rows outside a fold, inner folds of whole groups choose the candidate, which is
   then fitted on all of them and predicts the fold. This *nested* blend is what is compared.
3. From best single to mean to nested blend, each step is recommended only if the paired interval carries it. The best
   single is chosen on the very rows that it is scored on: the advantage is its own.

Stacking on out-of-fold predictions: Wolpert, Neural Networks 5, 1992; non-negative: Breiman, Machine Learning 24, 1996.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from build.scores.comparison import Comparison, compare
from build.scores.intervals import Interval
from build.scores.oof_files import Validation
from kernel_src.competition.splits import fold_numbers
from kernel_src.competitions.biomass.constants import TARGETS
from kernel_src.competitions.biomass.constraints import constrain
from kernel_src.competitions.biomass.metric import weighted_r2
from kernel_src.competitions.held_rules import weight_row
from kernel_src.inference.stacking import Stack

OUTER_FOLDS, INNER_FOLDS = 10, 5
RIDGE_PENALTIES = (1.0, 10.0, 100.0)  # times the variance of the models around their mean, times the images
SUM_TO_ONE = 1e3  # weight of that demand, relative to the data: exact to a millionth

Fit = Callable[[np.ndarray, np.ndarray], Stack]  # predictions (models, images, 5), truth (images, 5)


def best_single(predictions: np.ndarray, truth: np.ndarray) -> Stack:
    """Take the model with the best score."""
    best = int(np.argmax([weighted_r2(truth, one) for one in predictions]))
    return _same_for_all(np.eye(len(predictions))[best])


def mean(predictions: np.ndarray, truth: np.ndarray) -> Stack:
    """Take all alike."""
    return _same_for_all(np.full(len(predictions), 1 / len(predictions)))


def shares(predictions: np.ndarray, truth: np.ndarray) -> Stack:
    """Fit non-negative shares, one per model for all targets, that add up to one."""
    from scipy.optimize import nnls

    root = np.sqrt(weight_row())
    rows = (predictions * root).reshape(len(predictions), -1).T
    scale = SUM_TO_ONE * np.sqrt((rows**2).sum())
    fitted, _ = nnls(np.vstack([rows, np.full(len(predictions), scale)]), np.append((truth * root).ravel(), scale))
    return _same_for_all(fitted / fitted.sum())


def weights_per_target(predictions: np.ndarray, truth: np.ndarray) -> Stack:
    """Fit non-negative weights for each target by itself."""
    from scipy.optimize import nnls

    rows = [nnls(predictions[:, :, t].T, truth[:, t])[0] for t in range(len(TARGETS))]
    return Stack(weights=np.array(rows), intercept_g=np.zeros(len(TARGETS)))


def ridge(penalty: float) -> Fit:
    """Make the fit of a Ridge per target: how far each model's weight departs from the mean is penalised."""

    def fit(predictions: np.ndarray, truth: np.ndarray) -> Stack:
        weights, intercepts = [], []
        for t in range(len(TARGETS)):
            middle = predictions[:, :, t].mean(0)
            around = (predictions[:, :, t] - middle).T  # (images, models)
            rows, wanted = around - around.mean(0), truth[:, t] - middle
            strength = penalty * max(float((rows**2).sum()) / len(predictions), 1e-9)
            gram = rows.T @ rows + strength * np.eye(len(predictions))
            departure = np.linalg.solve(gram, rows.T @ (wanted - wanted.mean()))
            weights.append(1 / len(predictions) + departure - departure.mean())
            intercepts.append(wanted.mean() - float(around.mean(0) @ departure))
        return Stack(weights=np.array(weights), intercept_g=np.array(intercepts))

    return fit


CANDIDATES: dict[str, Fit] = {
    "best single": best_single,
    "mean": mean,
    "shares": shares,
    "weights per target": weights_per_target,
    **{f"ridge {penalty:g}": ridge(penalty) for penalty in RIDGE_PENALTIES},
}


def _same_for_all(row: np.ndarray) -> Stack:
    return Stack(weights=np.tile(row, (len(TARGETS), 1)), intercept_g=np.zeros(len(TARGETS)))


# %%
def applied(stack: Stack, predictions: np.ndarray, constraint: str) -> np.ndarray:
    """Blend predictions (models, images, 5) to (images, 5) as the inference notebook does, the constraint last."""
    return constrain(stack.blended(list(predictions)), constraint)


def inner_scores(validation: Validation, rows: np.ndarray, constraint: str, seed: int = 0) -> dict[str, float]:
    """Score every candidate on inner folds of whole groups among `rows` (numbers of images)."""
    truth, predictions, groups = validation.truth[rows], validation.predictions[:, rows], validation.groups[rows]
    folds = fold_numbers("group", groups, truth[:, -1], min(INNER_FOLDS, len(set(groups))), seed)
    found = {}
    for name, fit in CANDIDATES.items():
        predicted = np.empty_like(truth)
        for fold in range(int(folds.max()) + 1):
            inside, own = folds != fold, folds == fold
            predicted[own] = applied(fit(predictions[:, inside], truth[inside]), predictions[:, own], constraint)
        found[name] = weighted_r2(truth, predicted)
    return found


def chosen(scored: dict[str, float]) -> str:
    """Return the best candidate; of equals the simplest."""
    return max(scored, key=lambda name: scored[name])


def nested(validation: Validation, constraint: str, seed: int = 0) -> tuple[np.ndarray, Counter[str]]:
    """Return the nested blend's predictions (images, 5), and how often each candidate was chosen."""
    groups = validation.groups
    folds = fold_numbers("group", groups, validation.truth[:, -1], min(OUTER_FOLDS, len(set(groups))), seed)
    predicted, choices = np.empty_like(validation.truth), Counter[str]()
    for fold in range(int(folds.max()) + 1):
        rest, own = np.flatnonzero(folds != fold), folds == fold
        name = chosen(inner_scores(validation, rest, constraint, seed))
        choices[name] += 1
        stack = CANDIDATES[name](validation.predictions[:, rest], validation.truth[rest])
        predicted[own] = applied(stack, validation.predictions[:, own], constraint)
    return predicted, choices


@dataclass(frozen=True, kw_only=True)
class BlendResult:
    """The three rungs compared, and the stack that a recommendation would use."""

    comparison: Comparison  # of SINGLE, MEAN, NESTED in this order
    single: str  # name of the best file
    choices: Counter[str]  # of the outer folds
    final: str  # the candidate that inner folds choose on all rows
    stack: Stack  # fitted on all rows
    naive_r2: float  # the same stack scored on the rows that it was fitted to: not to be believed
    recommended: str

    def gain(self, a: str, b: str) -> Interval:
        """Return the score of one rung minus that of another."""
        return self.comparison.pair(RUNGS.index(a), RUNGS.index(b))

    def as_json(self) -> dict[str, Any]:
        """Return what `--json` prints: as `compare`, and the choice."""
        return {
            **self.comparison.as_json(),
            "single": self.single,
            "choices": dict(self.choices),
            "naive_r2": self.naive_r2,
            "recommended": self.recommended,
        }


SINGLE, MEAN, NESTED = RUNGS = ("best single", "mean", "nested blend")


def blend_files(validation: Validation, constraint: str) -> BlendResult:
    """Compare best single, mean and nested blend, all after the constraint."""
    predicted, choices = nested(validation, constraint)
    every = np.arange(len(validation.truth))
    final = chosen(inner_scores(validation, every, constraint))
    stack = CANDIDATES[final](validation.predictions, validation.truth)
    constrained = [constrain(one, constraint) for one in validation.predictions]
    best = int(np.argmax([weighted_r2(validation.truth, one) for one in constrained]))
    rungs = np.stack(
        [
            constrained[best],
            applied(mean(validation.predictions, validation.truth), validation.predictions, constraint),
            predicted,
        ]
    )
    compared = replace(validation, names=RUNGS, predictions=rungs, folds=(None,) * len(RUNGS))
    result = BlendResult(
        comparison=compare(compared),
        single=validation.names[best],
        choices=choices,
        final=final,
        stack=stack,
        naive_r2=weighted_r2(validation.truth, applied(stack, validation.predictions, constraint)),
        recommended=SINGLE,
    )
    for rung in (MEAN, NESTED):
        if result.gain(result.recommended, rung).low > 0:
            result = replace(result, recommended=rung)
    return result
