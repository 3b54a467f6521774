"""## Charts of classes

Which class is taken for which, and where the mistakes are.
"""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from kernel_src.competitions.held_facts import facts
from kernel_src.runtime.parts import OptionalPart

LABELLED_CLASSES = 30  # beyond which neither names nor counts could be read


def class_counts(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Count the photographs by true class and by likeliest one, (classes, classes); both are (images, classes)."""
    counts = np.zeros((truth.shape[1], truth.shape[1]), int)
    np.add.at(counts, (truth.argmax(1), predicted.argmax(1)), 1)
    return counts


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray) -> Figure:
    """Draw the share of each true class that was taken for each class, with the counts where there is room."""
    counts = class_counts(truth, predicted)
    names = facts().labels or facts().targets
    shares = counts / np.maximum(1, counts.sum(1, keepdims=True))
    side = min(12.0, 2.5 + 0.45 * len(names))
    figure, axis = plt.subplots(figsize=(side, side))
    axis.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    axis.set(xlabel="predicted", ylabel="truth", title=f"{len(truth)} photographs out of fold")
    if len(names) <= LABELLED_CLASSES:
        axis.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
        axis.set_yticks(range(len(names)), names, fontsize=8)
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axis.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=7, color=colour)
    figure.tight_layout()
    return figure


def hits_by_group(truth: np.ndarray, predicted: np.ndarray, names: np.ndarray, title: str) -> Figure:
    """Draw the share of photographs whose class is right, for each of the names (images,)."""
    labels = sorted(set(names))
    hits = truth.argmax(1) == predicted.argmax(1)
    figure, axis = plt.subplots(figsize=(1.2 * len(labels) + 2, 3))
    axis.bar(labels, [hits[names == label].mean() for label in labels])
    axis.set(ylim=(0, 1), ylabel="share of right classes", title=title)
    figure.tight_layout()
    return figure


class ClassChartParts(OptionalPart):
    """What a training notebook of classes asks for."""

    part = "classes"
    confusion_matrix: Any = staticmethod(confusion_matrix)
    hits_by_group: Any = staticmethod(hits_by_group)
