"""Features files are joined by image, and a wrong one is named."""

from pathlib import Path

import numpy as np
import pytest

from build.core.errors import UsageError
from build.search.regress.features import features_for


def write(path: Path, image_ids: list[str], features: np.ndarray) -> Path:
    np.savez(path, image_id=np.array(image_ids), features=features)
    return path


def test_several_files_are_joined_by_image_whatever_their_order(tmp_path: Path) -> None:
    first = write(tmp_path / "a.npz", ["x", "y", "z"], np.array([[1.0], [2.0], [3.0]]))
    second = write(tmp_path / "b.npz", ["z", "x", "y"], np.array([[30.0, 31], [10, 11], [20, 21]]))
    assert features_for([first, second], ["y", "x"]).tolist() == [[2, 20, 21], [1, 10, 11]]


@pytest.mark.parametrize(
    ("image_ids", "features", "said"),
    [
        (["x", "x"], np.ones((2, 3)), "x appears twice"),
        (["x"], np.ones((2, 3)), r"image_id is \(1,\) and features \(2, 3\)"),
        (["x", "y"], np.array([[1.0], [np.inf]]), "first y"),
        (["x", "w"], np.ones((2, 3)), "lacks 1 of 2 images, first y"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, image_ids: list[str], features: np.ndarray, said: str) -> None:
    with pytest.raises(UsageError, match=said) as refusal:
        features_for([write(tmp_path / "f.npz", image_ids, features)], ["x", "y"])
    assert "f.npz" in str(refusal.value)


def test_a_file_that_is_missing_another_format_or_lacks_an_entry_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        features_for([tmp_path / "none.npz"], ["x"])
    (tmp_path / "text.npz").write_text("image_id,features")
    with pytest.raises(UsageError, match=r"text\.npz cannot be read"):
        features_for([tmp_path / "text.npz"], ["x"])
    np.savez(tmp_path / "odd.npz", ids=np.array(["x"]))
    with pytest.raises(UsageError, match="lacks features, image_id, it has ids"):
        features_for([tmp_path / "odd.npz"], ["x"])


def test_pickled_arrays_are_never_opened(tmp_path: Path) -> None:
    np.savez(tmp_path / "pickled.npz", image_id=np.array(["x", None], object), features=np.ones((2, 1)))
    with pytest.raises(UsageError, match="cannot be read"):
        features_for([tmp_path / "pickled.npz"], ["x"])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"image_id": np.array(["x"]), "features": np.ones((1, 2)) * 1j}, "features are of type complex128"),
        ({"image_id": np.array(["x"]), "features": np.array([["a", "b"]])}, "features are of type <U1"),
        ({"image_id": np.array([1.5]), "features": np.ones((1, 2))}, "image_id is of type float64, not text"),
        ({"image_id": np.array([b"\xff"]), "features": np.ones((1, 2))}, "bytes that are no ASCII text"),
    ],
)
def test_what_is_no_table_of_real_numbers_by_image_is_named(
    arrays: dict[str, np.ndarray], message: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "odd.npz", **arrays)
    with pytest.raises(UsageError, match=message):
        features_for([tmp_path / "odd.npz"], ["x"])


def test_an_empty_file_and_a_folder_are_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "empty.npz").touch()
    for path in (tmp_path / "empty.npz", tmp_path):
        with pytest.raises(UsageError, match="cannot be read"):
            features_for([path], ["x"])
