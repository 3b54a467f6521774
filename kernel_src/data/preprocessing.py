"""## Preprocessing

Each backbone was pretrained with its own mean, standard deviation and interpolation; they are asked from timm at
training time and saved with the weights, so that inference cannot use others.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch

from kernel_src.data.images import INTERPOLATIONS, Framing
from kernel_src.recipes.pictures import Pictures

LEAST_STD = 1e-4  # of pictures in units of 0 to 1; one level of 256 is forty times as much


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """What turns photographs into the network's input; mean and deviation are RGB, in units of 0 to 1."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bicubic"

    def __post_init__(self) -> None:
        """Refuse an interpolation that `resize_rgb` cannot do, and a scaling that leaves no number.

        Raises:
            ValueError: it is not one of `INTERPOLATIONS`, or there are not three numbers, the deviations above 0.
        """
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != 3 or (name == "std" and min(values) < LEAST_STD):
                least = f", each at least {LEAST_STD:g}" if name == "std" else ""
                raise ValueError(f"{name}={values} is not three numbers{least}")
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(f"interpolation={self.interpolation!r} is not one of {', '.join(INTERPOLATIONS)}")

    def framing(self, size_px: tuple[int, int], part: str = "whole", crop_bottom: float = 0.0) -> Framing:
        """Say how a photograph becomes a picture of (height, width)."""
        return Framing(*size_px, self.interpolation, part, crop_bottom)

    def canvas_framing(self, pictures: Pictures) -> Framing:
        """Say how a photograph becomes the canvas that a network cuts its pictures from."""
        return self.framing(pictures.canvas_px, crop_bottom=pictures.crop_bottom)

    def part_framings(self, pictures: Pictures) -> tuple[Framing, ...]:
        """Say how a photograph becomes pictures that are made one by one: each part at each size."""
        return tuple(
            self.framing(size, part, pictures.crop_bottom) for size in pictures.sizes_px for part in pictures.parts
        )

    def as_json(self) -> dict[str, Any]:
        """Return the fields as JSON can hold them."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def normalise(self, pictures: torch.Tensor) -> torch.Tensor:
        """Turn (B, 3, H, W) uint8 into normalised float32 on the same device."""
        mean = torch.tensor(self.mean, device=pictures.device).view(3, 1, 1)
        std = torch.tensor(self.std, device=pictures.device).view(3, 1, 1)
        return pictures.float().div_(255).sub_(mean).div_(std)  # in place: 2.4 times faster than three new tensors
