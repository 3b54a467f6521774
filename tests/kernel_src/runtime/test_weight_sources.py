"""The table of weights serves every experiment, and its resolver finds them in whatever way Kaggle mounted them."""

import re
from pathlib import Path

import pytest
import timm

from build.notebooks.metadata import kernel_metadata, kernel_problems
from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.competitions.kernel_cards import kernel_card
from kernel_src.recipes.changes import changed
from kernel_src.runtime.weight_sources import (
    DEPTH_ANYTHING,
    SOURCE_OF,
    WEIGHT_SOURCES,
    WEIGHTS_FILE,
    find_model,
    find_weights,
    how_to_get,
    kaggle_models,
)

ES = "i2b-tf-efficientnet-es-imagenet"  # the row whose Kaggle Model holds safetensors
HANDLE = "timm/tf-efficientnet/pytorch/tf-efficientnet-es/1"


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_finds_its_weights_and_depth_model_in_the_table(name: str) -> None:
    experiment = EXPERIMENTS[name]
    assert experiment.encoder.timm in SOURCE_OF[experiment.encoder.weights].serves
    if experiment.depth:
        assert SOURCE_OF[experiment.depth.weights].serves == (DEPTH_ANYTHING,)


def test_every_row_says_where_from_and_where_seen_and_serves_what_timm_knows() -> None:
    for source in WEIGHT_SOURCES:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", source.hub) and source.licence
        assert source.models or source.note, f"{source.dataset} does not say that no handle was found"
        for backbone in source.serves:
            assert backbone == DEPTH_ANYTHING or timm.is_model(backbone)
            if backbone != DEPTH_ANYTHING:
                published = timm.get_pretrained_cfg(source.hub.removeprefix("timm/"))
                assert published is not None and published.architecture == backbone, source.hub
        for model in source.models:
            assert len(model.handle.split("/")) == 5 and "kaggle/input" in model.seen


@pytest.mark.parametrize(
    "place", [f"models/{HANDLE}", "tf-efficientnet/pytorch/tf-efficientnet-es/1", f"datasets/me/{ES}", ES]
)
def test_weights_are_found_as_model_or_dataset_in_either_layout(inputs: Path, place: str) -> None:
    wanted = put(inputs / place / WEIGHTS_FILE)
    put(inputs / "datasets/me/i2b-other/model.safetensors")
    assert find_weights(ES) == wanted


def test_the_dataset_goes_before_the_model(inputs: Path) -> None:
    put(inputs / "models" / HANDLE / WEIGHTS_FILE)
    own = put(inputs / "datasets/me" / ES / WEIGHTS_FILE)
    assert find_weights(ES) == own


def test_a_missing_one_says_what_to_attach_and_how_to_make_it(inputs: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        find_weights(ES)
    message = str(caught.value)
    assert f"attach the dataset {ES}" in message and f"attach the Model {HANDLE}" in message
    assert f"python -m build weights {ES} --from" in message


def test_another_version_of_a_model_is_not_taken(inputs: Path) -> None:
    put(inputs / "models" / HANDLE.removesuffix("1") / "2" / WEIGHTS_FILE)
    with pytest.raises(FileNotFoundError, match=f"Model {HANDLE}.*is not mounted"):
        find_model(HANDLE, WEIGHTS_FILE)


def test_a_model_of_another_owner_is_not_taken_and_the_letters_case_does_not_count(inputs: Path) -> None:
    put(inputs / "models" / HANDLE.replace("timm/", "someone/") / WEIGHTS_FILE)
    with pytest.raises(FileNotFoundError, match="is not mounted"):
        find_model(HANDLE, WEIGHTS_FILE)
    wanted = put(inputs / "models" / HANDLE.replace("pytorch", "PyTorch") / WEIGHTS_FILE)
    assert find_model(HANDLE.replace("pytorch", "pyTorch"), WEIGHTS_FILE) == wanted.parent


def test_a_model_without_the_wanted_file_is_named(inputs: Path) -> None:
    place = put(inputs / "models" / HANDLE / "pytorch_model.bin").parent
    with pytest.raises(FileNotFoundError, match=f"it is at {place}, without that file"):
        find_model(HANDLE, WEIGHTS_FILE)


def test_a_model_that_holds_a_pickle_is_named_but_neither_mounted_nor_opened(inputs: Path) -> None:
    dinov2 = EXPERIMENTS["v7"].encoder.weights
    put(inputs / "models/metaresearch/dinov2/pytorch/base/1/pytorch_model.bin")
    assert kaggle_models(dinov2) == () and kernel_card("v7", "train").models == ()
    with pytest.raises(FileNotFoundError, match="pytorch_model.bin, a pickle, which the same command converts"):
        find_weights(dinov2)


def test_a_model_of_kaggles_takes_the_place_of_an_upload(monkeypatch: pytest.MonkeyPatch) -> None:

    other = changed(EXPERIMENTS["demo"], {"encoder.timm": "tf_efficientnet_es", "encoder.weights": ES})
    monkeypatch.setitem(EXPERIMENTS, "demo", other)
    card = kernel_card("demo", "train")
    assert card.models == (HANDLE,) and card.datasets == ()
    metadata = kernel_metadata(card)
    assert metadata["model_sources"] == [HANDLE] and kernel_problems(metadata, "here") == []


def test_a_dataset_of_ones_own_is_no_error_of_the_table() -> None:
    assert "your own" in how_to_get("my-weights") and kaggle_models("my-weights") == ()
