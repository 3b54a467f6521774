"""The table of the seed's scripts: it is complete, and the commands in it exist."""

import re

from build.notebooks.builder import ROOT
from kernel_src.competitions.held_recipes import ENSEMBLES, EXPERIMENTS
from kernel_src.runtime.weight_sources import SOURCE_OF

TABLE = (ROOT / "docs" / "seed-commands.md").read_text()
# Every script, notebook and kind of archive that the seed's README names.
NAMED = (
    "train_depth_model train_kfold_mse train_foundation_models prepare_external_data generate_submission_depth "
    "generate_submission_kfold package_depth_model_kaggle package_foundation_model_kaggle package_dinov2_depth_kaggle "
    "kaggle_inference_notebook_v5_depth_fusion kaggle_inference_notebook_v6_ensemble "
    "kaggle_inference_notebook_v7_foundation kaggle_inference_notebook_v8_dinov2_depth kaggle_upload"
).split()


def test_every_script_of_the_seeds_readme_has_a_row() -> None:
    left = [row.split("|")[1] for row in TABLE.splitlines() if row.startswith("|")]
    assert [name for name in NAMED if not any(name in cell for cell in left)] == []


def test_its_targets_experiments_and_datasets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"`make ([a-z-]+)", TABLE))
    assert {"train", "infer", "tune", "build", "setup"} <= targets
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []
    names = set(re.findall(r"EXPERIMENT=(\w+)", TABLE))
    assert names - {*EXPERIMENTS, *ENSEMBLES} == set()
    assert set(re.findall(r"out/weights/([\w-]+)", TABLE)) - set(SOURCE_OF) == set()
