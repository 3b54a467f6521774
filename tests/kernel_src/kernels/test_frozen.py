"""An experiment without fine-tuning goes from features to a submission that holds exactly what was fitted here."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from build.core.bundle_files import verify_manifest
from build.core.errors import UsageError
from build.core.submission_file import read_column, submission_problems
from build.notebooks.metadata import kernel_metadata, kernel_problems
from build.run.rehearse import Report, rehearse
from build.stitch import stitch
from kernel_src.competitions.biomass.constants import TARGETS
from kernel_src.competitions.biomass.constraints import project
from kernel_src.competitions.held_recipes import ENSEMBLES
from kernel_src.competitions.kernel_cards import kernel_card
from kernel_src.models.regressor import load_regressor
from kernel_src.recipes.changes import changed
from kernel_src.recipes.ensemble import Ensemble
from tests.conftest import write_competition
from tests.kernel_src.kernels.frozen import NAME, TWIN, WEIGHTS_SLUG, make_frozen_bundle, write_weights
from tests.kernel_src.kernels.running import ROOT, lay_out_kaggle
from tests.kernel_src.kernels.twins import InProcess

BUNDLE_SLUG = "i2b-frozen-dinov2-weights"
WITHIN_G = 1e-3  # fp32 sums in batches of another size, and four decimals in the CSV


class Made(NamedTuple):
    competition: Path
    weights: Path
    bundle: Path
    home: Path
    patch: pytest.MonkeyPatch


@pytest.fixture(scope="module")
def made(tiny_competition: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    import torch

    torch.set_num_threads(1)
    home = tmp_path_factory.mktemp("frozen")
    with pytest.MonkeyPatch.context() as patch:
        weights, bundle = make_frozen_bundle(tiny_competition, home, patch)
        yield Made(tiny_competition, weights, bundle, home, patch)


@pytest.fixture(scope="module")
def hidden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hidden test of eleven photographs."""
    return write_competition(tmp_path_factory.mktemp("hidden") / "hidden", test_images=11)


def predicted_here(made: Made, photographs: Path) -> pd.DataFrame:
    """The grams of all photographs in a folder, by the verb `features` and the regressor's file alone."""
    from build.search.regress.extraction import make_features, photographs_of

    out = made.home / f"{photographs.name}.npz"
    found = photographs_of(None, photographs)
    make_features(TWIN, found, made.weights / "model.safetensors", out, batch_size=3, quiet=True)
    grams = project(load_regressor(made.bundle / "regressor.safetensors").predict(np.load(out)["features"]))
    return pd.DataFrame(grams, index=list(found), columns=list(TARGETS))


def submitted(path: Path) -> pd.DataFrame:
    """A submission as one row per photograph."""
    table = pd.read_csv(path)
    parts = table["sample_id"].str.rsplit("__", n=1, expand=True)
    return table.assign(image_id=parts[0], name=parts[1]).pivot(index="image_id", columns="name", values="target")


def largest_difference(ours: pd.DataFrame, theirs: pd.DataFrame) -> float:
    wanted = ours.loc[theirs.index, list(TARGETS)]
    return float((wanted - theirs[list(TARGETS)]).abs().to_numpy().max())


def test_the_bundle_holds_the_regressor_as_arrays_its_report_and_the_backbones_hash_but_no_backbone(made: Made) -> None:
    manifest = verify_manifest(made.bundle)
    assert set(manifest["files"]) == {"regressor.safetensors", "regress.json", "oof.csv", "config.json", "README.md"}
    config = json.loads((made.bundle / "config.json").read_text())
    assert config["folds"] == ["regressor.safetensors"] and config["backbone"]["dataset"] == WEIGHTS_SLUG
    report = json.loads((made.bundle / "regress.json").read_text())
    assert config["oof"]["score"] == report["leave_group_out"]
    oof = pd.read_csv(made.bundle / "oof.csv")
    assert list(oof) == ["image_id", "fold", *TARGETS] and len(oof) == 20 and oof["fold"].nunique() == 7
    assert not list(made.bundle.glob("*.pkl"))
    card = (made.bundle / "README.md").read_text()
    assert "A regressor on frozen features of `" in card and "group left out once" in card
    assert "networks" not in card and "half precision" not in card and "inner folds" not in card


