"""Each photograph keeps its numbers of the table through tasks, halved batches and folds that are loaded anew."""

from pathlib import Path

import numpy as np
import pytest
import torch

from kernel_src.bundle.bundle_prediction import predict_bundles
from kernel_src.bundle.bundles import BundleRecipe, load_recipe
from kernel_src.competition import choice
from kernel_src.inference import device_folds
from kernel_src.inference.inference import Job
from kernel_src.models.model import BackboneNet
from kernel_src.models.starting_weights import preprocessing_of
from kernel_src.recipes.changes import changed
from kernel_src.recipes.network import Inputs
from kernel_src.runtime.faults import FaultLog
from kernel_src.training.checkpoint import save_tensors
from tests.kernel_src.inference.jobs import alter_work, run
from tests.kernel_src.small_competitions import write_photograph
from tests.kernel_src.tiny import CPU, TINY

IMAGES = 8
INPUTS = np.random.default_rng(5).integers(0, 2, (IMAGES, 12)).astype(float)


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """Eight photographs of one colour, which differ by their numbers alone, and two folds that read them."""
    monkeypatch.setattr(choice, "_chosen", ["paws"])
    experiment = changed(TINY, {"inputs": Inputs(), "predict.constraint": "none"})
    for fold in range(2):
        torch.manual_seed(fold)
        net = BackboneNet(experiment)
        net.fit(np.array([[20.0], [60.0]]), INPUTS)
        save_tensors(tmp_path / f"fold{fold}.safetensors", net.state_dict())
    paths = [tmp_path / f"pet.{number}.jpg" for number in range(IMAGES)]
    for path in paths:
        write_photograph(path, (90, 120, 60), 1)
    recipe = BundleRecipe(
        folder=tmp_path,
        experiment=experiment,
        preprocessing=preprocessing_of(experiment.encoder.timm),
        symmetries=((0, False),),
        folds=("fold0.safetensors", "fold1.safetensors"),
        depth={},
        backbone=None,
        oof_score=1.0,
        source_sha256="",
    )
    return Job(
        image_ids=tuple(path.stem for path in paths),
        paths=tuple(paths),
        inputs=tuple(map(tuple, INPUTS.tolist())),
        recipes=(recipe,),
        damaged=(frozenset(),),
        shares=(1.0,),
        stack=None,
        constraint="none",
        means={"Pawpularity": 38.0},
    )


@pytest.mark.parametrize("trouble", ["none", "memory", "streamed"])
def test_the_prediction_is_that_of_one_pass_over_all(trouble: str, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = job.recipes[0]
    assert recipe is not None
    (folds,) = predict_bundles([load_recipe(recipe)], job.paths, device=CPU, batch_size=IMAGES, inputs=INPUTS)
    assert len(set(folds.mean(0).ravel().round(3))) > IMAGES / 2, "they differ, by their numbers alone"

    def crowd(work: object, *_: int) -> None:
        if len(work.pictures[0]) > 3:
            raise MemoryError

    if trouble == "memory":
        alter_work(monkeypatch, crowd)
    if trouble == "streamed":
        monkeypatch.setattr(device_folds.DeviceFolds, "_has_room", lambda self, place: not self._on_device)
    log = FaultLog(strict=True)
    outcome = run(job, log, batch_size=IMAGES)
    assert outcome.values == pytest.approx(folds.mean(0), abs=1e-3) and outcome.predicted.all()
    assert {fault.part for fault in log.faults} == (set() if trouble == "none" else {"memory"})
