"""docs/augmentations.jpg: one painted photograph under each part of `Augment`, with what becomes of its labels.

`python -m bench.augmentations` makes it. The pictures come out of the very class that feeds the training; the first
epoch is shown in which the part does something.
"""

from itertools import count

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from bench.material import ROOT, painted_photographs
from kernel_src.data.images import Framing, read_rgb, resize_rgb
from kernel_src.data.training_photographs import TrainingPhotographs
from kernel_src.recipes.training_data import Augment

FIGURE = ROOT / "docs" / "augmentations.jpg"
NUMBER = 3  # of the painted photographs: one without a stamp of its own
CANVAS = Framing(384, 768)
TILE = Framing(160, 320)
COLUMNS, GAP_PX, CAPTION_PX, QUALITY = 3, 8, 34, 72

SHOWN = {
    'preset="none"': Augment("none"),
    'preset="moderate"': Augment("moderate"),
    'preset="extreme"': Augment("extreme"),
    "stamps_p=1": Augment("none", stamps_p=1.0),
    "spots_p=1": Augment("none", spots_p=1.0),
    "crop=(.4, .8)": Augment("none", crop=(0.4, 0.8), crop_p=1.0),
    "rescale=(.6, .9)": Augment("none", rescale=(0.6, 0.9), rescale_p=1.0),
    'pad="reflect"': Augment("none", rescale=(0.6, 0.9), rescale_p=1.0, pad="reflect"),
    "all of them": Augment(
        "moderate", crop=(0.4, 0.8), crop_p=1.0, rescale=(0.6, 0.9), rescale_p=1.0, stamps_p=1.0, spots_p=1.0
    ),
}


def figure() -> Image.Image:
    """Lay the pictures out in rows, each over the field of the recipe that made it."""
    photograph = resize_rgb(read_rgb(painted_photographs()[NUMBER]), CANVAS)
    tiles = [_tile(photograph, name, augment) for name, augment in SHOWN.items()]
    width, height = TILE.width_px + GAP_PX, TILE.height_px + CAPTION_PX
    sheet = Image.new("RGB", (COLUMNS * width - GAP_PX, -(-len(tiles) // COLUMNS) * height), "white")
    for number, tile in enumerate(tiles):
        sheet.paste(tile, (number % COLUMNS * width, number // COLUMNS * height))
    return sheet


def _tile(photograph: np.ndarray, name: str, augment: Augment) -> Image.Image:
    one = [
        TrainingPhotographs(photograph[None], np.ones((1, 5)), np.arange(1), augment, 4, density=d)
        for d in (False, True)
    ]
    for epoch in count():
        for served in one:
            served.epoch = epoch
        picture = one[0][0]["picture"].numpy().transpose(1, 2, 0)
        if augment == Augment("none") or not np.array_equal(picture, photograph):
            break
    mass, density = (float(served[0]["grams"][0]) for served in one)
    tile = Image.new("RGB", (TILE.width_px, TILE.height_px + CAPTION_PX), "white")
    tile.paste(Image.fromarray(cv2.resize(picture, TILE.size_px[::-1], interpolation=cv2.INTER_AREA)))
    caption = f"{name}    grams x {mass:.2f}, density x {density:.2f}"
    ImageDraw.Draw(tile).text((2, TILE.height_px + 5), caption, "black", ImageFont.load_default(14))
    return tile


if __name__ == "__main__":
    figure().save(FIGURE, quality=QUALITY)
    print(f"{FIGURE}: {FIGURE.stat().st_size / 1000:.0f} kB")
