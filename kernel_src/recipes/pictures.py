"""## Pictures

What a network sees of a photograph: the whole or parts of it, at one size or several, and how what it sees in them
becomes one answer.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from kernel_src.recipes.spec import Spec

LARGEST_PX = 8192
MOST_TILES = 16  # along one side of the photograph
_TILE = re.compile(r"tile([1-9]\d?)x([1-9]\d?)of([1-9]\d?)x([1-9]\d?)")


class PartBox(NamedTuple):
    """A part of the photograph: one cell, counted from 0, of a grid."""

    row: int
    column: int
    rows: int
    columns: int


NAMED_PARTS = {
    "whole": PartBox(0, 0, 1, 1),
    "left": PartBox(0, 0, 1, 2),
    "right": PartBox(0, 1, 1, 2),
    "top": PartBox(0, 0, 2, 1),
    "bottom": PartBox(1, 0, 2, 1),
}
HALVES = ("left", "right")


def tiles(rows: int, columns: int) -> tuple[str, ...]:
    """Name all cells of a grid over the photograph, row by row; `tiles(1, 3)` are its thirds from left to right."""
    return tuple(f"tile{r}x{c}of{rows}x{columns}" for r in range(1, rows + 1) for c in range(1, columns + 1))


def part_box(part: str) -> PartBox | None:
    """Return where a part lies; None for a word that names none."""
    if part in NAMED_PARTS:
        return NAMED_PARTS[part]
    found = _TILE.fullmatch(part)
    if found is None:
        return None
    row, column, rows, columns = map(int, found.groups())
    return PartBox(row - 1, column - 1, rows, columns) if row <= rows <= MOST_TILES >= columns >= column else None


# %%
class Join(Spec, abstract=True):
    """How several pictures of a photograph become one answer."""


class Sum(Join):
    """Each picture is answered by itself and the values are added: the parts make up the photograph's."""


class Mean(Join):
    """The features of all pictures are averaged before the head: it cannot tell the pictures apart."""


class SideBySide(Join):
    """The features stand beside one another before the head: it can tell the pictures apart."""


class Attention(Join):
    """The features attend to one another, with a place learnt for each picture, and are averaged before the head."""

    heads: int = 8

    def check(self) -> Iterator[str]:
        """At least one attention head."""
        if self.heads < 1:
            yield f"heads={self.heads} must be at least 1"


# %%
class Pictures(Spec):
    """What is shown to the network."""

    height_px: int = 512  # of each picture
    width_px: int = 512  # where it has not its part's shape, the part is squeezed, as the seed did
    parts: tuple[str, ...] = ("whole",)  # `left`, `right`, `top`, `bottom`, and what `tiles` names
    scales: tuple[float, ...] = (1.0,)  # each part once at each of them, times height and width
    join: Join | None = None  # of several pictures
    crop_bottom: float = 0.0  # share of the photograph's height that is cut off below: the cardboard strip

    def check(self) -> Iterator[str]:
        """Sizes, parts that exist, and a join exactly where there is something to join."""
        sides = [round(scale * side) for scale in self.scales for side in (self.height_px, self.width_px)]
        if not self.scales or not self.parts or min(sides) < 1 or max(sides) > LARGEST_PX:
            yield (
                f"height_px={self.height_px}, width_px={self.width_px}, scales={self.scales}: pictures have 1 to "
                f"{LARGEST_PX} px along each side, and there is one part and one scale at least"
            )
        for part in self.parts:
            if part_box(part) is None:
                yield f"parts: {part!r} is not one of {', '.join(NAMED_PARTS)}, or a name from tiles(rows, columns)"
        for field in ("parts", "scales"):
            if len(set(getattr(self, field))) != len(getattr(self, field)):
                yield f"{field}={getattr(self, field)} names something twice"
        if not 0 <= self.crop_bottom < 1:
            yield f"crop_bottom={self.crop_bottom} must lie in [0, 1)"
        if self.count > 1 and self.join is None:
            yield f"{self.count} pictures need a join: Sum(), Mean(), SideBySide() or Attention()"
        if self.count == 1 and self.join is not None:
            yield f"join={self.join} has one picture, and nothing to join"

    @property
    def count(self) -> int:
        """How many pictures there are of each photograph."""
        return len(self.parts) * len(self.scales)

    @property
    def is_whole(self) -> bool:
        """Whether the network sees the photograph itself, neither cut nor resized."""
        return self.parts == ("whole",) and self.sizes_px == (self.size_px,)

    @property
    def size_px(self) -> tuple[int, int]:
        """Height and width of a picture at scale 1."""
        return self.height_px, self.width_px

    @property
    def sizes_px(self) -> tuple[tuple[int, int], ...]:
        """Height and width at each scale."""
        return tuple((round(scale * self.height_px), round(scale * self.width_px)) for scale in self.scales)

    @property
    def canvas_px(self) -> tuple[int, int]:
        """Height and width of the photograph that all parts can be cut from at full resolution."""
        boxes = [box for part in self.parts if (box := part_box(part))]
        return max(box.rows for box in boxes) * self.height_px, max(box.columns for box in boxes) * self.width_px

    @property
    def shares(self) -> tuple[float, ...]:
        """Which share of the photograph each part shows."""
        return tuple(1 / (box.rows * box.columns) for part in self.parts if (box := part_box(part)))
