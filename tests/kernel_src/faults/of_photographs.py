"""Faults of photographs. In the rerun all of them are rehearsed at once: photograph i has fault i."""

from collections.abc import Callable
from pathlib import Path

from tests.kernel_src.faults import odd_photographs as odd
from tests.kernel_src.faults.case import AS_IT_IS, MEAN, Case, Told
from tests.kernel_src.faults.planting import IDS, Plant

UNREADABLE, ODD = "cannot be decoded", AS_IT_IS
_PHOTOGRAPHS: tuple[tuple[str, Callable[[Path], None], str, str], ...] = (
    ("broken JPEG", odd.broken, UNREADABLE, MEAN),
    ("truncated JPEG", odd.truncated, UNREADABLE, MEAN),
    ("JPEG with another file's block in its middle", odd.overwritten, UNREADABLE, MEAN),
    ("zero bytes", odd.empty, UNREADABLE, MEAN),
    ("missing file", odd.missing, "does not exist", MEAN),
    ("a folder in its place", odd.a_folder, "cannot be read", MEAN),
    ("CMYK", odd.cmyk, "CMYK, not RGB of 8 bits", ODD),
    ("grayscale", odd.grayscale, "grayscale, not RGB of 8 bits", ODD),
    ("16-bit PNG", odd.sixteen_bits, "PNG inside, not JPEG", ODD),
    ("PNG in disguise", odd.png, "PNG inside, not JPEG", ODD),
    ("EXIF rotation", odd.turned, "turned upright by its EXIF orientation 6", ODD),
    ("1x1", odd.one_pixel, "1 x 1 px, squashed from another aspect ratio", ODD),
    ("12000x6000", odd.huge, "12000 x 6000 px, of another size than 2000 x 1000", ODD),
    ("square", odd.square, "100 x 100 px, squashed from another aspect ratio", ODD),
)
PHOTOGRAPHS = tuple(
    Case(
        fault=fault,
        kind="photograph",
        plant=Plant(photographs={name: spoil}),
        strict=what,
        rerun=(
            Told(part="photograph", what=what, fallback=fallback, ids=(name,)),
            # A picture of one pixel is odd in two ways.
            *(
                [
                    Told(
                        part="photograph",
                        what="1 x 1 px, of another size than 2000 x 1000",
                        fallback=fallback,
                        ids=(name,),
                    )
                ]
                if fault == "1x1"
                else []
            ),
        ),
        mean=(name,) if fallback == MEAN else (),
        other=(name,) if fallback == ODD else (),
    )
    for name, (fault, spoil, what, fallback) in zip(IDS, _PHOTOGRAPHS, strict=False)
)
