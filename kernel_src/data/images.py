"""## Photographs

Reading and resizing, the same few lines for training and for inference: a picture that reaches the network by another
way than it was trained on costs score without an error.

A JPEG carries no checksum. What its syntax betrays is refused: an end that is missing, a marker where none can be, as a
block of another file brings it. A changed byte that is still valid Huffman code, a block of zeros, a lost stretch
change the picture and leave no trace but, at times, a warning that libjpeg prints and OpenCV does not hand on.
"""

import io
import math
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch.nn.functional import interpolate

from kernel_src.competitions.held_facts import facts
from kernel_src.recipes.pictures import PartBox, part_box

READING_VERSION = 3  # to be raised when a photograph is decoded or resized in another way
INTERPOLATIONS = ("bicubic", "bilinear")  # all that timm's backbones were pretrained with


class ImageError(Exception):
    """A photograph cannot be read; the message names the file."""


class Framing(NamedTuple):
    """How a photograph becomes a network's picture: a part, squashed to a size by the backbone's own interpolation."""

    height_px: int
    width_px: int
    interpolation: str = "bicubic"
    part: str = "whole"  # a name that `recipes.pictures.part_box` has
    crop_bottom: float = 0.0  # share of the photograph's height that is cut off below, before anything else

    @property
    def size_px(self) -> tuple[int, int]:
        """Height and width."""
        return self.height_px, self.width_px

    @property
    def photograph_px(self) -> tuple[int, int]:
        """Height and width of the whole photograph whose part has at least the size of the picture."""
        box = _box_of(self.part)
        return math.ceil(box.rows * self.height_px / (1 - self.crop_bottom)), box.columns * self.width_px


def part_slices(part: str, size_px: tuple[int, int]) -> tuple[slice, slice]:
    """Return the rows and columns of a part of a picture of (height, width), for arrays and tensors alike.

    A part has every pixel that its cell touches: where the grid's lines cut through pixels, the parts on both sides
    have them, as both halves of an odd number of pixels have the middle one.

    Raises:
        ValueError: no part is called so.
    """
    box, (height, width) = _box_of(part), size_px
    return _cell(box.row, box.rows, height), _cell(box.column, box.columns, width)


def part_of(image: np.ndarray, part: str) -> np.ndarray:
    """Cut a part out of (height, width, 3); see `part_slices`."""
    return image[part_slices(part, (image.shape[0], image.shape[1]))]


def without_bottom(image: np.ndarray, share: float) -> np.ndarray:
    """Cut a share of the height off below (height, width, 3); at least one row stays."""
    return image[: max(1, round(image.shape[0] * (1 - share)))]


