"""A frozen backbone that one GPU cannot hold: one worker owns them all, and predicts what one large GPU would."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from kernel_src.bundle.bundles import BundleRecipe
from kernel_src.inference.inference import Inference, InferenceResult
from kernel_src.models import frozen_features
from kernel_src.models.regressor import save_regressor
from kernel_src.models.spread import SpreadParts
from kernel_src.models.starting_weights import preprocessing_of
from kernel_src.recipes.network import Encoder, RegressorHead
from kernel_src.recipes.pictures import Pictures
from kernel_src.recipes.predictor import Predict, Predictor
from kernel_src.runtime.device import DeviceReport, Spread
from kernel_src.runtime.faults import FaultLog
from kernel_src.runtime.files import WeightsError
from tests.kernel_src.inference.jobs import MEANS, job_of, run
from tests.kernel_src.models.shards import write_shards
from tests.kernel_src.models.test_frozen_features import linear_regressor

TWO_CPUS = Spread((torch.device("cpu"),) * 2, False)
LARGE = Predictor(
    name="large",
    encoder=Encoder("test_vit", weights="i2b-large"),
    pictures=Pictures(32, 32),
    head=RegressorHead(("cls", "mean")),
    predict=Predict(tta="none"),
)


@pytest.fixture
def frozen(tmp_path: Path) -> BundleRecipe:
    torch.manual_seed(0)
    save_regressor(linear_regressor(128), tmp_path / "regressor.safetensors")
    return BundleRecipe(
        folder=tmp_path,
        experiment=LARGE,
        preprocessing=preprocessing_of("test_vit"),
        symmetries=((0, False),),
        folds=("regressor.safetensors",),
        depth={},
        backbone=write_shards(tmp_path / "weights", timm.create_model("test_vit", num_classes=0).state_dict()),
        oof_score=0.5,
        source_sha256="0" * 64,
    )


def test_a_spread_backbone_predicts_what_an_unspread_one_does(
    frozen: BundleRecipe, recipe: BundleRecipe, paths: list[Path]
) -> None:
    """Beside a fine-tuned bundle, in the same worker."""
    outcomes = []
    for one in (frozen, replace(frozen, spread=TWO_CPUS)):
        log = FaultLog(strict=True)
        outcomes.append(run(job_of(paths, one, recipe, shares=(0.5, 0.5)), log))
        assert not log.faults
    alone, spread = outcomes
    assert spread.predicted.all() and np.array_equal(spread.values, alone.values)
    name = f"{frozen.folder.name}, fold 0"
    assert spread.precision == {name: "fp32: this device has no fast fp16; spread over 2 devices"}


def planned(
    frozen: BundleRecipe, paths: list[Path], log: FaultLog, memory: int, monkeypatch: pytest.MonkeyPatch
) -> Inference:
    """Plan for two GPUs with so much memory each; nothing is started."""
    monkeypatch.setattr(frozen_features, "probed_gpu_memory", lambda index: (memory, memory))
    job, device = job_of(paths, frozen), DeviceReport(kind="cuda", name="Tesla T4", count=2, half=True)
    outcome = InferenceResult.of_means(len(paths), MEANS)
    return Inference(job, device, log, 1e9, 8, lambda grams: None, lambda: 0.0, outcome)


def test_the_schedule_counts_one_device_with_one_photograph_at_once_where_both_gpus_share_a_net(
    frozen: BundleRecipe, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = FaultLog(strict=True)
    plan = planned(frozen, paths, log, 700_000, monkeypatch)  # 306,240 numbers
    assert (plan.schedule.devices, plan.schedule.batch_size) == (1, 1)
    (config,) = plan.pool._configs
    (bundle,) = config.recipes
    assert bundle is not None and bundle.spread == Spread((torch.device("cuda:0"), torch.device("cuda:1")), True)
    (fault,) = log.faults
    assert f"{fault.what}: {fault.fallback}" == "test_vit finds no room on one Tesla T4: it is spread over 2"


def test_two_workers_stay_two_where_each_gpu_holds_the_net(
    frozen: BundleRecipe, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = FaultLog(strict=True)
    plan = planned(frozen, paths, log, 900_000, monkeypatch)
    assert (plan.schedule.devices, plan.schedule.batch_size) == (2, 8)
    assert [config.recipes for config in plan.pool._configs] == [(frozen,), (frozen,)]
    assert not log.faults


def test_a_backbone_that_is_refused_costs_its_bundle_only_and_says_why(
    frozen: BundleRecipe, recipe: BundleRecipe, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise WeightsError("on its first block fp16 differs from fp32 by inf%")

    monkeypatch.setattr(SpreadParts, "fill_spread", staticmethod(refuse))
    log = FaultLog(strict=False)
    outcome = run(job_of(paths, replace(frozen, spread=TWO_CPUS), recipe, shares=(0.5, 0.5)), log)
    assert outcome.predicted.all()
    assert [(fault.part, fault.what) for fault in log.faults] == [
        ("fold", f"{frozen.folder.name}: on its first block fp16 differs from fp32 by inf%")
    ]
