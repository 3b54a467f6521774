"""Photographs unlike the training ones, each written in place of a healthy one."""

import random
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

EXIF_ORIENTATION, QUARTER_TURN = 274, 6


def _picture(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return picture.convert("RGB")


def broken(path: Path) -> None:
    path.write_bytes(b"\xff\xd8\xff\xe0" + bytes(range(256)) * 8)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def overwritten(path: Path) -> None:
    """With a block of something else in its middle and its end intact, as a failing disk leaves it."""
    content = bytearray(path.read_bytes())
    at = len(content) // 2
    content[at : at + 1024] = random.Random(1).randbytes(1024)
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def missing(path: Path) -> None:
    path.unlink()


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "photograph.jpg").touch()


def cmyk(path: Path) -> None:
    _picture(path).convert("CMYK").save(path, "JPEG")


def grayscale(path: Path) -> None:
    _picture(path).convert("L").save(path, "JPEG")


def sixteen_bits(path: Path) -> None:
    image = cv2.imread(str(path)).astype(np.uint16) * 257
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())


def png(path: Path) -> None:
    _picture(path).save(path, "PNG")


def turned(path: Path) -> None:
    """As a camera held upright leaves it: stored lying, with a note of how to turn it."""
    picture = _picture(path).transpose(Image.Transpose.ROTATE_90)
    exif = picture.getexif()
    exif[EXIF_ORIENTATION] = QUARTER_TURN
    picture.save(path, "JPEG", exif=exif, quality=95)


def one_pixel(path: Path) -> None:
    _picture(path).resize((1, 1)).save(path, "JPEG")


def huge(path: Path) -> None:
    _picture(path).resize((12_000, 6_000)).save(path, "JPEG")


def square(path: Path) -> None:
    _picture(path).resize((100, 100)).save(path, "JPEG")


def white(path: Path) -> None:
    """What a planted cell can recognise."""
    Image.new("RGB", (200, 100), (255, 255, 255)).save(path, "JPEG")
