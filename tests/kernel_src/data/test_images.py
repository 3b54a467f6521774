"""Photographs: whatever a camera writes comes out upright RGB, and a bad file is named."""

import io
import os
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from kernel_src.data.dataset import decoded_photographs
from kernel_src.data.images import (
    Framing,
    ImageError,
    largest_px,
    part_of,
    part_slices,
    read_photograph,
    read_rgb,
    resize_rgb,
    without_bottom,
)


def two_colours() -> Image.Image:
    """Red on the left, blue on the right; wider than high."""
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[:, :40, 0] = pixels[:, 40:, 2] = 250
    return Image.fromarray(pixels)


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def test_channels_come_as_rgb(tmp_path: Path) -> None:
    image = read_rgb(saved(tmp_path / "a.jpg", two_colours(), quality=95))
    assert image.shape == (40, 80, 3) and image.dtype == np.uint8
    assert image[20, 10, 0] > 200 > 60 > image[20, 10, 2] and image[20, 70, 2] > 200


def test_a_photograph_is_turned_upright_by_its_exif(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90° clockwise to see it upright
    image = read_rgb(saved(tmp_path / "a.jpg", two_colours(), quality=95, exif=exif))
    assert image.shape == (80, 40, 3)
    assert image[10, 20, 0] > 200 and image[70, 20, 2] > 200, "what was left is now on top"


@pytest.mark.parametrize(
    ("name", "mode", "options"),
    [
        ("a.jpg", "L", {}),
        ("a.jpg", "CMYK", {"quality": 95}),
        ("a.png", "RGBA", {}),
        ("a.png", "P", {}),
        ("a.png", "I;16", {}),
        ("a.jpg", "RGB", {"progressive": True}),
    ],
)
def test_other_kinds_of_pictures_become_three_channels_of_uint8(
    tmp_path: Path, name: str, mode: str, options: dict[str, object]
) -> None:
    grey = Image.new("L", (80, 40), 128)
    if mode == "I;16":
        image = Image.fromarray(np.full((40, 80), 128 * 257, np.uint16))
    else:
        image = grey.convert("RGB").quantize(4) if mode == "P" else grey.convert("RGB").convert(mode)
    pixels = read_rgb(saved(tmp_path / name, image, **options))
    assert pixels.shape == (40, 80, 3) and pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - 128).max() <= 3


def jpeg_bytes() -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (100, 200, 3), np.uint8)
    Image.fromarray(noise).save(file, "JPEG")
    return file.getvalue()


