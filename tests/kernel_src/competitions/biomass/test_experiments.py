"""The list of experiments: each version of the seed is its row of the table."""

import re
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from build.weights.describe import descriptions
from kernel_src.competitions.biomass.tuned_experiments import TUNED
from kernel_src.competitions.biomass.winners import WINNERS
from kernel_src.competitions.held_recipes import COMPETITION_OF, ENSEMBLES, EXPERIMENTS, PUBLISHED
from kernel_src.recipes.experiment import Experiment, Machine
from kernel_src.recipes.learning import AdamW, Batch, Cosine, Last, RMSprop, SmoothL1, SquaredError, Steps, WarmupCosine
from kernel_src.recipes.network import Depth, PooledHead
from kernel_src.recipes.pictures import HALVES, Pictures
from kernel_src.recipes.predictor import Predict
from kernel_src.recipes.spec import by_path
from kernel_src.recipes.training_data import Augment, GroupSplit, StratifiedGroupSplit
from tests.kernel_src.recipes.test_spec import all_specs

ROOT = Path(__file__).resolve().parents[4]


def test_the_list_holds_every_version_of_the_seed_under_its_own_name() -> None:
    wanted = {"demo", "v1", "v2", "v3", "v4", "v5", "v5_componly", "v7", "v8"}
    tried = {"siglip", "eva02", "eva02_large", "dinov2_reg"}
    frozen, winners = {"frozen_dinov2", "gold_frozen", "gold_frozen_7b"}, {one.name for one in WINNERS}
    here = {name for name in EXPERIMENTS if COMPETITION_OF[name] == "biomass"}
    assert wanted | tried | frozen | winners == here - set(TUNED)
    assert all(name == experiment.name for name, experiment in EXPERIMENTS.items())


