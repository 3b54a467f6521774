"""The contact sheet shows what the training sees."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from build.core.errors import UsageError
from build.weights.augment import GAP_PX, contact_sheet
from build.weights.command import augment_verb
from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.recipes.changes import changed
from kernel_src.recipes.training_data import Augment
from tests.kernel_src.tiny import TINY, TINY_VIT
from tests.tiny_depth import write_tiny_depth

PICTURE = np.random.default_rng(0).integers(0, 256, (50, 100, 3), np.uint8)


def tile(sheet: np.ndarray, number: int, size_px: tuple[int, int]) -> np.ndarray:
    y = GAP_PX + number // 4 * (size_px[0] + GAP_PX)
    x = GAP_PX + number % 4 * (size_px[1] + GAP_PX)
    return sheet[y : y + size_px[0], x : x + size_px[1]]


def test_the_first_picture_is_the_original_and_the_others_are_what_the_training_gets() -> None:
    from kernel_src.data.images import Framing, resize_rgb
    from kernel_src.data.training_photographs import TrainingPhotographs
    from kernel_src.runtime.randomness import seed_at

    sheet = contact_sheet(TINY, PICTURE, 6)
    assert sheet.shape == (2 * (32 + GAP_PX) + GAP_PX, 4 * (64 + GAP_PX) + GAP_PX, 3)
    small = resize_rgb(PICTURE, Framing(32, 64))
    assert np.array_equal(tile(sheet, 0, (32, 64)), small)
    served = TrainingPhotographs(
        small[None], np.zeros((1, 5)), np.arange(1), Augment("moderate"), seed_at(42, "fold", 0)
    )
    for epoch in range(6):
        served.epoch = epoch
        wanted = served[0]["picture"].numpy().transpose(1, 2, 0)
        assert np.array_equal(tile(sheet, 1 + epoch, (32, 64)), wanted)


def test_without_augmentation_all_pictures_are_the_original() -> None:
    sheet = contact_sheet(changed(TINY, {"augment.preset": "none"}), PICTURE, 3)
    assert all(np.array_equal(tile(sheet, i, (32, 64)), tile(sheet, 0, (32, 64))) for i in range(4))


def test_depth_maps_stand_below_the_pictures_they_turn_with(tmp_path: Path) -> None:
    experiment = changed(TINY_VIT, {"augment.preset": "conservative"})
    plain = contact_sheet(experiment, PICTURE, 3)
    with_depth = contact_sheet(experiment, PICTURE, 3, write_tiny_depth(tmp_path))
    for number in range(4):
        both = tile(with_depth, number, (64, 32))
        assert np.array_equal(both[:32], tile(plain, number, (32, 32)))
    original, map_below = tile(plain, 0, (32, 32)), tile(with_depth, 0, (64, 32))[32:]
    for number in range(1, 4):
        (flip,) = [
            (y, x)
            for y in (1, -1)
            for x in (1, -1)
            if np.array_equal(tile(plain, number, (32, 32)), original[::y, ::x])
        ]
        turned = map_below[:: flip[0], :: flip[1]]
        assert np.array_equal(tile(with_depth, number, (64, 32))[32:], turned)


def test_the_verb_writes_a_png_and_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(EXPERIMENTS, "tiny", TINY)
    cv2.imwrite(str(tmp_path / "a.jpg"), PICTURE)
    out = tmp_path / "sheets/tiny.png"
    augment_verb("tiny", tmp_path / "a.jpg", out, 3, as_json=True)
    printed = json.loads(capsys.readouterr().out)
    assert printed == {"file": str(out), "experiment": "tiny", "augmentation": "moderate", "pictures": 3}
    assert cv2.imread(str(out)).shape == (32 + 2 * GAP_PX, 4 * (64 + GAP_PX) + GAP_PX, 3)


def test_a_wrong_name_file_or_ending_is_a_wrong_use(tmp_path: Path) -> None:
    (tmp_path / "no.jpg").write_bytes(b"no picture")
    for name, image, out, message in (
        ("v99", tmp_path / "no.jpg", tmp_path / "a.png", "no experiment 'v99'; there are demo"),
        ("v1", tmp_path / "gone.jpg", tmp_path / "a.png", "gone.jpg does not exist"),
        ("v1", tmp_path / "no.jpg", tmp_path / "a.png", "cannot be decoded"),
        ("v1", tmp_path / "no.jpg", tmp_path / "a.gif", "must end in .png"),
    ):
        with pytest.raises(UsageError, match=message):
            augment_verb(name, image, out, 3)