def _cell(number: int, count: int, px: int) -> slice:
    return slice(number * px // count, -(-(number + 1) * px // count))


def _box_of(part: str) -> PartBox:
    box = part_box(part)
    if box is None:
        raise ValueError(f"{part!r} is not the name of a part of a photograph")
    return box


def largest_px(framings: Sequence[Framing]) -> tuple[int, int]:
    """Return the height and the width that a photograph must have at least to serve all framings.

    Beside a larger one, a framing of 384 px comes from full scale although it was trained from half: 1 grey level, 4 %
    of the distance between two photographs in ImageNet features (docs/performance.md); not antialiasing would be 42 %.
    """
    heights, widths = zip(*(framing.photograph_px for framing in framings), strict=True)
    return max(heights), max(widths)


# %%
class Photograph(NamedTuple):
    """A decoded photograph."""

    rgb: np.ndarray  # (height, width, 3) uint8, upright by its EXIF orientation
    oddities: tuple[str, ...]  # what is unlike the training photographs, though it can be decoded


MODES = {"L": "grayscale", "1": "black and white", "CMYK": "CMYK", "P": "a palette", "RGBA": "RGB with transparency"}
ORIENTATION_TAG, UPRIGHT_ORIENTATION, TURNED_FROM = 274, 1, 5  # EXIF; from 5 on width and height change places
ORIENTATIONS = range(1, 9)  # all that EXIF defines; other values are met in real files and mean nothing
# What broken headers cause in Pillow, and more pixels than it wants to see: OpenCV has the last word on both.
PILLOW_ERRORS = (
    UnidentifiedImageError,
    Image.DecompressionBombError,
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    struct.error,
)
JPEG = "JPEG"
DCT_SCALES = (8, 4, 2)  # what libjpeg can shrink by while it decodes, which costs nothing and saves time
# JPEG markers (ITU T.81, table B.1): 0xff and a code; 0xff 0 is a byte of data, 0xff 0xff padding.
START_OF_IMAGE, END_OF_IMAGE, START_OF_SCAN, RESTART_INTERVAL = b"\xff\xd8", 0xD9, 0xDA, 0xDD
FIRST_SEGMENT, RESTARTS, SEQUENTIAL_FRAMES = 0xC0, range(0xD0, 0xD8), (0xC0, 0xC1)
MARKER, MARKER_BUT_RESTART = re.compile(rb"\xff[^\x00\xff]"), re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


# %%
def read_photograph(path: Path, at_least_px: tuple[int, int] | None = None) -> Photograph:
    """Decode one photograph; a JPEG at the smallest DCT scale whose height and width are still `at_least_px`.

    OpenCV's decoder was the fastest of those in Kaggle's image (docs/performance.md), and refuses truncated files.

    Raises:
        ImageError: the file cannot be read, is empty, truncated, no picture, or would not fit into memory.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise ImageError(f"{path} does not exist: is the competition's data attached whole?") from None
    except OSError as error:  # a directory, no permission, a failing disk
        raise ImageError(f"{path} cannot be read ({error.strerror}): download it again") from None
    except ValueError as error:  # a name with a zero byte
        raise ImageError(f"{str(path)!r} is not the name of a file ({error})") from None
    header = _header(path, raw)
    scale = 1
    if at_least_px is not None and header is not None and header.format == JPEG:
        height, width = header.upright_px
        fitting = [s for s in DCT_SCALES if -(-height // s) >= at_least_px[0] and -(-width // s) >= at_least_px[1]]
        scale = max(fitting, default=1)
    whole = bool(raw) and (not raw.startswith(START_OF_IMAGE) or _is_whole(raw))
    # OpenCV would turn by its own reading of EXIF, which takes a byte or a text for a number and knows none in WebP:
    # what is reported, what the scale is chosen for and what is done must be one. Only a TIFF is turned in decoding.
    turned_here = header is None or header.format != "TIFF"
    flags = _IMREAD[scale] | (cv2.IMREAD_IGNORE_ORIENTATION if turned_here else 0)
    try:
        image = cv2.imdecode(np.frombuffer(raw, np.uint8), flags) if whole else None
    except cv2.error as error:  # more pixels than OpenCV allows, or than the memory holds
        raise ImageError(f"{path} ({len(raw):,} bytes) cannot be decoded ({error.err}): download it again") from None
    if image is None:
        what = _what_instead_of_a_picture(raw)
        raise ImageError(f"{path} ({len(raw):,} bytes) cannot be decoded{what and f', {what}'}: download it again")
    if header is None and raw.startswith(START_OF_IMAGE):  # its metadata are broken, the picture is not
        header = _Header(JPEG, "RGB", UPRIGHT_ORIENTATION, image.shape[1] * scale, image.shape[0] * scale)
    rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    if header is None:
        return Photograph(rgb, ("an unknown format",))
    return Photograph(_upright(rgb, header.orientation) if turned_here else rgb, header.oddities())


def read_rgb(path: Path, at_least_px: tuple[int, int] | None = None) -> np.ndarray:
    """Decode one photograph to (height, width, 3) uint8, whatever is odd about it; see `read_photograph`."""
    return read_photograph(path, at_least_px).rgb


_IMREAD = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


def _upright(stored: np.ndarray, orientation: int) -> np.ndarray:
    """Turn (height, width, 3) as EXIF says: 2 to 4 in its plane, 5 to 8 with height and width exchanged."""
    picture = stored.swapaxes(0, 1) if orientation >= TURNED_FROM else stored
    if orientation in (3, 4, 7, 8):
        picture = picture[::-1]
    if orientation in (2, 3, 6, 7):
        picture = picture[:, ::-1]
    return np.ascontiguousarray(picture)


def _what_instead_of_a_picture(raw: bytes) -> str:
    """Name what lies under a photograph's name, by how it begins; empty where that is not clear."""
    start = raw[:200].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if raw[4:8] == b"ftyp":
        return "it is HEIC, AVIF or a video, which OpenCV does not read here"
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, not the file itself"
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<svg")):
        return "it is a web page or an SVG"
    if start.startswith((b"pk\x03\x04", b"\x1f\x8b")):
        return "it is an archive"
    return ""


# %%
class _Header(NamedTuple):
    """What a picture file says of itself before it is decoded."""

    format: str
    mode: str  # Pillow's
    orientation: int  # EXIF
    width_px: int  # as stored
    height_px: int

    @property
    def upright_px(self) -> tuple[int, int]:
        """Height and width when it stands upright."""
        turned = self.orientation >= TURNED_FROM
        return (self.width_px, self.height_px) if turned else (self.height_px, self.width_px)

    def oddities(self) -> tuple[str, ...]:
        """Say what is unlike the training photographs, where the competition's are all alike."""
        usual = facts().usual
        if usual is None:
            return ()
        height, width = self.upright_px
        found = []
        if self.format != usual.format:
            found.append(f"{self.format} inside, not {usual.format}")
        if self.mode != "RGB":
            found.append(f"{MODES.get(self.mode, f'mode {self.mode}')}, not RGB of 8 bits")
        if self.orientation != UPRIGHT_ORIENTATION:
            found.append(f"turned upright by its EXIF orientation {self.orientation}")
        if not usual.aspects[0] <= width / height <= usual.aspects[1]:
            found.append(f"{width} x {height} px, squashed from another aspect ratio than {usual.shape}")
        if not usual.heights_px[0] <= height <= usual.heights_px[1]:
            found.append(f"{width} x {height} px, of another size than {usual.size_px}")
        return tuple(found)


def _header(path: Path, raw: bytes) -> _Header | None:
    """Read a picture's header, some 0.05 ms; None where it is none that Pillow knows.

    Raises:
        ImageError: it declares more pixels than fit into memory.
    """
    try:
        with Image.open(io.BytesIO(raw)) as picture:
            # Pillow calls a camera's JPEG that carries a second picture MPO: the first one counts.
            kind = JPEG if raw.startswith(START_OF_IMAGE) else str(picture.format)
            return _Header(kind, picture.mode, _orientation(picture), *picture.size)
    except Image.DecompressionBombError as bomb:
        raise ImageError(
            f"{path} ({len(raw):,} bytes) cannot be decoded, it declares too many pixels ({bomb})"
        ) from None
    except PILLOW_ERRORS:
        return None


def _orientation(picture: Image.Image) -> int:
    """Return how a picture is to be turned; upright where its EXIF block is broken or says what cannot be."""
    for xmp in ("xmp", "XML:com.adobe.xmp"):  # where EXIF says nothing, Pillow would ask it; a browser does not
        picture.info.pop(xmp, None)
    try:
        value = picture.getexif().get(ORIENTATION_TAG, UPRIGHT_ORIENTATION)
    except PILLOW_ERRORS:
        return UPRIGHT_ORIENTATION
    return value if isinstance(value, int) and value in ORIENTATIONS else UPRIGHT_ORIENTATION


def _is_whole(raw: bytes) -> bool:
    """Follow the markers of a JPEG to its end-of-image, some 0.1 ms; false where it lacks, or where none can be.

    Between two markers lies data, in which a byte 0xff is followed by 0 or, if the file restarts its code at intervals,
    by a restart marker (ITU T.81, B.1.1). OpenCV 4.12 refuses a file that just ends; others fill what is missing with
    grey, and which one Kaggle has is not known.
    """
    at, components, marker, only_the_end = len(START_OF_IMAGE), 0, MARKER, False
    restarts = False
    # Segments are skipped by their length: an EXIF thumbnail is a whole JPEG inside one, with an end of its own.
    while found := marker.search(raw, at):
        code, at = raw[found.end() - 1], found.end()
        if code == END_OF_IMAGE:
            return True
        if only_the_end or code < FIRST_SEGMENT or code in RESTARTS or code == START_OF_IMAGE[1]:
            return False
        if code in SEQUENTIAL_FRAMES:
            components = int.from_bytes(raw[at + 7 : at + 8])
        elif code == RESTART_INTERVAL:
            restarts = raw[at + 2 : at + 4] != bytes(2)
        elif code == START_OF_SCAN:
            marker = MARKER_BUT_RESTART if restarts else MARKER
            # All components in one scan: nothing but the end can follow it.
            only_the_end = components > 0 and raw[at + 2 : at + 3] == bytes([components])
        at += int.from_bytes(raw[at : at + 2])
    return False


# %%
def resize_rgb(image: np.ndarray, framing: Framing) -> np.ndarray:
    """Resize a framing's part of a whole photograph (height, width, 3) uint8, ignoring the aspect ratio.

    Antialiased, as Pillow does it, with which timm's backbones were pretrained: equal to one grey level where it
    shrinks, to two where it enlarges, and several times faster. OpenCV's linear and cubic modes do not antialias.
    """
    size_px, image = framing.size_px, part_of(without_bottom(image, framing.crop_bottom), framing.part)
    if image.shape[:2] == size_px:
        return np.ascontiguousarray(image)
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
    resized = interpolate(pixels, size_px, mode=framing.interpolation, antialias=True, align_corners=False)
    return np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())


def picture_tensor(picture: np.ndarray) -> torch.Tensor:
    """Turn (H, W, 3) uint8 into a tensor (3, H, W) that owns its memory."""
    return torch.from_numpy(np.array(picture.transpose(2, 0, 1), order="C"))