# Each row of the table in facts/seed-system.md, typed off it a second time.
SEED_TABLE: dict[str, dict[str, Any]] = {
    "v1": {
        "encoder.timm": "resnet34", "encoder.layers": (1,), "encoder.freeze": None, "pictures.size_px": (512, 512),
        "head": PooledHead((256,), "relu", 0.3), "depth": None, "loss": SquaredError(),
        "optimizer": AdamW(lr=1e-4, weight_decay=1e-4), "schedule": Cosine(epochs=50), "batch": Batch(16),
        "augment": Augment("moderate"), "data.external": None,
    },
    "v2": {
        "encoder.timm": "tf_efficientnetv2_m", "pictures.size_px": (512, 512),
        "head": PooledHead((512,), "relu", 0.5), "depth": None, "loss": SmoothL1(beta=2.0),
        "optimizer": RMSprop(lr=3.286e-4, weight_decay=2.1e-6), "schedule": Steps(epochs=50, every=10, factor=0.1),
        "batch": Batch(32), "augment": Augment("conservative"), "data.external": None,
    },
    "v4": {
        "encoder.timm": "tf_efficientnetv2_m", "pictures.size_px": (512, 512), "head.hidden": (512,),
        "head.dropout": 0.5, "loss": SquaredError(), "optimizer": RMSprop(lr=3.286e-4, weight_decay=2.1e-6),
        "data.split": StratifiedGroupSplit(5), "data.train_folds": (),
    },
    "v5": {
        "encoder.timm": "efficientnetv2_rw_m", "pictures.size_px": (384, 384),
        "head": PooledHead((256, 64), "relu", 0.3), "loss": SquaredError(),
        "depth": Depth("i2b-depth-anything-v2-small", fusion="concat", channels=1),
        "optimizer": AdamW(lr=1e-4, weight_decay=0.01), "schedule": Cosine(epochs=30, length=50), "batch": Batch(8),
        "augment": Augment("moderate"), "data.split": GroupSplit(5), "data.external.dataset": "i2b-grassclover",
    },
    "v7": {
        "encoder.timm": "vit_base_patch14_dinov2", "pictures.size_px": (518, 518),
        "head": PooledHead((256, 64), "gelu", 0.3), "depth": None, "loss": SquaredError(),
        "optimizer": AdamW(lr=1e-4, backbone_lr=1e-5, weight_decay=0.01, clip_norm=1.0),
        "schedule": WarmupCosine(epochs=30, warmup=3), "batch": Batch(8, accumulate=4),
        "augment": Augment("moderate"), "data.split": GroupSplit(5), "data.external": None,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", SEED_TABLE)
def test_an_experiment_is_its_row_of_the_seeds_table(name: str) -> None:
    experiment = EXPERIMENTS[name]
    assert {path: attrgetter(path)(experiment) for path in SEED_TABLE[name]} == SEED_TABLE[name]


def differences(name: str, other: str) -> dict[str, Any]:
    """The paths at which two experiments differ, and what the first has there."""
    ours, theirs = (by_path(EXPERIMENTS[one].as_json()) for one in (name, other))
    return {path: ours.get(path) for path in ours | theirs if ours.get(path) != theirs.get(path) and path != "name"}


def test_versions_that_repeat_another_differ_from_it_in_what_the_table_says_and_in_nothing_else() -> None:
    # 32 photographs at once do not fit on a T4 (tests/build/weights/test_training_memory.py); two devices share V2.
    assert differences("v3", "v2") == {"data.train_folds": [], "batch.size": 16, "batch.accumulate": 2}
    assert differences("v4", "v3") == {"loss.kind": "SquaredError", "loss.beta": None, "loss.weights": None}
    assert {path.rpartition(".")[0] or path for path in differences("v5_componly", "v5")} == {"data.external"}
    assert {path.partition(".")[0] for path in differences("v8", "v7")} == {"depth"}
    assert EXPERIMENTS["v8"].depth == EXPERIMENTS["v5"].depth
    for name in ("siglip", "eva02", "dinov2_reg"):
        pictures = {"encoder.timm", "encoder.weights", "pictures.height_px", "pictures.width_px"}
        assert differences(name, "v7").keys() <= pictures
    large = differences("eva02_large", "eva02")
    assert large.keys() == {
        "encoder.timm", "encoder.weights", "encoder.checkpointing", "batch.size", "batch.accumulate"
    }  # fmt: skip
    assert large["batch.size"] * large["batch.accumulate"] == 32, "pictures per step, as the others"


OF_THE_SEED = ("v1", "v2", "v3", "v4", "v5", "v5_componly", "v7", "v8", "siglip", "eva02", "eva02_large", "dinov2_reg")


@pytest.mark.parametrize("name", OF_THE_SEED)
def test_every_version_keeps_visits_whole_and_its_last_epoch_and_stops_in_time(name: str) -> None:
    experiment = EXPERIMENTS[name]
    assert isinstance(experiment.data.split, GroupSplit) and experiment.data.split.folds == 5
    assert experiment.keep == Last() and experiment.seed == 42
    assert experiment.predict == Predict(tta="trained", constraint="projection")
    assert experiment.machine == Machine("NvidiaTeslaT4", "auto", 11.5 * 3600) and experiment.encoder.weights


@pytest.mark.parametrize("name", OF_THE_SEED)
def test_no_version_has_a_part_that_the_seed_did_not_have(name: str) -> None:
    """A default that changed would change all of them at once."""
    experiment = EXPERIMENTS[name]
    assert experiment.auxiliary == () and experiment.loss.identities == 0.0
    assert experiment.augment == Augment(experiment.augment.preset) and experiment.augment.mix is None
    assert not (experiment.augment.stamps_p or experiment.augment.spots_p or experiment.augment.crop)
    assert experiment.optimizer.layer_decay == 1.0 and experiment.data.drop == () and experiment.data.pseudo is None
    size = {"height_px": experiment.pictures.height_px, "width_px": experiment.pictures.width_px}
    assert experiment.pictures == Pictures(**size, parts=("whole",), scales=(1.0,), join=None, crop_bottom=0.0)
    assert isinstance(experiment.head, PooledHead) and experiment.head.pool == ("own",)
    assert experiment.head.targets == "five" and experiment.encoder.layers == (1,) and experiment.encoder.freeze is None


# `python -m build describe NAME --json` of 7c6bf96, when an experiment was 51 flat fields: parameters in all and
# trained, numbers that the heads see, bytes of the bundle, operations of one fold, and bytes of a GPU in training.
BEFORE: dict[str, tuple[int, int, int, int, int, int]] = {
    "demo": (4_191_493, 4_191_493, 1_280, 25_910_412, 785_124_480, 557_705_288),
    "v1": (21_942_597, 21_942_597, 512, 43_990_236, 38_278_531_584, 1_057_014_128),
    "v2": (56_140_281, 56_140_281, 1_280, 114_174_820, 55_939_690_496, 11_112_107_780),
    "v3": (56_140_281, 56_140_281, 1_280, 570_874_100, 55_939_690_496, 11_112_107_780),
    "v4": (56_140_281, 56_140_281, 1_280, 570_874_100, 55_939_690_496, 11_112_107_780),
    "v5": (79_161_816, 54_376_727, 2_408, 603_448_888, 36_644_284_288, 4_266_111_752),
    "v7": (87_646_597, 87_646_597, 768, 877_887_660, 303_149_566_592, 5_431_997_712),
    "v8": (112_886_566, 88_101_477, 1_024, 932_168_488, 303_676_983_488, 5_561_976_124),
    "siglip": (94_587_013, 94_587_013, 768, 947_191_980, 216_241_832_576, 4_193_465_040),
    "eva02": (87_415_429, 87_415_429, 768, 875_913_900, 213_773_259_392, 5_465_894_032),
    "eva02_large": (305_449_797, 305_449_797, 1_024, 3_059_131_820, 723_495_060_096, 5_154_519_928),
    "dinov2_reg": (87_648_901, 87_648_901, 768, 877_910_700, 304_233_663_104, 5_444_190_480),
    "frozen_dinov2": (86_579_712, 0, 6_144, 0, 606_294_872_064, 0),
}  # fmt: skip


@pytest.mark.full
@pytest.mark.parametrize("name", BEFORE)
def test_said_in_parts_an_experiment_is_the_network_that_it_was_before(name: str, tmp_path: Path) -> None:
    (described,) = descriptions([EXPERIMENTS[name]], tmp_path / "counted.json", quiet=True, with_memory=True)
    assert (
        described.parameters_total,
        described.parameters_trained,
        described.feature_dim,
        described.bundle_bytes_fp16,
        described.flops_fold,
        described.training_bytes,
    ) == BEFORE[name]


@pytest.mark.parametrize("page", ["docs/recipes.md", "docs/experiments.md", "README.md"])
def test_the_recipes_that_the_pages_show_can_be_made(page: str) -> None:
    """Every class and field in them exists."""
    names = {cls.__name__: cls for cls in all_specs()} | {"replace": replace, "HALVES": HALVES, "V7": EXPERIMENTS["v7"]}
    shown = re.findall(r"```python\n(\w+ = .*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    assert shown
    for text in shown:
        made: dict[str, Any] = {}
        exec(text, dict(names), made)
        (experiment,) = made.values()
        assert isinstance(experiment, Experiment) and experiment != EXPERIMENTS["v7"]


def test_the_scores_of_the_seed_are_those_of_its_table() -> None:
    scores = {"v1": 0.30, "v2": 0.42, "v3": 0.46, "v4": 0.50, "v5": 0.57, "v6": 0.57, "v7": 0.58, "v8": 0.62}
    assert scores == PUBLISHED and set(PUBLISHED) <= {*EXPERIMENTS, *ENSEMBLES}
