"""Colour: what a picture's colours alone say, as a check of the painter and as the baseline a network must beat.

The statistics are those of the real competition's published table `train_image_colour_stats.csv`. Its formulas were
found by recomputation: `contrast`, `brightness`, `ExG` and `green_ratio` follow exactly from its own means and
deviations (to 1e-8 on 357 photographs); `VARI` is a mean per pixel clipped to ±1 (.321 against .324 on the one
full-size photograph at hand, itself a re-encoded copy); `GR_ratio` is mean(G / (R + 1e-8)), that is, a count of pixels
without any red: its order of magnitude is reproduced (62,434 against 39,069), its value is not, because it hangs on
single levels of the JPEG.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# 2.5, 50 and 97.5 % quantiles over the 357 real training photographs.
REAL_QUANTILES: dict[str, tuple[float, float, float]] = {
    "mean_R": (0.3161, 0.4420, 0.5651),
    "mean_G": (0.3648, 0.5050, 0.6011),
    "mean_B": (0.1974, 0.2971, 0.4789),
    "std_R": (0.1654, 0.2389, 0.2970),
    "std_G": (0.1668, 0.2392, 0.2950),
    "std_B": (0.1514, 0.2240, 0.2845),
    "green_ratio": (0.3382, 0.4004, 0.4791),
    "ExG": (0.0221, 0.2500, 0.5400),
    "VARI": (-0.1264, 0.1270, 0.3244),
    "GR_ratio": (9.109, 9794.0, 159200.0),
    "brightness": (0.3042, 0.4151, 0.5113),
    "contrast": (0.1741, 0.2569, 0.3007),
}
# On standardised statistics; scores .384 on the 357 real photographs under GroupKFold(5) by state and date (.384 at 10,
# .336 at 100).
RIDGE_ALPHA = 1.0


def colour_statistics(image_rgb: NDArray[np.uint8]) -> dict[str, float]:
    """Compute the twelve colour statistics of one photograph (H, W, 3) of 8-bit RGB."""
    import cv2

    flat = image_rgb.reshape(-1, 3)
    means, deviations = (value.reshape(-1) / 255 for value in cv2.meanStdDev(image_rgb))
    red, green, blue = (float(value) for value in means)
    r, g, b = (np.ascontiguousarray(flat[:, k]).astype(np.float32) / np.float32(255) for k in range(3))
    vari = np.clip((g - r) / (g + r - b + np.float32(1e-6)), -1, 1)
    brightness = (red + green + blue) / 3
    # Spread over all levels of all channels: within the channels and between them.
    contrast = np.sqrt(np.mean(deviations**2) + np.var(means))
    return {
        "mean_R": red,
        "mean_G": green,
        "mean_B": blue,
        "std_R": float(deviations[0]),
        "std_G": float(deviations[1]),
        "std_B": float(deviations[2]),
        "green_ratio": green / max(red + green + blue, 1e-8),
        "ExG": 2 * green - red - blue,
        "VARI": float(vari.mean(dtype=np.float64)),
        "GR_ratio": float((g / (r + np.float32(1e-8))).mean(dtype=np.float64)),
        "brightness": brightness,
        "contrast": float(contrast),
    }


def file_statistics(path: Path) -> dict[str, float]:
    """Compute the statistics of one picture file.

    Raises:
        ValueError: the file is no picture.
    """
    import cv2

    image = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise ValueError(f"{path} is not a readable photograph")
    return colour_statistics(np.asarray(image, np.uint8))


@dataclass(frozen=True, kw_only=True)
class ColourRow:
    """One statistic: its real and painted 2.5, 50, 97.5 % quantiles, the share of painted ones inside the real."""

    statistic: str
    real: tuple[float, float, float]
    painted: tuple[float, float, float]
    inside: float


def colour_table(statistics: Sequence[Mapping[str, float]]) -> list[ColourRow]:
    """Hold the statistics of painted photographs against the real quantiles, one row per statistic."""
    rows = []
    for name, real in REAL_QUANTILES.items():
        values = np.array([one[name] for one in statistics])
        low, middle, high = (float(value) for value in np.quantile(values, (0.025, 0.5, 0.975)))
        inside = float(np.mean((values >= real[0]) & (values <= real[2])))
        rows.append(ColourRow(statistic=name, real=real, painted=(low, middle, high), inside=inside))
    return rows


def format_colour_table(rows: Sequence[ColourRow]) -> str:
    """Lay the table out in Markdown, as the notes on the issues want it."""

    def numbers(values: tuple[float, float, float]) -> str:
        return " / ".join(f"{value:.3f}" if abs(value) < 5 else f"{value:.0f}" for value in values)

    lines = ["| statistic | real 2.5 / 50 / 97.5 % | painted 2.5 / 50 / 97.5 % | inside |", "|---|---|---|---|"]
    lines += [f"| {row.statistic} | {numbers(row.real)} | {numbers(row.painted)} | {row.inside:.0%} |" for row in rows]
    return "\n".join(lines)


def colour_features(statistics: Sequence[Mapping[str, float]]) -> NDArray[np.float64]:
    """Stack statistics into (images, 12); GR_ratio enters by its logarithm because it spans five decades."""
    columns = [[one[name] for one in statistics] for name in REAL_QUANTILES]
    features = np.array(columns, float).T
    ratio = list(REAL_QUANTILES).index("GR_ratio")
    features[:, ratio] = np.log10(np.maximum(features[:, ratio], 1e-3))
    return features


def out_of_fold(
    statistics: Sequence[Mapping[str, float]],
    grams: NDArray[np.float64],
    folds: Sequence[int] | NDArray[np.int_],
    alpha: float = RIDGE_ALPHA,
) -> NDArray[np.float64]:
    """Predict grams out of fold by Ridge on the colour statistics alone: (images, targets), clipped at 0.

    `grams` (images, targets); `folds` names the fold in which each image is held out.
    """
    features, numbers = colour_features(statistics), np.asarray(folds)
    predicted = np.zeros_like(grams)
    for fold in np.unique(numbers):
        held = numbers == fold
        predicted[held] = ridge_predict(features[~held], grams[~held], features[held], alpha)
    return predicted


def colour_baseline(
    photographs: Sequence[Path], grams: NDArray[np.float64], folds: Sequence[int] | NDArray[np.int_]
) -> NDArray[np.float64]:
    """Predict grams (images, 5) out of fold from the colours of the photographs alone, as `out_of_fold` does."""
    return out_of_fold([file_statistics(path) for path in photographs], grams, folds)


def colour_baseline_r2(
    photographs: Sequence[Path], grams: NDArray[np.float64], folds: Sequence[int] | NDArray[np.int_]
) -> tuple[float, NDArray[np.float64]]:
    """Score `colour_baseline` with the competition's metric: (R², out-of-fold predictions (images, 5)).

    The columns of `grams` are in the order of `TARGETS`.
    """
    from kernel_src.competition.metric import weighted_r2

    predicted = colour_baseline(photographs, grams, folds)
    return float(weighted_r2(grams, predicted)), predicted


def ridge_predict(
    features: NDArray[np.float64], grams: NDArray[np.float64], unseen: NDArray[np.float64], alpha: float = RIDGE_ALPHA
) -> NDArray[np.float64]:
    """Fit Ridge on standardised features (n, f), predict the grams of `unseen` (m, f), clipped at 0: (m, targets)."""
    mean, scale = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-9)
    x, level = (features - mean) / scale, grams.mean(axis=0)
    weights = np.linalg.solve(x.T @ x + alpha * np.eye(x.shape[1]), x.T @ (grams - level))
    return np.asarray(np.maximum((unseen - mean) / scale @ weights + level, 0.0))
