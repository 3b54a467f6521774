"""How often `compare` says that a model knew the visits, where files hold a part of the real table only.

    .venv/bin/python bench/visits.py

Needs ../shared/data. By image: the files in oof/, whose folds cut visits apart. Honest: Ridge on the real embeddings,
each visit left out in turn, three penalties. Each line: 60 draws of whole visits, or of single photographs.
"""

import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.overshoot import DATA, out_of_fold  # noqa: E402
from build.scores.oof_files import read_with_truth, validation_of  # noqa: E402
from build.scores.warnings import knows_visits_below, mean_exactness  # noqa: E402

DRAWS, SHUFFLES = 60, 100


def honest_errors(image_ids: np.ndarray, truth: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the errors (models, images, 5) of Ridge with each visit left out."""
    visits = np.unique(groups, return_inverse=True)[1]
    errors = []
    for name in ("dinov2_vits14_cls", "resnet18_avgpool"):
        archive = np.load(DATA / "features" / f"{name}.npz")
        row = {image: i for i, image in enumerate(archive["image_id"].tolist())}
        x = archive["features"][[row[image] for image in image_ids]].astype(float)
        errors += [truth - out_of_fold(x, truth, visits, penalty, leak=False) for penalty in (30.0, 300.0, 3000.0)]
    return np.stack(errors)


def main() -> None:
    """Print the table."""
    oof = [str(path) for path in sorted((DATA / "oof").glob("*.csv"))]
    validation = validation_of(*read_with_truth(oof, DATA / "train.csv"))
    truth, groups = validation.truth, validation.groups
    sides = {
        "by image": truth - validation.predictions,
        "honest": honest_errors(validation.image_ids, truth, groups),
    }
    for name, errors in sides.items():
        print(name, "whole table:", " ".join(f"{mean_exactness(one, groups)[0]:.2f}" for one in errors))
    print(f"suspected there below {knows_visits_below(groups):.2f}")
    random, visits = np.random.default_rng(0), np.unique(groups)
    for what, parts in (("visits", (24, 18, 12, 6)), ("photographs", (0.8, 0.4, 0.2))):
        for part in parts:
            counts = {name: np.zeros(3) for name in sides}  # suspected, by a fixed 2.0, of how many
            bars = []
            for _ in range(DRAWS):
                if what == "visits":
                    kept = np.isin(groups, random.choice(visits, int(part), replace=False))
                else:
                    kept = random.random(len(groups)) < part
                bars.append(knows_visits_below(groups[kept]))
                for name, errors in sides.items():
                    for one in errors:
                        ratio = mean_exactness(one[kept], groups[kept], SHUFFLES)[0]
                        counts[name] += (ratio < bars[-1], ratio < 2.0, 1)
            told = ", ".join(
                f"{name} {hit / of:.1%} (at 2.0 {old / of:.1%})" for name, (hit, old, of) in counts.items()
            )
            print(f"{part:g} {what}, below {np.mean(bars):.2f}: suspected {told}", flush=True)


if __name__ == "__main__":
    main()