def test_the_file_is_the_blend_that_the_report_names_and_knows_its_training_rows_better_than_left_out_ones(
    made: Made,
) -> None:
    from kernel_src.competitions.biomass.metric import weighted_r2
    from kernel_src.competitions.biomass.tables import read_train, target_array

    report = json.loads((made.bundle / "regress.json").read_text())
    regressor = load_regressor(made.bundle / "regressor.safetensors")
    assert [member.name for member in regressor.members] == [chosen["name"] for chosen in report["chosen"]]
    fitted = regressor.predict(np.load(made.home / "features.npz")["features"])
    truth = target_array(read_train(made.competition / "train.csv"))
    assert weighted_r2(truth, project(fitted)) > report["leave_group_out"]


def test_the_notebook_predicts_what_features_and_regressor_predict_here(made: Made) -> None:
    kaggle = lay_out_kaggle(
        made.home / "kaggle", made.competition, {BUNDLE_SLUG: made.bundle, WEIGHTS_SLUG: made.weights}
    )
    printed = InProcess(made.patch)("infer", kernel_card(NAME, "infer").parameters, kaggle, made.home / "scratch")
    submission = kaggle / "kaggle/working/submission.csv"
    ids = read_column(made.competition / "sample_submission.csv", "sample_id")
    assert submission_problems(submission, ids) == []
    assert largest_difference(predicted_here(made, made.competition / "test"), submitted(submission)) < WITHIN_G
    assert "frozen_dinov2: a regressor on frozen features of test_vit, pictures left 32x32, right 32x32" in printed
    assert submitted(submission).round(3).nunique().min() == 3, "no training mean"


def rehearsal_of(made: Made, home: Path, weights: list[Path], hidden: Path | None = None) -> Report:
    """A strict rehearsal on the public test, or with a hidden test the rerun."""
    folder = home / "i2b-frozen-dinov2-infer"
    folder.mkdir(parents=True)
    notebook, card = folder / f"{folder.name}.ipynb", kernel_card(NAME, "infer")
    notebook.write_bytes(stitch(ROOT / "kernel_src/kernels/infer.py", ROOT, card.parameters).notebook)
    metadata = kernel_metadata(card)
    assert kernel_problems(metadata, "here") == []
    (folder / "kernel-metadata.json").write_text(json.dumps(metadata))
    return rehearse(
        notebook,
        data=made.competition,
        weights=weights,
        rerun=hidden is not None,
        hidden=hidden,
        limit_s=300,
        memory_gb=8,
        out=home / "rehearsal",
    )


@pytest.mark.full
@pytest.mark.parametrize("rerun", [False, True], ids=["strict", "rerun"])
def test_it_is_rehearsed_and_submits_what_features_and_regressor_predict_here(
    made: Made, hidden: Path, tmp_path: Path, rerun: bool
) -> None:
    report = rehearsal_of(made, tmp_path, [made.bundle, made.weights], hidden if rerun else None)
    assert report.ok, report.as_lines()
    theirs = submitted(Path(report.out) / "working/submission.csv")
    assert len(theirs) == (11 if rerun else 3)
    ours = predicted_here(made, (hidden if rerun else made.competition) / "test")
    assert largest_difference(ours, theirs) < WITHIN_G


def spoilt(made: Made, home: Path, what: str) -> list[Path]:
    """The two datasets with one of them spoilt."""
    if what == "another backbone":
        return [made.bundle, write_weights(home / WEIGHTS_SLUG, seed=1)]
    bundle = Path(shutil.copytree(made.bundle, home / BUNDLE_SLUG))
    content = bytearray((bundle / "regressor.safetensors").read_bytes())
    content[-1] ^= 1
    (bundle / "regressor.safetensors").write_bytes(content)
    return [bundle, made.weights]


