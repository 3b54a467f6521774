"""## Pictures to look at

A score is one number; these show where it comes from.
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

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
