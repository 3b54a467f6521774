"""The check follows every bundle of an ensemble from the parameters cell to the metadata."""

from pathlib import Path

import pytest

from build.notebooks.check.checked_cells import read_cells
from build.notebooks.check.mounts import find_mounts, mount_problems
from build.notebooks.check.names import read_names
from build.notebooks.metadata import kernel_metadata
from build.notebooks.builder import ROOT, all_cards, choose_cards
from build.stitch import stitch
from kernel_src.recipes.kernel_cards import kernel_card

CARD = kernel_card("v6", "infer")


@pytest.fixture(scope="module")
def mounts(tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("v6") / "n.ipynb"
    path.write_bytes(stitch(ROOT / "kernel_src" / "kernels" / "infer.py", ROOT, CARD.parameters).notebook)
    cells = read_cells(path, "n.ipynb")
    return find_mounts(cells, read_names(cells))


def test_both_bundles_of_v6_are_asked_for_and_listed(mounts) -> None:
    assert set(mounts.asked["dataset_sources"]) == {"i2b-v4-weights", "i2b-v5-weights"}
    assert mount_problems(mounts, kernel_metadata(CARD), "kernel-metadata.json", CARD) == []


def test_a_bundle_that_the_metadata_forgets_or_adds_is_a_problem(mounts) -> None:
    metadata = kernel_metadata(CARD)
    forgets = metadata | {"dataset_sources": ["OWNER/i2b-v4-weights"]}
    assert any("i2b-v5-weights is not listed" in p.what for p in mount_problems(mounts, forgets, "m", CARD))
    adds = metadata | {"dataset_sources": [*metadata["dataset_sources"], "OWNER/i2b-v8-weights"]}
    # Code may ask for any backbone's weights that a bundle names, so it is the card that says what is too much.
    too_much = [p.what for p in mount_problems(mounts, adds, "m", CARD)]
    assert (
        len(too_much) == 1 and "lists OWNER/i2b-v4-weights, OWNER/i2b-v5-weights, OWNER/i2b-v8-weights" in too_much[0]
    )
    assert "the kernel card OWNER/i2b-v4-weights, OWNER/i2b-v5-weights" in too_much[0]


def test_an_ensemble_is_built_as_one_inference_notebook() -> None:
    assert [(card.experiment, card.kernel) for card in choose_cards("v6", all_cards())] == [("v6", "infer")]


def test_the_inference_notebook_imports_nothing_that_only_training_needs(tmp_path: Path) -> None:
    stitched = stitch(ROOT / "kernel_src" / "kernels" / "infer.py", ROOT, CARD.parameters)
    assert not {"albumentations", "accelerate", "sklearn"} & set(stitched.third_party)
    trained_with = ("augmentation", "training", "losses", "optimization", "external", "launch", "runs")
    assert not set(trained_with) & {Path(source).stem for source in stitched.sources}
