"""How often the seed's own leak is found, and an honest model accused, in Ridge on the real embeddings.

    .venv/bin/python bench/overshoot.py

Needs ../shared/data. Each line: embeddings, folds of whole groups, Ridge penalty; 20 cuts each. The leak: outputs are
standardised by the training rows and given back the validation fold's mean and deviation.
"""

import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from build.scores.overshoot import overshoot  # noqa: E402
from build.scores.warnings import TOO_FAR  # noqa: E402
from kernel_src.competition.metric import weighted_r2  # noqa: E402
from kernel_src.competition.tables import group_labels, read_train, target_array  # noqa: E402

DATA = ROOT.parent / "shared" / "data"
CUTS = 20


def out_of_fold(x: np.ndarray, grams: np.ndarray, folds: np.ndarray, penalty: float, leak: bool) -> np.ndarray:
    """Predict every fold by Ridge on the others, (images, 5)."""
    out = np.empty_like(grams)
    for fold in np.unique(folds):
        own = folds == fold
        mean, deviation = x[~own].mean(0), x[~own].std(0) + 1e-9
        fit, new = (x[~own] - mean) / deviation, (x[own] - mean) / deviation
        centre, scale = grams[~own].mean(0), grams[~own].std(0)
        dual = np.linalg.solve(fit @ fit.T + penalty * np.eye(len(fit)), (grams[~own] - centre) / scale)
        if leak:
            centre, scale = grams[own].mean(0), grams[own].std(0)
        out[own] = new @ fit.T @ dual * scale + centre
    return out


def main() -> None:
    """Print the table."""
    table = read_train(DATA / "train.csv")
    grams, groups = target_array(table), group_labels(table)
    visits = np.unique(groups, return_inverse=True)[1]
    print("embeddings           folds penalty   R² honest  leaky   slope honest          leaky    accused found")
    for name in ("dinov2_vits14_cls", "resnet18_avgpool"):
        archive = np.load(DATA / "features" / f"{name}.npz")
        row = {image: i for i, image in enumerate(archive["image_id"].tolist())}
        x = archive["features"][[row[image] for image in table["image_id"]]].astype(float)
        for count in (3, 5, 10):
            for penalty in (30.0, 300.0, 3000.0):
                scores, slopes, named = [], [], []
                for seed in range(CUTS):
                    folds = (np.random.default_rng(seed).permutation(visits.max() + 1) % count)[visits]
                    for leak in (False, True):
                        predicted = out_of_fold(x, grams, folds, penalty, leak)
                        slope, share = overshoot(grams, predicted, folds, visits)
                        scores.append(weighted_r2(grams, predicted))
                        slopes.append(slope)
                        named.append(slope > 0 and share < TOO_FAR)
                honest, leaky = slopes[::2], slopes[1::2]
                print(
                    f"{name:20} {count:5} {penalty:7g}   {np.mean(scores[::2]):9.3f}  {np.mean(scores[1::2]):.3f}   "
                    f"{min(honest):+.2f} to {max(honest):+.2f}  {min(leaky):+.2f} to {max(leaky):+.2f}   "
                    f"{sum(named[::2]):4}/{CUTS} {sum(named[1::2]):3}/{CUTS}"
                )


if __name__ == "__main__":
    main()