@pytest.mark.parametrize(
    "data",
    [b"", b"no picture", jpeg_bytes()[:200], jpeg_bytes()[: len(jpeg_bytes()) // 2], jpeg_bytes()[:-100]],
    ids=["empty", "text", "header only", "half", "all but the end"],
)
def test_what_cannot_be_decoded_whole_is_refused_by_name_and_size(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "ID1.jpg"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=rf"ID1.jpg \({len(data):,} bytes\) cannot be decoded: download it again"):
        read_rgb(path)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="ID1.jpg does not exist: is the competition's data attached whole"):
        read_rgb(tmp_path / "ID1.jpg")


PICTURE = np.asarray(Image.effect_mandelbrot((400, 200), (-2, -1.2, 1, 1.2), 60).convert("RGB"))
PICTURE = np.stack([PICTURE[..., 0], np.roll(PICTURE[..., 1], 40, 1), PICTURE[::-1, :, 2]], 2)


@pytest.mark.parametrize(
    ("size_px", "decoded_px"),
    [
        ((100, 200), (100, 200)),
        ((101, 50), (200, 400)),
        ((50, 100), (50, 100)),
        ((24, 20), (25, 50)),
        (None, (200, 400)),
    ],
)
def test_a_jpeg_is_decoded_at_the_smallest_scale_that_serves(
    size_px: tuple[int, int] | None, decoded_px: tuple[int, int], tmp_path: Path
) -> None:
    path = saved(tmp_path / "a.jpg", Image.fromarray(PICTURE), quality=95)
    photograph = read_photograph(path, size_px)
    assert photograph.rgb.shape == (*decoded_px, 3) and photograph.oddities == ()
    if size_px:
        small, whole = (resize_rgb(rgb, Framing(*size_px)) for rgb in (photograph.rgb, read_rgb(path)))
        assert np.abs(small.astype(int) - whole).mean() < 3, "nearly what the whole picture would give"


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("size_px", [None, (40, 40)])
def test_a_turned_photograph_stands_upright_at_every_scale(
    orientation: int, size_px: tuple[int, int] | None, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    path = saved(tmp_path / "a.jpg", Image.fromarray(PICTURE), quality=95, exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    photograph = read_photograph(path, size_px)
    assert any(f"EXIF orientation {orientation}" in text for text in photograph.oddities)
    height, width = photograph.rgb.shape[:2]
    wanted = np.asarray(Image.fromarray(upright).resize((width, height), Image.BOX))
    assert np.abs(photograph.rgb.astype(int) - wanted).mean() < 6
    assert min(height, width) >= 40


@pytest.mark.parametrize("value", [0, 9, 65535, -1, "6", b"\x00", 6.0])
def test_an_orientation_that_exif_does_not_know_turns_nothing_and_is_no_oddity(value: object, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = value
    try:
        path = saved(tmp_path / "a.jpg", Image.fromarray(PICTURE), quality=95, exif=exif)
    except (struct.error, TypeError, ValueError):  # Pillow itself writes only what the tag may hold
        pytest.skip(f"Pillow does not write an orientation of {value!r}")
    photograph = read_photograph(path)
    assert photograph.oddities == () and photograph.rgb.shape == PICTURE.shape
    assert np.abs(photograph.rgb.astype(int) - PICTURE).mean() < 6


def test_a_broken_exif_block_is_no_reason_to_refuse_a_jpeg(tmp_path: Path) -> None:
    for number, block in enumerate((b"Exif\0\0MM", b"Exif\0\0" + b"\xff" * 40, b"Exif\0\0II*\0\xff\xff\xff\x7f")):
        plain = a_jpeg()
        path = tmp_path / f"{number}.jpg"
        path.write_bytes(plain[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block + plain[2:])
        assert read_photograph(path, (50, 50)).oddities == (), block


def with_orientation(kind: int, count: int, value: bytes) -> bytes:
    """A JPEG whose EXIF orientation is of a type that the standard does not give it."""
    entry = struct.pack("<HHI", 274, kind, count) + value.ljust(4, b"\0")
    block = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4)
    stream = io.BytesIO()
    Image.fromarray(PICTURE).save(stream, "JPEG", quality=95)
    plain = stream.getvalue()
    return plain[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block + plain[2:]


ODD_ORIENTATIONS = {
    "a byte": (1, 1, b"\x06"),
    "a text": (2, 2, b"6\0"),
    "undefined": (7, 1, b"\x06"),
    "no type": (99, 1, b"\x06"),
    "none": (3, 0, b"\x06"),
    "beyond 16 bits": (4, 1, struct.pack("<I", 0x10006)),
}


@pytest.mark.parametrize("odd", ODD_ORIENTATIONS)
@pytest.mark.parametrize("size_px", [None, (50, 100)])
def test_a_picture_is_turned_only_where_that_is_reported(
    odd: str, size_px: tuple[int, int] | None, tmp_path: Path
) -> None:
    # OpenCV turned these by itself: a photograph lay on its side in training, and nothing was said.
    (tmp_path / "a.jpg").write_bytes(with_orientation(*ODD_ORIENTATIONS[odd]))
    photograph = read_photograph(tmp_path / "a.jpg", size_px)
    assert photograph.oddities == () and photograph.rgb.shape[1] == 2 * photograph.rgb.shape[0]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [2, 3, 4, 6])
def test_what_is_reported_as_turned_is_turned(kind: str, orientation: int, tmp_path: Path) -> None:
    if kind == "TIFF" and orientation > 4:
        pytest.skip("OpenCV does not decode such a TIFF in every release")
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(PICTURE).save(tmp_path / "a", kind, quality=95, exif=exif)
    wanted = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "a")).convert("RGB"))
    photograph = read_photograph(tmp_path / "a")
    assert any(f"EXIF orientation {orientation}" in text for text in photograph.oddities)
    assert np.abs(photograph.rgb.astype(int) - wanted).mean() < 6


def test_an_orientation_in_xmp_alone_turns_nothing(tmp_path: Path) -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="6"/></x:xmpmeta>'
    path = saved(tmp_path / "a.jpg", Image.fromarray(PICTURE), quality=95, xmp=xmp)
    photograph = read_photograph(path, (50, 100))
    assert photograph.oddities == () and photograph.rgb.shape == (50, 100, 3)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"\0\0\0\x18ftypheic" + bytes(400), "it is HEIC, AVIF or a video"),
        (b"version https://git-lfs.github.com/spec/v1\n", "it is a Git LFS pointer"),
        (b"\n<!DOCTYPE html><html>", "it is a web page"),
        (b"PK\x03\x04" + bytes(40), "it is an archive"),
    ],
)
def test_what_lies_under_the_name_of_a_photograph_is_named(content: bytes, what: str, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(ImageError, match=f"a.jpg .* cannot be decoded, {what}"):
        read_photograph(tmp_path / "a.jpg")


def test_a_name_that_no_file_can_have_is_no_traceback() -> None:
    with pytest.raises(ImageError, match="not the name of a file"):
        read_photograph(Path("a\0b.jpg"))


def test_a_camera_jpeg_with_a_second_picture_is_a_jpeg(tmp_path: Path) -> None:
    first, second = Image.fromarray(PICTURE), Image.fromarray(PICTURE[::2, ::2])
    path = tmp_path / "a.jpg"
    first.save(path, "MPO", save_all=True, append_images=[second], quality=95)
    with Image.open(path) as opened:
        assert opened.format == "MPO"
    photograph = read_photograph(path, (50, 50))
    assert photograph.oddities == () and photograph.rgb.shape == (50, 100, 3), "the DCT scale serves as well"


@pytest.mark.parametrize(
    ("mode", "suffix", "told"),
    [
        ("L", ".jpg", ("grayscale",)),
        ("CMYK", ".jpg", ("CMYK",)),
        ("RGB", ".png", ("PNG inside",)),
        ("P", ".png", ("PNG inside", "a palette")),
        ("RGBA", ".png", ("PNG inside", "transparency")),
        ("RGB", ".bmp", ("BMP inside",)),
    ],
)
def test_another_kind_of_picture_is_decoded_as_pillow_would_and_told_of(
    mode: str, suffix: str, told: tuple[str, ...], tmp_path: Path
) -> None:
    other = saved(tmp_path / f"a{suffix}", Image.fromarray(PICTURE).convert(mode))
    path = other.rename(tmp_path / "ID1.jpg")
    wanted = np.asarray(Image.open(path).convert("RGB"))
    photograph = read_photograph(path, (50, 50))
    assert all(any(word in text for text in photograph.oddities) for word in told)
    whole = read_rgb(path)
    assert np.abs(whole.astype(int) - wanted).mean() < 4


def test_a_cut_off_photograph_is_refused_even_where_its_thumbnail_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: np.zeros((100, 200, 3), np.uint8))  # as a lenient decoder would
    exif = b"\xff\xe1" + (len(jpeg_bytes()) + 2).to_bytes(2, "big") + jpeg_bytes()
    with_thumbnail = jpeg_bytes()[:2] + exif + jpeg_bytes()[2:]
    path = tmp_path / "a.jpg"
    path.write_bytes(with_thumbnail + b"what a camera adds behind")
    assert read_rgb(path).shape == (100, 200, 3)
    path.write_bytes(with_thumbnail[:-2])
    with pytest.raises(ImageError, match="cannot be decoded"):
        read_rgb(path)


