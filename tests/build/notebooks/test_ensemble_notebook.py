"""An ensemble is one notebook for inference, without what only training needs."""

from pathlib import Path

from build.notebooks.builder import ROOT, all_cards, choose_cards
from build.stitch import stitch
from kernel_src.recipes.kernel_cards import kernel_card


def test_an_ensemble_is_built_as_one_inference_notebook() -> None:
    assert [(card.experiment, card.kernel) for card in choose_cards("v6", all_cards())] == [("v6", "infer")]


def test_the_inference_notebook_imports_nothing_that_only_training_needs() -> None:
    stitched = stitch(ROOT / "kernel_src" / "kernels" / "infer.py", ROOT, kernel_card("v6", "infer").parameters)
    assert not {"albumentations", "accelerate", "sklearn"} & set(stitched.third_party)
    trained_with = {"augmentation", "training", "losses", "optimization", "external", "launch", "runs"}
    modules = {Path(source).stem for source in stitched.sources}
    assert "inference" in modules and not trained_with & modules
