"""## Pictures from a photograph

The network is given a photograph once, as large as its parts need it, and cuts its pictures out of it itself. So
whatever turns or mirrors the photograph does so before it is cut: a mirrored photograph shows its right half where the
left one was.
"""

import torch
from torch.nn.functional import interpolate

from kernel_src.recipes.pictures import Pictures, part_box


def cut_part(canvas: torch.Tensor, part: str) -> torch.Tensor:
    """Cut a part out of photographs (B, 3, H, W), a view; a pixel on the border of two parts belongs to both."""
    box = part_box(part)
    assert box is not None
    height, width = canvas.shape[2:]
    top, bottom = box.row * height // box.rows, -(-(box.row + 1) * height // box.rows)
    left, right = box.column * width // box.columns, -(-(box.column + 1) * width // box.columns)
    return canvas[:, :, top:bottom, left:right]


class PictureCutter:
    """Cuts photographs into the pictures that an experiment names."""

    def __init__(self, pictures: Pictures, interpolation: str) -> None:
        """Take the pictures, and the interpolation that the backbone was pretrained with."""
        self.parts, self.sizes_px, self.interpolation = pictures.parts, pictures.sizes_px, interpolation

    def __call__(self, canvas: torch.Tensor) -> list[torch.Tensor]:
        """Cut photographs (B, 3, Hc, Wc) into pictures: one tensor (parts B, 3, H, W) for each scale, part by part.

        All parts of a scale pass the backbone together; antialiased where a size differs from that of its part.
        """
        cut = [cut_part(canvas, part) for part in self.parts]
        return [torch.cat([self._resized(one, size) for one in cut]) for size in self.sizes_px]

    def _resized(self, pictures: torch.Tensor, size_px: tuple[int, int]) -> torch.Tensor:
        if tuple(pictures.shape[2:]) == size_px:
            return pictures
        return interpolate(pictures, size_px, mode=self.interpolation, antialias=True, align_corners=False)