def a_jpeg(**options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PICTURE).save(file, "JPEG", quality=95, **options)
    return file.getvalue()


KINDS: list[dict[str, object]] = [{}, {"progressive": True}, {"restart_marker_rows": 1}, {"optimize": True}]


@pytest.mark.parametrize("options", KINDS, ids=["baseline", "progressive", "restarts", "optimised"])
def test_a_block_of_another_file_in_the_middle_of_a_jpeg_is_seen(options: dict[str, object], tmp_path: Path) -> None:
    path, unseen = tmp_path / "a.jpg", 0
    for number in range(40):
        data = bytearray(a_jpeg(**options))
        at = len(data) // 4 + number * len(data) // 80
        data[at : at + 1024] = np.random.default_rng(number).bytes(1024)
        path.write_bytes(data)
        opencv = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert opencv is not None or options.get("progressive"), "OpenCV sees it by itself"
        try:
            read_rgb(path)
            unseen += 1
        except ImageError as error:
            assert "a.jpg" in str(error)
    assert unseen <= (12 if options.get("progressive") else 4)


@pytest.mark.parametrize("options", KINDS, ids=["baseline", "progressive", "restarts", "optimised"])
@pytest.mark.parametrize("behind", [b"", b"\xff" * 7, a_jpeg()[:900], b"\xff\x01\xff\x02"])
def test_whatever_a_camera_adds_behind_the_end_a_whole_jpeg_is_read(
    options: dict[str, object], behind: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "a.jpg"
    whole = a_jpeg(**options, comment=b"\xff\xd9 in a comment")
    path.write_bytes(whole[:-2] + b"\xff\xff" + whole[-2:] + behind)
    assert read_photograph(path).rgb.shape == (200, 400, 3)


def test_a_restart_marker_where_none_can_be_is_seen(tmp_path: Path) -> None:
    data = bytearray(a_jpeg())
    at = len(data) // 2
    data[at : at + 2] = b"\xff\xd0"
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(ImageError, match="cannot be decoded"):
        read_rgb(tmp_path / "a.jpg")


def test_a_file_that_declares_more_than_fits_into_memory_is_refused(tmp_path: Path) -> None:
    """Pillow's own error for such files is neither an OSError nor a ValueError."""
    data = bytearray(jpeg_bytes())
    size = data.index(b"\xff\xc0") + 5
    data[size : size + 4] = (65000).to_bytes(2, "big") * 2
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(ImageError, match="a.jpg .*exceeds limit"):
        read_rgb(tmp_path / "a.jpg", (384, 384))


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.full((50, 100), 40000, np.uint16))
    photograph = read_photograph(path)
    assert photograph.rgb.dtype == np.uint8 and set(photograph.rgb.ravel()) == {40000 >> 8}
    assert any("I;16" in text for text in photograph.oddities)


