"""Plots as SVG: drawn by hand, since a page must hold itself and 357 points in five panels should stay small."""

from collections.abc import Mapping, Sequence

import numpy as np

from build.core.plots import COLOURS, Panel


def residual_panel(truth: np.ndarray, errors: np.ndarray, labels: np.ndarray, label: str) -> str:
    """Plot errors against truth, each (images,), a colour for each of the `labels` (images,)."""
    panel = Panel((0, float(truth.max())), _ends(errors), "truth, g", "error, g")
    panel.line(panel.x_ends, (0, 0), "zero")
    for i, name in enumerate(sorted(set(labels.tolist()))):
        own = labels == name
        panel.points(truth[own].tolist(), errors[own].tolist(), f"c{i % COLOURS}")
    return panel.svg(label)


def calibration_panel(predicted: Sequence[float], truth: Sequence[float], label: str) -> str:
    """Plot the mean truth of each bin against its mean prediction, beside the diagonal."""
    ends = _ends(np.array([*predicted, *truth, 0.0]))
    panel = Panel(ends, ends, "mean prediction, g", "mean truth, g")
    panel.line(ends, ends, "zero")
    panel.line(predicted, truth, "curve")
    panel.points(predicted, truth, "c0")
    return panel.svg(label)


def distribution_panel(samples: Mapping[str, Sequence[float]], shares: Sequence[float], label: str) -> str:
    """Plot quantiles of several samples, each at the same `shares`, as rising lines."""
    ends = _ends(np.array([value for values in samples.values() for value in values]))
    panel = Panel(ends, (0, 1), "g", "share of images below")
    for i, values in enumerate(samples.values()):
        panel.line(values, shares, f"curve c{i % COLOURS}")
        panel.points(values, shares, f"c{i % COLOURS}")
    return panel.svg(label)


def _ends(values: np.ndarray) -> tuple[float, float]:
    return float(values.min()), float(values.max())