@pytest.mark.full
@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("another backbone", "is not the backbone that the regressor was fitted with"),
        ("a changed byte", "regressor.safetensors has another sha256"),
    ],
)
def test_what_was_not_fitted_together_stops_a_strict_run_and_leaves_the_rerun_the_training_mean(
    made: Made, hidden: Path, tmp_path: Path, what: str, said: str
) -> None:
    weights = spoilt(made, tmp_path / "spoilt", what)
    strict = rehearsal_of(made, tmp_path / "strict", weights)
    assert not strict.ok and strict.failure is not None and said in strict.failure.error
    rerun = rehearsal_of(made, tmp_path / "rerun", weights, hidden)
    working = Path(rerun.out) / "working"
    faults = json.loads((working / "inference_report.json").read_text())["faults"]
    assert [fault["part"] for fault in faults][0] == "bundle" and said in faults[0]["what"]
    means = json.loads((made.bundle / "config.json").read_text())["target_mean"]
    assert np.allclose(submitted(working / "submission.csv")[list(TARGETS)], [means[t] for t in TARGETS], atol=1e-3)


def test_a_mounted_backbone_is_missed_by_name(made: Made, tmp_path: Path) -> None:
    kaggle = lay_out_kaggle(tmp_path / "kaggle", made.competition, {BUNDLE_SLUG: made.bundle})
    with pytest.raises(
        Exception, match=f"the backbone is not in the bundle, and not attached: the dataset {WEIGHTS_SLUG}"
    ):
        InProcess(made.patch)("infer", kernel_card(NAME, "infer").parameters, kaggle, tmp_path / "scratch")


def test_an_ensemble_with_frozen_features_mounts_the_backbone_as_well(made: Made) -> None:
    both = Ensemble(name="both", shares={"v1": 0.5, NAME: 0.5})
    made.patch.setitem(ENSEMBLES, "both", both)
    card = kernel_card("both", "infer")
    made.patch.delitem(ENSEMBLES, "both")
    assert card.datasets == ("i2b-v1-weights", BUNDLE_SLUG, WEIGHTS_SLUG)


def test_nothing_of_it_is_trained_and_nothing_is_halved(made: Made, tmp_path: Path) -> None:
    from build.core.settings import find_experiment
    from build.weights.bundle import make_bundle

    with pytest.raises(
        UsageError,
        match="frozen_dinov2 is not trained, its features are frozen: `make push-training EXPERIMENT=",
    ):
        find_experiment(NAME)
    run = made.home / "regressors" / NAME
    with pytest.raises(UsageError, match="bundled as it is, in full precision"):
        make_bundle(run, tmp_path / "bundle", slug=BUNDLE_SLUG, data=made.competition)
    assert (run / "regressor.safetensors").read_bytes() == (made.bundle / "regressor.safetensors").read_bytes()


def test_photographs_are_seen_upright_as_the_regressor_was_fitted_whatever_views_are_asked_for(
    made: Made, tmp_path: Path
) -> None:
    from kernel_src.bundle.bundle_prediction import load_bundle, predict_bundles
    from tests.kernel_src.tiny import CPU

    kaggle = lay_out_kaggle(tmp_path / "kaggle", made.competition, {WEIGHTS_SLUG: made.weights})
    made.patch.setenv("KIT_KAGGLE_ROOT", str(kaggle))
    upright = load_bundle(made.bundle)
    paths = sorted((made.competition / "test").iterdir())
    with_flips = replace(upright, experiment=changed(upright.experiment, {"predict.tta": "flips"}))
    one, other = (predict_bundles([b], paths, device=CPU, batch_size=2)[0] for b in (upright, with_flips))
    assert one.shape == (1, 3, 5) and np.array_equal(one, other)
