"""A contact sheet to look at: one photograph, and what an experiment's augmentation makes of it.

The pictures come out of the very class that feeds the training, with the seeds of the first epochs, so that what is
seen here is what the network sees. With a depth model its maps stand below the pictures they were turned along with.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from kernel_src.recipes.experiment import Experiment

if TYPE_CHECKING:
    import numpy as np

COLUMNS = 4
GAP_PX = 6
TILE_PX = 260  # longest side of one picture on the sheet


def contact_sheet(
    experiment: Experiment, photograph: "np.ndarray", count: int, depth_folder: Path | None = None
) -> "np.ndarray":
    """Return the sheet, (height, width, 3) uint8 RGB: the original first, then `count` augmented pictures.

    `photograph` is (height, width, 3) uint8 RGB, of any size.
    """
    import numpy as np
    import torch

    from kernel_src.competitions.held_facts import facts
    from kernel_src.data.images import resize_rgb
    from kernel_src.data.training_photographs import TrainingPhotographs
    from kernel_src.models.depth import DEPTH_CONFIG_FILE, DEPTH_WEIGHTS_FILE, load_depth
    from kernel_src.models.starting_weights import preprocessing_of
    from kernel_src.runtime.randomness import seed_at

    preprocessing = preprocessing_of(experiment.encoder.timm)
    picture = resize_rgb(photograph, preprocessing.canvas_framing(experiment.pictures))
    maps = None
    if depth_folder is not None:
        estimator = load_depth(depth_folder / DEPTH_WEIGHTS_FILE, depth_folder / DEPTH_CONFIG_FILE)
        raw = torch.from_numpy(picture.transpose(2, 0, 1).copy())[None]
        maps = estimator(raw, experiment.depth_channels or 1).numpy()
    tiles = [_tile(picture, None if maps is None else maps[0])]
    served = TrainingPhotographs(
        picture[None],
        np.zeros((1, len(facts().targets))),
        np.arange(1),
        experiment.augment,
        seed_at(experiment.seed, "fold", 0),
        depth_maps=maps,
    )
    for epoch in range(count):
        served.epoch = epoch
        example = served[0]
        made = example["picture"].numpy().transpose(1, 2, 0)
        tiles.append(_tile(made, None if maps is None else example["depth"].numpy()))
    return _grid(tiles)


def _tile(picture: "np.ndarray", depth: "np.ndarray | None") -> "np.ndarray":
    """Shrink a picture (H, W, 3), and put its depth (C, H, W) below it in grey, near is white."""
    import numpy as np

    from kernel_src.data.images import Framing, resize_rgb

    parts = [picture]
    if depth is not None:
        grey = (depth[0].clip(0, 1) * 255).astype(np.uint8)
        parts.append(np.repeat(grey[..., None], 3, 2))
    shrink = min(1.0, TILE_PX / max(picture.shape[:2]))
    framing = Framing(*(max(1, round(side * shrink)) for side in picture.shape[:2]))
    return np.concatenate([resize_rgb(part, framing) for part in parts])


def _grid(tiles: "list[np.ndarray]") -> "np.ndarray":
    """Lay tiles of one size out in rows, on white."""
    import numpy as np

    height, width = tiles[0].shape[:2]
    columns = min(COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    shape = (rows * (height + GAP_PX) + GAP_PX, columns * (width + GAP_PX) + GAP_PX, 3)
    sheet = np.full(shape, 255, np.uint8)
    for number, tile in enumerate(tiles):
        y = GAP_PX + number // columns * (height + GAP_PX)
        x = GAP_PX + number % columns * (width + GAP_PX)
        sheet[y : y + height, x : x + width] = tile
    return sheet
