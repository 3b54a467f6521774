"""A contact sheet: many photographs at a glance."""

from pathlib import Path

import numpy as np


def contact_sheet(folder: Path, out: Path, *, columns: int = 4, rows: int = 5, tile_px: int = 480) -> None:
    """Tile the first photographs of `folder` (*.jpg, by name) into one JPEG or PNG at `out`; tiles are 2:1.

    Raises:
        FileNotFoundError: there are no photographs in `folder`.
    """
    import cv2

    paths = sorted(folder.glob("*.jpg"))[: columns * rows]
    if not paths:
        raise FileNotFoundError(f"no *.jpg in {folder}: paint the competition first")
    sheet = np.full((-(-len(paths) // columns) * (tile_px // 2), columns * tile_px, 3), 255, np.uint8)
    for i, path in enumerate(paths):
        # A half-size decode is several times faster and still larger than a tile.
        image = cv2.imread(str(path), cv2.IMREAD_REDUCED_COLOR_2)
        if image is None:
            raise FileNotFoundError(f"{path} is not a readable photograph")
        y, x = i // columns * (tile_px // 2), i % columns * tile_px
        tile = cv2.resize(image, (tile_px, tile_px // 2), interpolation=cv2.INTER_AREA)
        sheet[y : y + tile_px // 2, x : x + tile_px] = tile
    if not cv2.imwrite(str(out), sheet):
        raise OSError(f"could not write {out}")
