"""Prints the table "What was tried" of docs/regress.md: ways to blend the candidates of `regress`, and single models.

    .venv/bin/python bench/regress_tried.py ../shared/data/features/dinov2_vits14_cls.npz ../shared/data/train.csv

One nested pass over GroupKFold(5): inside each outer fold every candidate is fitted on each inner fold and on the whole
training part, once. All rows of the table share these predictions: a rule sees those of the inner folds and gives
weights to the candidates, the outer fold is predicted by them. Official metric over all rows, projected.

The last lines: generalised least squares that knows that photographs of one visit err together, leave-group-out.
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from build.search.regress.blending import (  # noqa: E402
    blend_weights,
    draw_shares,
    error_products,
    greedy,
    of_stand_ins,
    spread_shares,
    stand_ins,
)
from build.search.regress.candidates import FAMILIES, KERNEL_PENALTIES, KERNEL_WIDTHS, RIDGE_PENALTIES, Family  # noqa: E402
from build.search.regress.nested import InnerGuesses, guesses, inner_guesses, one_thread  # noqa: E402
from build.search.regress.rows import TrainingRows, ValuesElsewhere  # noqa: E402
from kernel_src.competition.constraints import project  # noqa: E402
from kernel_src.competition.metric import weight_row, weighted_r2  # noqa: E402

SEED = 42
SHARED_ERRORS = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0)  # ρ, variance of a visit's error over a photograph's own


@dataclass(frozen=True, kw_only=True)
class OuterFold:
    """One outer fold: what a rule may see, and what its weights are applied to."""

    left: np.ndarray  # (n,) of bool
    inner: InnerGuesses  # of the other rows
    grams: np.ndarray  # of the other rows
    groups: np.ndarray
    outer: dict[str, np.ndarray]  # candidate, screened out or not → (m, 5) for the rows of the fold
    kinds: dict[str, str]


def outer_fold(
    features: np.ndarray, grams: np.ndarray, groups: np.ndarray, left: np.ndarray, seed: int, families: Sequence[Family]
) -> OuterFold:
    """Fit every candidate inside an outer fold, by one thread."""
    with one_thread():
        inner = inner_guesses(features[~left], grams[~left], groups[~left], seed=seed, families=families)
        rows, elsewhere = TrainingRows(features[~left]), ValuesElsewhere(features[left])
        outer, kinds = {}, {}
        for family in families:
            for member, guess in guesses(family, rows, grams[~left], elsewhere, seed):
                outer[member.name], kinds[member.name] = guess, f"{family.name} {member.target_scale}"
    return OuterFold(left=left, inner=inner, grams=grams[~left], groups=groups[~left], outer=outer, kinds=kinds)


# %%
@dataclass(frozen=True, kw_only=True)
class Inside:
    """What a rule sees: kinds and predictions (candidates, n, 5) of the inner folds, truth (n, 5), groups (n,)."""

    kinds: list[str]
    predicted: np.ndarray
    truth: np.ndarray
    groups: np.ndarray
    seed: int


Rule = Callable[[Inside], np.ndarray]  # weights (candidates, 5)


def best_single(inside: Inside) -> np.ndarray:
    """Take the candidate with the best score."""
    scores = [weighted_r2(inside.truth, one) for one in inside.predicted]
    return np.repeat(np.eye(len(scores))[int(np.argmax(scores))][:, None], 5, 1)


def all_settings(blend: Callable[[np.ndarray, int], np.ndarray], per_target: bool) -> Rule:
    """Make the rule that blends all candidates, by shares for all targets or for each its own."""

    def rule(inside: Inside) -> np.ndarray:
        products = error_products(inside.predicted, inside.truth, inside.groups)
        weightings = np.eye(5) if per_target else [weight_row()]
        columns = [blend(np.einsum("t,gtmk->gmk", weights, products), inside.seed) for weights in weightings]
        return np.stack(columns if per_target else columns * 5, 1)

    return rule


def on_all_groups(products: np.ndarray, seed: int) -> np.ndarray:
    """Blend greedily once, on all groups."""
    return greedy(products.sum(0))


def plain_mean(inside: Inside) -> np.ndarray:
    """Take the best of each family and scale, for each target its own setting, all alike."""
    stands = stand_ins(inside.kinds, ((inside.predicted - inside.truth) ** 2).sum(1))
    return spread_shares(np.full(len(stands), 1 / len(stands)), stands, len(inside.kinds))


def shared_setting(inside: Inside) -> np.ndarray:
    """Blend on draws of groups the best of each family and scale, one setting for all targets."""
    costs = ((inside.predicted - inside.truth) ** 2).sum(1) @ weight_row()
    stands = stand_ins(inside.kinds, np.repeat(costs[:, None], 5, 1))
    products = error_products(of_stand_ins(inside.predicted, stands), inside.truth, inside.groups)
    shares = draw_shares(np.einsum("t,gtmk->gmk", weight_row(), products), inside.seed)
    return spread_shares(shares, stands, len(inside.kinds))


def as_the_verb(inside: Inside) -> np.ndarray:
    """Do what `regress` does."""
    return blend_weights(inside.kinds, inside.predicted, inside.truth, inside.groups, inside.seed)


@dataclass(frozen=True, kw_only=True)
class Way:
    """A row of the table: a rule, which candidates it is given, and whether its blend is projected."""

    name: str
    rule: Rule
    keeps: Callable[[str], bool] = lambda kind: True
    projected: bool = True


VERB = "draws, best of each family and scale, a setting per target (what the verb does)"
WAYS = (
    Way(name="best single candidate by the inner folds", rule=best_single),
    Way(name="greedy, weights per target, all settings", rule=all_settings(on_all_groups, True)),
    Way(name="greedy, shared weights, all settings", rule=all_settings(on_all_groups, False)),
    Way(name="plain mean of the best of each family and scale", rule=plain_mean),
    Way(name="draws of groups, weights per target, all settings", rule=all_settings(draw_shares, True)),
    Way(name="draws of groups, shared weights, all settings", rule=all_settings(draw_shares, False)),
    Way(name="draws, best of each family and scale, shared setting", rule=shared_setting),
    Way(name=VERB, rule=as_the_verb),
    Way(name="… without boosting", rule=as_the_verb, keeps=lambda kind: not kind.startswith("gradient boosting")),
    Way(name="… without the networks", rule=as_the_verb, keeps=lambda kind: not kind.startswith("networks")),
    Way(name="… √ grams only", rule=as_the_verb, keeps=lambda kind: kind.endswith(" sqrt")),
    Way(name="… without the projection", rule=as_the_verb, projected=False),
)


def predicted_by(way: Way, folds: Sequence[OuterFold], grams: np.ndarray, seed: int) -> np.ndarray:
    """Predict every row (n, 5) by the weights that a way finds inside its outer fold."""
    result = np.zeros_like(grams)
    for fold in folds:
        names = [name for name in fold.inner.predicted if way.keeps(fold.inner.kinds[name])]
        inside = Inside(
            kinds=[fold.inner.kinds[name] for name in names],
            predicted=np.stack([fold.inner.predicted[name] for name in names]),
            truth=fold.grams,
            groups=fold.groups,
            seed=seed,
        )
        blend = np.einsum("mt,mnt->nt", way.rule(inside), np.stack([fold.outer[name] for name in names]))
        result[fold.left] = project(blend) if way.projected else blend
    return result


def single_scores(folds: Sequence[OuterFold], grams: np.ndarray) -> dict[str, float]:
    """Return the score of each kind by itself, its setting the best on the scored folds, so optimistic."""
    best: dict[str, float] = {}
    for name, kind in folds[0].kinds.items():
        if all(name in fold.outer for fold in folds):
            predicted = np.zeros_like(grams)
            for fold in folds:
                predicted[fold.left] = project(fold.outer[name])
            best[kind] = max(best.get(kind, -np.inf), weighted_r2(grams, predicted))
    return best


# %%
def shared_error_scores(features: np.ndarray, grams: np.ndarray, groups: np.ndarray) -> dict[str, list[float]]:
    """Return for each kernel the leave-group-out score at each ρ: covariance I + ρ Z Zᵀ, Z the visits; √ grams.

    Width and penalty are the best on the scored rows, so optimistic.
    """
    from joblib import Parallel, delayed

    everyone = np.unique(groups)
    parts = Parallel(n_jobs=2)(delayed(without_group)(features, grams, groups, group) for group in everyone)
    scores: dict[str, list[float]] = {}
    for kind in ("rbf", "linear"):
        best = [-np.inf] * len(SHARED_ERRORS)
        for key in parts[0]:
            if key[0] == kind:
                predicted = np.zeros_like(grams)
                for group, part in zip(everyone, parts, strict=True):
                    predicted[groups == group] = part[key]
                at = SHARED_ERRORS.index(key[-1])
                best[at] = max(best[at], weighted_r2(grams, project(predicted)))
        scores[kind] = best
    return scores


def without_group(
    features: np.ndarray, grams: np.ndarray, groups: np.ndarray, group: str
) -> dict[tuple[str, float, float, float], np.ndarray]:
    """Predict the rows of one group from the others, at every kernel, width, penalty and ρ."""
    left = groups == group
    with one_thread():
        rows, roots = TrainingRows(features[~left]), np.sqrt(grams[~left])
        kernels: list[tuple[str, float, np.ndarray, np.ndarray, Sequence[float]]] = []
        for width in KERNEL_WIDTHS:
            kernel = rows.kernel("rbf", width)
            kernels.append(("rbf", width, kernel.values, kernel.basis(features[left]), KERNEL_PENALTIES))
        x, others = rows.standardised, rows.linear(features[left])
        kernels.append(("linear", 1.0, x @ x.T / len(x), others @ x.T / len(x), RIDGE_PENALTIES))
        same = groups[~left][:, None] == groups[~left][None]
        found = {}
        for kind, width, values, elsewhere, penalties in kernels:
            for penalty in penalties:
                for ratio in SHARED_ERRORS:
                    noise = penalty * (np.eye(len(values)) + ratio * same)
                    guess = elsewhere @ np.linalg.solve(values + noise, roots - roots.mean(0)) + roots.mean(0)
                    found[kind, width, penalty, ratio] = np.clip(guess, 0, None) ** 2
    return found


def main() -> None:
    """Print the table and the lines below it."""
    from joblib import Parallel, delayed

    from build.search.regress.features import features_for
    from build.search.regress.report import outer_folds
    from kernel_src.competition.tables import group_labels, read_train, target_array

    began = time.perf_counter()
    features_file, train_csv = Path(sys.argv[1]), Path(sys.argv[2])
    train = read_train(train_csv)
    grams, groups = target_array(train), group_labels(train)
    features = features_for([features_file], list(train["image_id"]))
    numbers = outer_folds(groups, SEED)["group_kfold5_r2"]
    tasks = (delayed(outer_fold)(features, grams, groups, numbers == k, SEED, FAMILIES) for k in np.unique(numbers))
    folds = Parallel(n_jobs=2)(tasks)
    print(
        f"{features_file.stem}: {len(grams)} images of {len(set(groups))} groups, GroupKFold(5), seed {SEED}; "
        f"scikit-learn {version('scikit-learn')}, numpy {version('numpy')}, torch {version('torch')}"
    )
    for way in WAYS:
        print(f"  {way.name:80s} {weighted_r2(grams, predicted_by(way, folds, grams, SEED)):.3f}", flush=True)
    for fold in folds:
        print(f"  screened out in a fold: {', '.join(fold.inner.screened_out) or 'nothing'}")
    print("single models, best setting by the scored folds:")
    print("  " + ", ".join(f"{kind} {score:.3f}" for kind, score in single_scores(folds, grams).items()), flush=True)
    print(f"a visit's shared error, leave-group-out, ρ = {' / '.join(f'{ratio:g}' for ratio in SHARED_ERRORS)}:")
    for kind, scores in shared_error_scores(features, grams, groups).items():
        print(f"  {kind:6s} " + " / ".join(f"{score:.3f}" for score in scores))
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