@pytest.mark.parametrize(
    ("size", "told"), [((1, 1), "1 x 1 px"), ((12000, 6000), "12000 x 6000 px"), ((300, 300), "aspect")]
)
def test_sizes_that_no_training_photograph_has_are_told_of(size: tuple[int, int], told: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jpg", Image.new("RGB", size, (10, 90, 30)))
    photograph = read_photograph(path, (384, 384))
    assert any(told in text for text in photograph.oddities)
    assert resize_rgb(photograph.rgb, Framing(384, 384)).shape == (384, 384, 3)
    assert photograph.rgb.nbytes <= 3 * 1500 * 750, "a huge one is never decoded whole"


def test_resizing_gives_the_size_and_averages_when_it_shrinks() -> None:
    stripes = np.zeros((100, 200, 3), np.uint8)
    stripes[:, ::2] = 200
    small = resize_rgb(stripes, Framing(50, 60))
    assert small.shape == (50, 60, 3)
    assert np.abs(small.astype(int) - 100).max() <= 20, "picking single pixels would give 0 or 200"
    assert np.shares_memory(resize_rgb(stripes, Framing(100, 200)), stripes), "not copied"
    assert resize_rgb(stripes, Framing(150, 100)).shape == (150, 100, 3)


@pytest.mark.parametrize(("interpolation", "pillow"), [("bicubic", Image.BICUBIC), ("bilinear", Image.BILINEAR)])
@pytest.mark.parametrize("size_px", [(384, 384), (518, 518), (37, 90), (1200, 1300)])
def test_resizing_is_pillows_with_which_backbones_were_pretrained(
    interpolation: str, pillow: int, size_px: tuple[int, int]
) -> None:
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(0, 256, (500, 1000, 3), np.uint8), (0, 0), 1.5)
    wanted = np.asarray(Image.fromarray(image).resize(size_px[::-1], pillow))
    ours = resize_rgb(image, Framing(*size_px, interpolation))
    levels = np.abs(ours.astype(int) - wanted)
    assert levels.max() <= (1 if size_px < image.shape[:2] else 2) and levels.mean() < 0.1
    assert ours.flags.c_contiguous


@pytest.fixture
def photographs(tmp_path: Path) -> list[Path]:
    return [saved(tmp_path / f"{i}.png", Image.new("RGB", (80, 40), (10 * i, 0, 0))) for i in range(3)]


def test_decoding_gives_every_photograph_in_order_from_disk(photographs: list[Path], tmp_path: Path) -> None:
    decoded = decoded_photographs(photographs, Framing(16, 32), tmp_path / "cache")
    assert decoded.shape == (3, 16, 32, 3) and decoded.dtype == np.uint8
    assert decoded[:, 0, 0, 0].tolist() == [0, 10, 20]
    assert isinstance(decoded, np.memmap) and not decoded.flags.writeable


