"""Every experiment: its tiny twin trains, bundles and infers by the built notebooks' code, to a valid submission."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from build.notebooks.metadata import kernel_metadata
from build.run.rehearse import Report, rehearse
from build.stitch import stitch
from kernel_src.competitions.held_recipes import COMPETITION_OF, ENSEMBLES, EXPERIMENTS
from kernel_src.competitions.kernel_cards import bundle_slug, kernel_card
from kernel_src.recipes.changes import changed
from kernel_src.runtime.weight_sources import kaggle_models
from tests.kernel_src.competitions.biomass.test_external import flattened
from tests.kernel_src.kernels.running import ROOT, lay_out_kaggle, run_notebook
from tests.kernel_src.kernels.twins import InProcess, infer_twin, members, tiny_twin, train_twin, twin_datasets

# Between them: no depth, depth with external data, an ensemble, a ViT with depth, halves with bins, a dense head.
IN_MAKE_TEST = ("v1", "v6", "v8", "first", "density")
# Of frozen features nothing is trained: test_frozen.py takes them the whole way.
# Those of the other competitions have data of their own: test_other_competitions.py.
OWN = {name: one for name, one in EXPERIMENTS.items() if COMPETITION_OF[name] == "biomass"}
ALL_NAMES = [*(name for name, experiment in OWN.items() if not experiment.is_frozen), *ENSEMBLES]


class Twins:
    """Trains each member once, and runs each inference once, whoever asks for it first."""

    def __init__(self, competition: Path, folder: Path, run) -> None:
        self.competition, self.folder, self.run = competition, folder, run
        self.bundles: dict[str, Path] = {}
        self.submissions: dict[str, tuple[Path, str]] = {}

    def bundle(self, name: str) -> Path:
        if name not in self.bundles:
            self.bundles[name] = train_twin(name, self.competition, self.folder / name, self.run)
        return self.bundles[name]

    def infer(self, name: str) -> tuple[Path, str]:
        if name not in self.submissions:
            bundles = {bundle_slug(member): self.bundle(member) for member in members(name)}
            self.submissions[name] = infer_twin(name, self.competition, bundles, self.folder / "infer", self.run)
        return self.submissions[name]


@pytest.fixture(scope="module")
def twins(tiny_competition: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    import torch

    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        yield Twins(tiny_competition, tmp_path_factory.mktemp("twins"), InProcess(patch))


@pytest.mark.parametrize("name", IN_MAKE_TEST)
def test_the_twin_goes_from_training_to_a_valid_submission(name: str, twins: Twins) -> None:
    twins.infer(name)


@pytest.mark.full
@pytest.mark.parametrize("name", [name for name in ALL_NAMES if name not in IN_MAKE_TEST])
def test_every_other_twin_goes_from_training_to_a_valid_submission(name: str, twins: Twins) -> None:
    twins.infer(name)


def test_the_notebook_of_v6_blends_its_bundles_by_their_shares_and_says_so(twins: Twins) -> None:
    submission, printed = twins.infer("v6")
    for member, share in ENSEMBLES["v6"].shares.items():
        assert f"{member}: 2 folds of" in printed and f"share {share:g}" in printed
    assert "blended by shares, then constraint projection" in printed
    report = json.loads((submission.parent / "inference_report.json").read_text())
    assert report["bundles"] == {"i2b-v4-weights": 0.4, "i2b-v5-weights": 0.6} and report["stack"] == {}


def test_the_bundle_of_a_depth_experiment_carries_the_depth_model_that_it_was_trained_beside(twins: Twins) -> None:
    config = json.loads((twins.bundle("v8") / "config.json").read_text())
    assert config["experiment"]["depth"] == EXPERIMENTS["v8"].depth.as_json()
    assert {"depth.safetensors", "depth_config.json"} <= {path.name for path in twins.bundle("v8").iterdir()}


def test_half_precision_is_measured_with_the_bundled_depth_model(twins: Twins, tmp_path: Path) -> None:
    from build.weights.bundle import make_bundle

    twins.bundle("v8")
    run = twins.folder / "v8/train/kaggle/working/run"
    report = make_bundle(run, tmp_path / "bundle", slug="i2b-v8-weights", data=twins.competition)
    assert report.largest_change_g is not None and 0 < report.largest_change_g < 0.1


def test_a_stacked_notebook_predicts_by_its_stack(twins: Twins, monkeypatch: pytest.MonkeyPatch) -> None:
    from kernel_src.recipes.ensemble import Ensemble

    only_v5 = {"weights": [[0.0, 1.0]] * 5, "intercept_g": [0.0] * 5}
    stacked = Ensemble(name="stacked", shares={"v4": 0.5, "v5": 0.5}, stack=only_v5)
    monkeypatch.setitem(ENSEMBLES, "stacked", stacked)
    by_stack, printed = twins.infer("stacked")
    assert "stacked, then constraint projection" in printed
    alone, _ = twins.infer("v5")
    first, second = (pd.read_csv(path)["target"].to_numpy() for path in (by_stack, alone))
    assert np.allclose(first, second, atol=1e-4)


def without_depth(twins: Twins, home: Path) -> tuple[dict[str, object], Path]:
    """V7's notebook, which has no optional parts, with V8's bundle attached."""
    parameters = kernel_card("v7", "infer").parameters | {"BUNDLES": {"i2b-v8-weights": 1.0}}
    return parameters, lay_out_kaggle(home, twins.competition, {"i2b-v8-weights": twins.bundle("v8")})


def test_a_bundle_that_needs_a_part_which_the_notebook_lacks_is_refused_in_one_line(
    twins: Twins, tmp_path: Path
) -> None:
    parameters, kaggle = without_depth(twins, tmp_path)
    with pytest.raises(Exception, match="needs the part 'depth', which this notebook was built without") as refused:
        twins.run("infer", parameters, kaggle, tmp_path / "scratch")
    text = str(refused.value)
    assert "\n" not in text and "EXTRA_PARTS" in text and "i2b-v8-weights cannot be used" in text


def test_in_the_rerun_such_a_bundle_is_left_out_like_any_that_cannot_be_used(
    twins: Twins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_IS_COMPETITION_RERUN", "1")
    parameters, kaggle = without_depth(twins, tmp_path)
    twins.run("infer", parameters, kaggle, tmp_path / "scratch")
    report = json.loads((kaggle / "kaggle/working/inference_report.json").read_text())
    (fault,) = report["faults"]
    assert fault["part"] == "bundle" and "needs the part 'depth'" in fault["what"]
    means = json.loads((twins.bundle("v8") / "config.json").read_text())["target_mean"]
    submitted = pd.read_csv(kaggle / "kaggle/working/submission.csv")["target"]
    assert {round(value, 3) for value in submitted} <= {round(value, 3) for value in means.values()}


def test_a_training_that_needs_a_part_which_the_notebook_lacks_is_refused_before_anything_is_read(
    twins: Twins, tmp_path: Path
) -> None:
    parameters = kernel_card("v7", "train").parameters | {"EXPERIMENT": "v8"}
    kaggle = lay_out_kaggle(tmp_path, twins.competition, {})
    with pytest.raises(ValueError, match=r"needs the part 'depth', .* without \(it has biomass, hub_names\)"):
        twins.run("train", parameters, kaggle, tmp_path / "scratch")


# Through the real doors: papermill, and the rehearsal with its cut network and read-only input


@pytest.mark.full
def test_the_notebooks_of_v5_run_under_papermill(tiny_competition: Path, tmp_path: Path) -> None:
    bundle = train_twin("v5", tiny_competition, tmp_path / "v5", run_notebook)
    infer_twin("v5", tiny_competition, {"i2b-v5-weights": bundle}, tmp_path, run_notebook)


def rehearse_twin(
    name: str, kernel: str, parameters: dict, competition: Path, weights: list[Path], home: Path, **options: Any
) -> Path:
    """Rehearse a notebook of its own card, with other parameters; return the working folder it left."""
    report = rehearsal_of(name, kernel, parameters, competition, weights, home, **options)
    assert report.ok, report.as_lines()
    return Path(report.out) / "working"


def rehearsal_of(
    name: str, kernel: str, parameters: dict, competition: Path, weights: list[Path], home: Path, **options: Any
) -> Report:
    folder = home / f"i2b-{name}-{kernel}"
    folder.mkdir(parents=True)
    notebook = folder / f"{folder.name}.ipynb"
    stitched = stitch(ROOT / "kernel_src" / "kernels" / f"{kernel}.py", ROOT, parameters)
    notebook.write_bytes(stitched.notebook)
    metadata = kernel_metadata(kernel_card(name, kernel))
    starting = EXPERIMENTS[name].encoder.weights if name in EXPERIMENTS else ""
    # The twin starts from random weights: there is no dataset of them here.
    metadata["dataset_sources"] = [s for s in metadata["dataset_sources"] if s.rpartition("/")[2] != starting]
    (folder / "kernel-metadata.json").write_text(json.dumps(metadata))
    return rehearse(
        notebook,
        data=competition,
        weights=weights,
        rerun=kernel == "infer",
        limit_s=300,
        memory_gb=8,
        out=home / f"rehearsal-{kernel}-{name}",
        **options,
    )


@pytest.mark.full
def test_v8_is_rehearsed_from_training_to_the_hidden_test(tiny_competition: Path, tmp_path: Path) -> None:
    from build.weights.bundle import make_bundle

    v8 = EXPERIMENTS["v8"]
    weights = []
    for slug, folder in twin_datasets(v8, tmp_path / "datasets").items():
        weights.append(folder.rename(tmp_path / "datasets" / slug))
    working = rehearse_twin(
        "v8", "train", {"EXPERIMENT": "v8", "CHANGES": tiny_twin(v8)}, tiny_competition, weights, tmp_path
    )
    make_bundle(working / "run", tmp_path / "bundle", slug="i2b-v8-weights")
    rehearse_twin(
        "v8", "infer", kernel_card("v8", "infer").parameters, tiny_competition, [tmp_path / "bundle"], tmp_path
    )


@pytest.mark.full
@pytest.mark.parametrize(("carried", "layout"), [("flat", "new"), ("packed", "legacy")])
def test_the_training_of_v5_is_rehearsed_with_grassclover_as_an_upload_carries_it(
    tiny_competition: Path, tmp_path: Path, carried: str, layout: str
) -> None:
    """Kaggle's client drops images/: the photographs lie flat beside the CSV, or packed by `build external`."""
    from build.weights.external import make_external

    v5 = EXPERIMENTS["v5"]
    assert v5.depth and v5.data.external
    external = v5.data.external.dataset
    datasets = twin_datasets(v5, tmp_path / "datasets")
    depth = datasets[v5.depth.weights].rename(tmp_path / v5.depth.weights)
    grassclover = tmp_path / external
    if carried == "flat":
        flattened(datasets[external]).rename(grassclover)
    else:
        make_external(external, datasets[external], grassclover)
    parameters = {"EXPERIMENT": "v5", "CHANGES": tiny_twin(v5)}
    report = rehearsal_of("v5", "train", parameters, tiny_competition, [depth, grassclover], tmp_path, layout=layout)
    assert report.ok, report.as_lines()
    assert not any("left out" in note for note in report.notes), "nothing of the dataset lay in a folder"
    printed = (Path(report.out) / "i2b-v5-train.executed.ipynb").read_text()
    assert "external data grassclover: 3 of 3 rows kept" in printed and "mean Dry_Total_g 43.4" in printed


