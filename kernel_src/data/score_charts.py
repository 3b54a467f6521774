"""## Charts of a score

A score is one number; these show where it was lost.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

import kernel_src.data.class_charts  # noqa: F401  # part: classes
from kernel_src.competitions.held_facts import facts
from kernel_src.competitions.held_rules import rules


def scatter_per_target(truth: np.ndarray, predicted: np.ndarray) -> Figure:
    """Plot prediction against truth, (images, targets), one panel per target."""
    figure, grid = plt.subplots(1, len(facts().targets), figsize=(3.2 * len(facts().targets), 3.4), squeeze=False)
    axes = grid[0]
    scores, metric = rules().score_per_target(truth, predicted), rules().metric.name
    unit = f", {facts().unit}" if facts().unit else ""
    for i, (axis, target) in enumerate(zip(axes, facts().targets, strict=True)):
        top = max(truth[:, i].max(), predicted[:, i].max(), 1.0)
        axis.plot([0, top], [0, top], color="grey", linewidth=1)
        axis.scatter(truth[:, i], predicted[:, i], s=12, alpha=0.6)
        axis.set_title(f"{target}: {metric} {scores[target]:.2f}" if target in scores else target, fontsize=9)
        axis.set_xlabel(f"truth{unit}")
    axes[0].set_ylabel(f"prediction{unit}")
    figure.tight_layout()
    return figure


def residuals_by_group(truth: np.ndarray, predicted: np.ndarray, names: np.ndarray, title: str) -> Figure:
    """Draw the residuals of the last target (Total) as a box for each name, e.g. each State; `names` is (images,)."""
    labels = sorted(set(names))
    residuals = (predicted - truth)[:, -1]
    figure, axis = plt.subplots(figsize=(1.2 * len(labels) + 2, 3))
    axis.boxplot([residuals[names == label] for label in labels], tick_labels=labels)
    axis.axhline(0, color="grey", linewidth=1)
    axis.set_ylabel(f"{facts().targets[-1]}: prediction − truth" + (f", {facts().unit}" if facts().unit else ""))
    axis.set_title(title)
    figure.tight_layout()
    return figure
