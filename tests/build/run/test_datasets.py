"""What training mounts, held against the folders that were given."""

import json
from pathlib import Path

import pytest

from build.core.errors import UsageError
from build.run.datasets import bundles_needed_by, match_datasets, needed_by
from kernel_src.competitions.held_recipes import EXPERIMENTS


def folder(path: Path, slug: str) -> Path:
    path.mkdir()
    (path / "manifest.json").write_text(json.dumps({"dataset": slug}))
    return path


def test_v5_needs_weights_depth_and_external_data() -> None:
    v5 = EXPERIMENTS["v5"]
    assert list(needed_by(v5)) == [v5.encoder.weights, v5.depth.weights, v5.data.external.dataset]


def test_inference_needs_the_bundle_of_every_member_and_the_weights_of_a_frozen_backbone() -> None:
    assert list(bundles_needed_by("v6")) == ["i2b-v4-weights", "i2b-v5-weights"]
    frozen = bundles_needed_by("frozen_dinov2")
    assert "out/regressors/frozen_dinov2" in frozen["i2b-frozen-dinov2-weights"]
    assert frozen["i2b-vit-base-patch14-dinov2"] == "weights of the frozen backbone"


def test_a_folder_is_known_by_the_slug_that_its_files_name(tmp_path: Path) -> None:
    here = folder(tmp_path / "any", "i2b-x")
    assert match_datasets({"i2b-x": "x"}, [here], "--pretrained ") == {"i2b-x": here}


def test_two_folders_of_one_dataset_are_refused(tmp_path: Path) -> None:
    twins = [folder(tmp_path / "one", "i2b-x"), folder(tmp_path / "two", "i2b-x")]
    with pytest.raises(UsageError, match="one and .*two are both dataset 'i2b-x' → pass one of them"):
        match_datasets({"i2b-x": "x"}, twins, "WEIGHTS=")


def test_what_is_missing_says_where_it_comes_from_and_what_is_too_much_is_named(tmp_path: Path) -> None:
    needed = needed_by(EXPERIMENTS["v7"])
    other = folder(tmp_path / "other", "i2b-other")
    with pytest.raises(UsageError) as caught:
        match_datasets(needed, [other, tmp_path / "nowhere"], "PRETRAINED=")
    message = str(caught.value)
    assert (
        "no folder for the dataset i2b-vit-base-patch14-dinov2, starting weights of vit_base_patch14_dinov2" in message
    )
    assert "huggingface.co/timm/vit_base_patch14_dinov2" in message and "give PRETRAINED=DIR" in message
    assert "i2b-other" in message and "nothing here asks for" in message and "nowhere does not exist" in message
