"""## Pictures to look at

A score is one number; these show where it comes from.
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from kernel_src.competition.constants import TARGETS
from kernel_src.data.images import Framing, read_rgb, resize_rgb

GALLERY_FRAMING = Framing(200, 400)
GALLERY_COLUMNS = 3


def photograph_gallery(paths: Sequence[Path], captions: Sequence[str]) -> Figure:
    """Show photographs three to a row, each with its caption."""
    rows = max(1, -(-len(paths) // GALLERY_COLUMNS))
    figure, axes = plt.subplots(rows, GALLERY_COLUMNS, figsize=(4.4 * GALLERY_COLUMNS, 2.9 * rows), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, path, caption in zip(axes.flat, paths, captions, strict=False):
        axis.imshow(resize_rgb(read_rgb(path), GALLERY_FRAMING))
        axis.set_title(caption, fontsize=8)
    figure.tight_layout()
    return figure


def grams_caption(predicted: np.ndarray, truth: np.ndarray | None = None) -> str:
    """Write the five targets (5,) in two lines, with the truth in brackets where it is known."""
    texts = [
        f"{target.removeprefix('Dry_').removesuffix('_g')} {predicted[i]:.0f}"
        + (f" ({truth[i]:.0f})" if truth is not None else "")
        for i, target in enumerate(TARGETS)
    ]
    return f"{'  '.join(texts[:3])}\n{'  '.join(texts[3:])} g"
