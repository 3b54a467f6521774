"""Batches for inference: the same picture whether it is decoded now or was before."""

from pathlib import Path

import numpy as np
import pytest
import torch

from kernel_src.bundle.bundle_prediction import PhotographFiles
from kernel_src.data.dataset import DecodedPhotographs, decoded_photographs
from kernel_src.data.images import Framing, ImageError, picture_tensor, read_rgb


def test_files_and_decoded_photographs_give_inference_the_same_pictures(tiny_competition: Path, tmp_path: Path) -> None:
    paths = sorted((tiny_competition / "train").iterdir())[:4]
    decoded = DecodedPhotographs(decoded_photographs(paths, Framing(32, 64), tmp_path), np.array([0, 1, 2, 3]))
    files = PhotographFiles(paths, [Framing(32, 64)])
    assert len(files) == len(decoded) == 4
    assert all(torch.equal(files[i][0], decoded[i]) for i in range(4))


def test_every_framing_comes_from_one_decoding_and_is_nearly_what_it_would_be_alone(
    tiny_competition: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = sorted((tiny_competition / "train").iterdir())[:2]
    framings = [Framing(32, 64), Framing(32, 64, "bilinear"), Framing(28, 28), Framing(120, 240)]
    alone = [PhotographFiles(paths, [framing])[1][0] for framing in framings]
    decoded: list[Path] = []
    monkeypatch.setattr(
        "kernel_src.bundle.bundle_prediction.read_rgb", lambda path, px: (decoded.append(path), read_rgb(path, px))[1]
    )
    together = PhotographFiles(paths, framings)[1]
    assert decoded == [paths[1]]
    assert [tuple(picture.shape) for picture in together] == [(3, 32, 64), (3, 32, 64), (3, 28, 28), (3, 120, 240)]
    assert torch.equal(together[-1], alone[-1]), "the largest decides at which scale all are decoded"
    levels = [(one.float() - other.float()).abs().mean() for one, other in zip(together, alone, strict=True)]
    assert max(levels) < 4, "a smaller one sees nearly what it would see alone"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="ID7.jpg"):
        PhotographFiles([tmp_path / "ID7.jpg"], [Framing(8, 8)])[0]


def test_a_tensor_owns_its_memory() -> None:
    picture = np.zeros((4, 4, 3), np.uint8)
    tensor = picture_tensor(picture)
    picture[:] = 9
    assert int(tensor.max()) == 0 and tensor.is_contiguous()
