"""Where Kaggle put things: the new layout, the old one, a search, and a message that helps where nothing fits."""

from pathlib import Path

import pytest

from kernel_src.runtime import mounts, weight_sources
from kernel_src.runtime.mounts import MOCK, find_competition, find_dataset, folder_tree, kaggle_root, working_folder

CUP, WEIGHTS = "csiro-biomass", "i2b-v1-weights"


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path.parent


def test_the_root_is_kaggles_unless_the_rehearsal_names_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KIT_KAGGLE_ROOT", raising=False)
    assert kaggle_root() == Path("/kaggle") and working_folder() == Path("/kaggle/working")
    monkeypatch.setenv("KIT_KAGGLE_ROOT", "/tmp/mock")
    assert working_folder() == Path("/tmp/mock/kaggle/working")


def test_without_kaggle_a_notebook_finds_the_mock_of_the_checkout_it_lies_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KIT_KAGGLE_ROOT", raising=False)
    monkeypatch.setattr(mounts, "KAGGLE", tmp_path / "kaggle")
    lies_in = tmp_path / "kit" / "notebooks" / "i2b-v1-infer"
    mock = tmp_path / "kit" / MOCK / "kaggle"
    for folder in (lies_in, mock / "input", mock / "working"):
        folder.mkdir(parents=True)
    for folder in (lies_in, mock / "working"):  # where Jupyter runs it, and where `make notebook-run` does
        monkeypatch.chdir(folder)
        assert kaggle_root() == mock and working_folder() == mock / "working"
    (tmp_path / "kaggle").mkdir()  # on Kaggle itself nobody looks for a mock
    assert kaggle_root() == tmp_path / "kaggle"


@pytest.mark.parametrize("place", [f"competitions/{CUP}", CUP])
def test_a_competition_is_found_in_either_layout_without_a_search(
    inputs: Path, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = put(inputs / place / "test.csv")
    assert find_competition(CUP, "test.csv") == folder
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("place", [f"datasets/somebody/{WEIGHTS}", WEIGHTS])
def test_a_dataset_is_found_in_either_layout_whoever_owns_it_without_a_search(
    inputs: Path, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = put(inputs / place / "manifest.json")
    put(inputs / "datasets/somebody/other/manifest.json")
    assert find_dataset(WEIGHTS, "manifest.json") == folder
    assert capsys.readouterr().out == ""


def test_the_new_layout_goes_first(inputs: Path) -> None:
    put(inputs / CUP / "test.csv")
    new = put(inputs / "competitions" / CUP / "test.csv")
    assert find_competition(CUP, "test.csv") == new


def test_a_folder_without_the_sentinel_is_not_taken(inputs: Path) -> None:
    put(inputs / "datasets/a" / WEIGHTS / "readme.txt")
    legacy = put(inputs / WEIGHTS / "manifest.json")
    assert find_dataset(WEIGHTS, "manifest.json") == legacy


@pytest.mark.parametrize("place", [f"datasets/a/{WEIGHTS}/unpacked", f"models/a/{WEIGHTS}/pytorch/default/1"])
def test_elsewhere_below_its_name_it_is_found_by_its_sentinel_and_said(
    inputs: Path, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = put(inputs / place / "manifest.json")
    assert find_dataset(WEIGHTS, "manifest.json") == folder
    assert str(folder) in capsys.readouterr().out


def test_an_ambiguous_search_is_refused_and_names_what_it_found(inputs: Path) -> None:
    one, two = (put(inputs / "datasets/a" / WEIGHTS / part / "manifest.json") for part in ("x", "y"))
    with pytest.raises(FileNotFoundError, match=f"{one}, {two}"):
        find_dataset(WEIGHTS, "manifest.json")


def test_another_dataset_with_the_same_sentinel_is_never_taken_for_the_wanted_one(inputs: Path) -> None:
    """Every bundle holds a manifest.json: one that was not attached must not quietly become the one that was."""
    other = put(inputs / "datasets/a/i2b-v8-weights/manifest.json")
    with pytest.raises(FileNotFoundError, match=f"manifest.json lies in {other}"):
        find_dataset(WEIGHTS, "manifest.json")


def test_two_owners_of_one_slug_are_refused(inputs: Path) -> None:
    for owner in ("a", "b"):
        put(inputs / "datasets" / owner / WEIGHTS / "manifest.json")
    with pytest.raises(FileNotFoundError, match="several owners.*detach all but one"):
        find_dataset(WEIGHTS, "manifest.json")


def test_the_failure_shows_the_tree_and_what_to_attach(inputs: Path) -> None:
    put(inputs / "datasets/a/other/weights.bin")
    with pytest.raises(FileNotFoundError) as caught:
        find_competition(CUP, "test.csv")
    message = str(caught.value)
    assert f"attach the competition {CUP}" in message and "no folder holds test.csv" in message
    assert "      other/  weights.bin" in message


def test_without_any_input_folder_the_message_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIT_KAGGLE_ROOT", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="does not exist"):
        find_dataset(WEIGHTS, "manifest.json")


def test_a_large_tree_is_cut(tmp_path: Path) -> None:
    for number in range(100):
        put(tmp_path / f"d{number:03}" / "f")
    lines = folder_tree(tmp_path).splitlines()
    assert len(lines) == 61 and lines[-1] == "…"
    for number in range(5):
        put(tmp_path / "d000" / f"g{number}")
    assert "d000/  f, g0, g1 … 6 files" in folder_tree(tmp_path)


def test_an_empty_input_folder_is_named_as_such(inputs: Path) -> None:
    for find in (
        lambda: find_competition(CUP, "test.csv"),
        lambda: find_dataset(WEIGHTS, "manifest.json"),
        lambda: weight_sources.find_model("o/m/pyTorch/v/1", "model.safetensors"),
    ):
        with pytest.raises(FileNotFoundError, match=mounts.NOTHING_MOUNTED) as missing:
            find()
        assert "Cure: where it is attached, run the same version once more" in str(missing.value)
    put(inputs / "datasets" / "kim" / "other" / "x.csv")
    with pytest.raises(FileNotFoundError) as missing:
        find_competition(CUP, "test.csv")
    assert mounts.NOTHING_MOUNTED not in str(missing.value)