def test_a_second_call_decodes_nothing(
    photographs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = decoded_photographs(photographs, Framing(16, 32), tmp_path / "cache")
    monkeypatch.setattr(cv2, "imdecode", None)
    assert np.array_equal(decoded_photographs(photographs, Framing(16, 32), tmp_path / "cache"), first)


def test_another_framing_other_files_and_a_changed_file_are_decoded_anew(
    photographs: list[Path], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    decoded_photographs(photographs, Framing(16, 32), cache)
    assert decoded_photographs(photographs, Framing(32, 16), cache).shape == (3, 32, 16, 3)
    assert decoded_photographs(photographs[::-1], Framing(16, 32), cache)[0, 0, 0, 0] == 20
    saved(photographs[0], Image.effect_noise((80, 40), 50).convert("RGB"))
    assert decoded_photographs(photographs, Framing(16, 32), cache)[0].std() > 5
    decoded_photographs(photographs, Framing(16, 32, "bilinear"), cache)
    assert len(os.listdir(cache)) == 5


def test_a_photograph_that_fails_leaves_no_cache_behind(photographs: list[Path], tmp_path: Path) -> None:
    photographs[2].write_bytes(b"broken")
    with pytest.raises(ImageError, match="2.png"):
        decoded_photographs(photographs, Framing(16, 32), tmp_path / "cache")
    assert os.listdir(tmp_path / "cache") == []


def test_whatever_is_in_the_file_a_photograph_is_read_or_refused_by_name(tmp_path: Path) -> None:
    """An error of another kind would end a worker, with all the photographs that it still had to read."""
    exif = Image.Exif()
    exif[0x0112] = 6
    whole = [
        saved(tmp_path / "a.jpg", two_colours(), exif=exif).read_bytes(),
        saved(tmp_path / "a.png", two_colours()).read_bytes(),
        saved(tmp_path / "a.tif", two_colours(), compression="tiff_lzw").read_bytes(),
    ]
    random, path, refused = np.random.default_rng(5), tmp_path / "spoiled.jpg", 0
    for number in range(300):
        data = bytearray(whole[number % 3])
        for at in random.integers(0, min(len(data), 300), 4):
            data[at] = int(random.integers(256))
        path.write_bytes(data)
        try:
            assert read_photograph(path, (16, 16)).rgb.ndim == 3
        except ImageError as error:
            assert str(path) in str(error)
            refused += 1
    assert 0 < refused < 300


def test_photographs_unlike_the_competitions_are_an_error_where_they_must_be_like_them(tmp_path: Path) -> None:
    good = saved(tmp_path / "a.jpg", Image.new("RGB", (200, 100), (10, 90, 30)))
    square = saved(tmp_path / "b.jpg", Image.new("RGB", (200, 200), (10, 90, 30)))
    grey = saved(tmp_path / "c.jpg", Image.new("L", (200, 100), 80))
    paths, framing = [good, square, grey], Framing(16, 32)
    assert len(decoded_photographs(paths, framing, tmp_path / "1", [True, False, False])) == 3
    with pytest.raises(ImageError) as told:
        decoded_photographs(paths, framing, tmp_path / "2", [True, True, True])
    assert "b.jpg: 200 x 200 px" in str(told.value) and "c.jpg: grayscale" in str(told.value)
    assert "a.jpg" not in str(told.value) and "download its data again" in str(told.value)
    assert os.listdir(tmp_path / "2") == []


def test_a_file_that_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").mkdir()
    with pytest.raises(ImageError, match="a.jpg cannot be read .Is a directory."):
        read_photograph(tmp_path / "a.jpg")


def test_a_picture_with_more_pixels_than_the_decoder_allows_is_refused_by_name(tmp_path: Path) -> None:
    """A header of 33 bytes can promise 2^32 pixels."""
    from zlib import crc32

    chunk = b"IHDR" + (65_535).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    header = (13).to_bytes(4, "big") + chunk + crc32(chunk).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header)
    with pytest.raises(ImageError, match="a.png"):
        read_photograph(tmp_path / "a.png")


# Parts


@pytest.mark.parametrize("width", [200, 201])
def test_the_halves_are_the_photographs_own_pixels(width: int) -> None:
    image = np.random.default_rng(0).integers(0, 255, (101, width, 3), np.uint8)
    half = -(-width // 2)
    assert np.array_equal(part_of(image, "left"), image[:, :half])
    assert np.array_equal(part_of(image, "right")[:, ::-1], image[:, ::-1][:, :half])
    assert np.array_equal(part_of(image, "top"), image[:51])
    assert np.array_equal(part_of(image, "bottom")[::-1], image[::-1][:51])
    assert np.array_equal(part_of(image, "whole"), image)


@pytest.mark.parametrize("count", [2, 3, 5, 7])
@pytest.mark.parametrize("px", [210, 211, 100, 7])
def test_tiles_cover_the_photograph_and_only_pixels_on_a_border_belong_to_two(count: int, px: int) -> None:
    """A tile has each pixel that its cell touches: those that the grid's lines cut through belong to both sides."""
    seen = np.zeros(px, int)
    for tile in range(count):
        rows, columns = part_slices(f"tile1x{tile + 1}of1x{count}", (33, px))
        assert rows == slice(0, 33)
        assert columns.start <= tile * px / count < columns.start + 1
        assert columns.stop - 1 < (tile + 1) * px / count <= columns.stop
        seen[columns] += 1
        mirrored = part_slices(f"tile1x{count - tile}of1x{count}", (33, px))[1]
        assert (px - mirrored.stop, px - mirrored.start) == (columns.start, columns.stop), "a mirror changes nothing"
    assert seen.min() == 1 and (seen > 1).sum() == (0 if px % count == 0 else count - 1)


def test_a_tile_is_counted_from_the_top_left() -> None:
    image = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    assert np.array_equal(part_of(image, "tile2x3of3x4"), image[20:40, 40:60])
    halves = [part_of(image, part) for part in ("left", "right")]
    assert all(np.array_equal(part_of(image, f"tile1x{i}of1x2"), half) for i, half in enumerate(halves, 1))


def test_a_part_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="'middle' is not the name of a part"):
        part_slices("middle", (10, 10))


def test_the_strip_at_the_bottom_is_cut_before_anything_else() -> None:
    image = np.random.default_rng(0).integers(0, 255, (100, 200, 3), np.uint8)
    whole, left = Framing(45, 90, crop_bottom=0.1), Framing(90, 100, part="left", crop_bottom=0.1)
    assert np.array_equal(resize_rgb(image, whole), resize_rgb(image[:90], Framing(45, 90)))
    assert np.array_equal(resize_rgb(image, left), image[:90, :100])
    assert np.array_equal(resize_rgb(image, Framing(45, 200, part="bottom", crop_bottom=0.1)), image[45:90])
    assert np.array_equal(without_bottom(image, 0.0), image)
    assert without_bottom(image, 0.999).shape == (1, 200, 3)


@given(
    part=st.sampled_from(["whole", "left", "top", "tile2x2of3x3", "tile1x1of5x1"]),
    crop=st.floats(0, 0.9),
    side=st.integers(1, 600),
    more=st.integers(0, 9),
)
def test_what_is_decoded_has_at_least_the_size_of_the_picture_after_strip_and_part_are_cut(
    part: str, crop: float, side: int, more: int
) -> None:
    """Or the network would see an enlarged picture, which is blurred."""
    framing = Framing(side, side, part=part, crop_bottom=crop)
    height, width = (px + more for px in framing.photograph_px)
    pixels = np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (height, width, 3))
    cut = part_of(without_bottom(pixels, crop), part)
    assert cut.shape[0] >= side and cut.shape[1] >= side


def test_a_framing_of_a_half_is_the_half_resized() -> None:
    image = np.random.default_rng(0).integers(0, 255, (100, 200, 3), np.uint8)
    for part in ("left", "right", "top", "bottom"):
        half = np.ascontiguousarray(part_of(image, part))
        assert np.array_equal(resize_rgb(image, Framing(32, 32, part=part)), resize_rgb(half, Framing(32, 32)))
    assert np.array_equal(resize_rgb(image, Framing(100, 100, part="left")), image[:, :100])


def test_a_half_is_decoded_at_twice_the_size_that_the_whole_would_need() -> None:
    """Or the network would see an enlarged picture: 512 px of a half need 1024 of the photograph."""
    assert largest_px([Framing(512, 512)]) == (512, 512)
    assert largest_px([Framing(512, 512, part="left")]) == (512, 1024)
    assert largest_px([Framing(512, 512, part="left"), Framing(300, 300, part="top")]) == (600, 1024)
    assert largest_px([Framing(450, 500, crop_bottom=0.1), Framing(100, 100, part="tile1x3of2x8")]) == (500, 800)
