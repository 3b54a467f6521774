"""Colour: what a picture's colours alone say, the baseline that a network must beat.

The statistics are those of the real competition's published table `train_image_colour_stats.csv`. Its formulas were
found by recomputation: `contrast`, `brightness`, `ExG` and `green_ratio` follow exactly from its own means and
deviations (to 1e-8 on 357 photographs); `VARI` is a mean per pixel clipped to ±1 (.321 against .324 on the one
full-size photograph at hand, itself a re-encoded copy); `GR_ratio` is mean(G / (R + 1e-8)), that is, a count of pixels
without any red: its order of magnitude is reproduced (62,434 against 39,069), its value is not, because it hangs on
single levels of the JPEG.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

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
        ValueError: the file is not a picture.
    """
    import cv2

    image = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise ValueError(f"{path} is not a readable photograph")
    return colour_statistics(np.asarray(image, np.uint8))


def colour_features(statistics: Sequence[Mapping[str, float]]) -> NDArray[np.float64]:
    """Stack statistics into (images, 12); GR_ratio enters by its logarithm because it spans five decades."""
    names = list(statistics[0])
    features = np.array([[one[name] for one in statistics] for name in names], float).T
    ratio = names.index("GR_ratio")
    features[:, ratio] = np.log10(np.maximum(features[:, ratio], 1e-3))
    return features


def out_of_fold(
    statistics: Sequence[Mapping[str, float]],
    grams: NDArray[np.float64],
    folds: Sequence[int] | NDArray[np.int_],
) -> NDArray[np.float64]:
    """Predict grams out of fold by Ridge on the colour statistics alone: (images, targets), clipped at 0.

    `grams` (images, targets); `folds` names the fold in which each image is held out.
    """
    features, numbers = colour_features(statistics), np.asarray(folds)
    predicted = np.zeros_like(grams)
    for fold in np.unique(numbers):
        held = numbers == fold
        predicted[held] = ridge_predict(features[~held], grams[~held], features[held])
    return predicted


def colour_baseline(
    photographs: Sequence[Path], grams: NDArray[np.float64], folds: Sequence[int] | NDArray[np.int_]
) -> NDArray[np.float64]:
    """Predict grams (images, 5) out of fold from the colours of the photographs alone, as `out_of_fold` does."""
    return out_of_fold([file_statistics(path) for path in photographs], grams, folds)


def ridge_predict(
    features: NDArray[np.float64], grams: NDArray[np.float64], unseen: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Fit Ridge on standardised features (n, f), predict the grams of `unseen` (m, f), clipped at 0: (m, targets)."""
    mean, scale = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-9)
    x, level = (features - mean) / scale, grams.mean(axis=0)
    weights = np.linalg.solve(x.T @ x + RIDGE_ALPHA * np.eye(x.shape[1]), x.T @ (grams - level))
    return np.asarray(np.maximum((unseen - mean) / scale @ weights + level, 0.0))