@pytest.mark.full
def test_the_ensemble_v6_is_rehearsed_on_the_hidden_test(twins: Twins, tmp_path: Path) -> None:
    bundles = [twins.bundle(member) for member in members("v6")]
    parameters = kernel_card("v6", "infer").parameters
    working = rehearse_twin("v6", "infer", parameters, twins.competition, bundles, tmp_path)
    ids = pd.read_csv(working / "submission.csv")["sample_id"]
    assert len(ids) == 5 * 20, "all 20 training photographs stand in for the hidden test"


@pytest.mark.full
@pytest.mark.parametrize("layout", ["new", "legacy"])
def test_a_training_that_starts_from_a_kaggle_model_is_rehearsed_and_lacks_it_where_it_is_not_attached(
    tiny_competition: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    """No experiment's weights are a Kaggle Model today, so the demo is given the one whose Model holds safetensors."""
    import timm

    from kernel_src.training.checkpoint import save_tensors

    slug, backbone = "i2b-tf-efficientnet-es-imagenet", "tf_efficientnet_es"
    (handle,) = kaggle_models(slug)
    (tmp_path / "download").mkdir()
    save_tensors(tmp_path / "download" / "model.safetensors", timm.create_model(backbone).state_dict())
    recipe = changed(EXPERIMENTS["demo"], {"encoder.timm": backbone, "encoder.weights": slug})
    monkeypatch.setitem(EXPERIMENTS, "demo", recipe)  # for the card; the notebook gets the same as changes
    changes = tiny_twin(recipe) | {"encoder.timm": backbone, "encoder.weights": slug}
    parameters = {"EXPERIMENT": "demo", "CHANGES": changes}
    attached = {"models": {handle: tmp_path / "download"}, "layout": layout}
    working = rehearse_twin("demo", "train", parameters, tiny_competition, [], tmp_path, **attached)
    place = f"models/{handle}" if layout == "new" else handle.partition("/")[2]
    printed = (working.parent / "i2b-demo-train.executed.ipynb").read_text()
    assert f"/kaggle/input/{place}/model.safetensors" in printed

    monkeypatch.setitem(EXPERIMENTS, "demo", changed(recipe, {"encoder.weights": ""}))  # a card that forgets the Model
    lacking = rehearsal_of("demo", "train", parameters, tiny_competition, [], tmp_path / "lacking", layout=layout)
    assert lacking.failure is not None and f"attach the Model {handle}" in lacking.failure.error
