"""Every experiment has a tiny twin: the same recipe and the same code, on networks of 0.1 M parameters."""

import contextlib
import csv
import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from build.core.submission_file import read_column, submission_problems
from build.stitch import stitch
from build.weights.bundle import make_bundle
from kernel_src.competitions.held_recipes import ENSEMBLES, EXPERIMENTS
from kernel_src.competitions.kernel_cards import bundle_slug, kernel_card
from kernel_src.recipes.changes import changed
from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.learning import Cosine, InnerFold, WarmupCosine
from tests.kernel_src.competitions.biomass.test_external import write_grassclover
from tests.kernel_src.kernels.running import ROOT, lay_out_kaggle
from tests.tiny_depth import write_tiny_depth

# timm's own nets for tests, by what the real backbone's name says of its kind; the first hit counts.
TINY_BACKBONES = {
    "vit_small_patch16_dinov3": "vit_small_patch16_dinov3",  # itself: rotary embeddings, 22 M parameters
    "siglip": "test_vit3",  # attention pool, no class token
    "_reg": "test_vit2",  # register tokens
    "vit": "test_vit",
    "eva": "test_vit",
    "resnet": "test_resnet",
    "": "test_efficientnet",
}
SIDE_PX = 32  # two patches of 16 for the backbones, two of 14 and a rest for the depth model


def tiny_twin(experiment: Experiment) -> dict[str, object]:
    """The changes that shrink an experiment; whatever is not about size stays as it is."""
    oblong = experiment.pictures.width_px != experiment.pictures.height_px
    inner = {"keep.folds": 2, "keep.patience": 1} if isinstance(experiment.keep, InnerFold) else {}
    schedule: dict[str, object] = {"schedule.epochs": 1}
    if isinstance(experiment.schedule, Cosine):
        schedule |= {"schedule.length": 0}
    if isinstance(experiment.schedule, WarmupCosine):
        schedule |= {"schedule.warmup": 0}
    # EfficientNets have "efficientnetv2_rw_m", which holds no "vit".
    backbone = next(tiny for part, tiny in TINY_BACKBONES.items() if part in experiment.encoder.timm)
    return {
        "encoder.timm": backbone,
        "encoder.weights": "",
        "encoder.layers": list(range(1, len(experiment.encoder.layers) + 1)),
        "pictures.height_px": SIDE_PX,
        "pictures.width_px": 2 * SIDE_PX if oblong else SIDE_PX,
        "head.hidden": [8 for _ in experiment.head.hidden],
        **schedule,
        "batch.size": 4,
        "batch.accumulate": min(2, experiment.batch.accumulate),
        "data.split.folds": 2,
        "data.train_folds": [fold for fold in experiment.data.train_folds if fold < 2],
        **inner,
    }


def twin_datasets(experiment: Experiment, folder: Path) -> dict[str, Path]:
    """Write what the experiment's training mounts, in miniature."""
    datasets = {}
    if experiment.depth:
        datasets[experiment.depth.weights] = write_tiny_depth(folder / "depth")
    if experiment.data.external:
        datasets[experiment.data.external.dataset] = write_grassclover(folder / "external")
    return datasets


class InProcess:
    """Runs a built notebook's code in this process: all libraries are loaded already, so a twin takes seconds."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.patch = patch

    def __call__(self, kernel: str, parameters: Mapping[str, object], kaggle: Path, scratch: Path) -> str:
        stitched = stitch(ROOT / "kernel_src" / "kernels" / f"{kernel}.py", ROOT, parameters)
        cells = [cell for cell in json.loads(stitched.notebook)["cells"] if cell["cell_type"] == "code"]
        scratch.mkdir(parents=True, exist_ok=True)
        self.patch.setenv("KIT_KAGGLE_ROOT", str(kaggle))
        self.patch.setenv("TMPDIR", str(scratch))
        self.patch.setattr("tempfile.tempdir", str(scratch))
        printed, names = io.StringIO(), {"__name__": "__main__"}
        with contextlib.redirect_stdout(printed):
            for number, cell in enumerate(cells):
                exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
        return printed.getvalue()


def train_twin(name: str, competition: Path, home: Path, run) -> Path:
    """Train an experiment's twin by its notebook and make the bundle; return its folder."""
    experiment = EXPERIMENTS[name]
    kaggle = lay_out_kaggle(home / "train", competition, {})
    for slug, folder in twin_datasets(experiment, home / "datasets").items():
        # Copied, not linked: a dataset with folders in it is searched, and the search follows no links.
        shutil.copytree(folder, kaggle / "kaggle/input/datasets/owner" / slug)
    parameters = kernel_card(name, "train").parameters | {"CHANGES": tiny_twin(experiment)}
    run("train", parameters, kaggle, home / "scratch")
    bundle = home / bundle_slug(name)
    make_bundle(kaggle / "kaggle/working/run", bundle, slug=bundle_slug(name))
    config = json.loads((bundle / "config.json").read_text())
    assert config["experiment"] == json.loads(json.dumps(changed(experiment, tiny_twin(experiment)).as_json()))
    return bundle


def infer_twin(name: str, competition: Path, bundles: Mapping[str, Path], home: Path, run) -> tuple[Path, str]:
    """Infer by the notebook with its own card's parameters; return the submission, which is valid, and the print."""
    kaggle = lay_out_kaggle(home / f"infer-{name}", competition, bundles)
    printed = run("infer", kernel_card(name, "infer").parameters, kaggle, home / "scratch")
    working = kaggle / "kaggle/working"
    ids = read_column(competition / "sample_submission.csv", "sample_id")
    assert submission_problems(working / "submission.csv", ids) == []
    means = {
        round(value, 4)
        for bundle in bundles.values()
        for value in json.loads((bundle / "config.json").read_text())["target_mean"].values()
    }
    with (working / "submission.csv").open() as handle:
        predicted = [round(float(row["target"]), 4) for row in csv.DictReader(handle)]
    assert not set(predicted) <= means, "the fallback was not replaced"
    assert json.loads((working / "inference_report.json").read_text())["images"] == len(ids) // 5
    return working / "submission.csv", printed


def members(name: str) -> tuple[str, ...]:
    """The experiments that must be trained before a notebook can predict."""
    return tuple(ENSEMBLES[name].shares) if name in ENSEMBLES else (name,)
