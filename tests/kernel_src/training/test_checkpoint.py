"""A checkpoint holds all that the rest of a training depends on, in one file."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from kernel_src.models.model import BackboneNet
from kernel_src.recipes.changes import changed
from kernel_src.recipes.learning import EMA, SWA, InnerFold, Keep, Optimizer
from kernel_src.recipes.spec import kinds_of
from kernel_src.runtime.files import WeightsError
from kernel_src.training.averages import KeptWeights
from kernel_src.training.checkpoint import Progress, load_checkpoint, save_checkpoint, save_tensors
from kernel_src.training.optimization import build_optimizer
from tests.kernel_src.tiny import TINY

PROGRESS = Progress(epoch=3, batch=2, step=7, losses=[0.1 + 0.2, 1 / 3], log=[{"loss": 1.5}], scaler={"scale": 1024.0})


def step(model: BackboneNet, optimizer: torch.optim.Optimizer, seed: int) -> None:
    torch.manual_seed(seed)
    model.train()
    model(torch.rand(4, 3, 32, 64)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


@pytest.mark.parametrize("optimizer_name", kinds_of(Optimizer))
def test_a_restored_training_goes_on_as_if_it_had_never_stopped(tmp_path: Path, optimizer_name: str) -> None:
    experiment = changed(TINY, {"optimizer": optimizer_name, "optimizer.backbone_lr": 1e-4})
    model = BackboneNet(experiment)
    optimizer = build_optimizer(model, experiment.optimizer)
    for seed in range(3):
        step(model, optimizer, seed)
    save_checkpoint(tmp_path / "c.safetensors", model, optimizer, PROGRESS)
    restored = BackboneNet(experiment)
    restored_optimizer = build_optimizer(restored, experiment.optimizer)
    progress = load_checkpoint(tmp_path / "c.safetensors", restored, restored_optimizer)
    assert progress == PROGRESS
    for seed in (3, 4):
        step(model, optimizer, seed)
        step(restored, restored_optimizer, seed)
    expected = model.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in restored.state_dict().items())


def test_a_checkpoint_before_the_first_step_can_be_restored(tmp_path: Path) -> None:
    model = BackboneNet(TINY)
    save_checkpoint(tmp_path / "c.safetensors", model, build_optimizer(model, TINY.optimizer), Progress())
    other = BackboneNet(TINY)
    assert load_checkpoint(tmp_path / "c.safetensors", other, build_optimizer(other, TINY.optimizer)) == Progress()


def test_a_checkpoint_of_another_model_is_refused_by_name(tmp_path: Path) -> None:
    model = BackboneNet(TINY)
    save_checkpoint(tmp_path / "checkpoint0.safetensors", model, build_optimizer(model, TINY.optimizer), Progress())
    other = BackboneNet(changed(TINY, {"head.hidden": (4,)}))
    with pytest.raises(WeightsError, match="checkpoint0.safetensors does not fit"):
        load_checkpoint(tmp_path / "checkpoint0.safetensors", other, build_optimizer(other, TINY.optimizer))


def test_tensors_that_are_views_are_saved_by_value_and_the_file_is_public(tmp_path: Path) -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    save_tensors(tmp_path / "t.safetensors", {"turned": whole.T, "row": whole[1].requires_grad_()})
    loaded = load_file(tmp_path / "t.safetensors")
    assert torch.equal(loaded["turned"], whole.T) and torch.equal(loaded["row"], torch.tensor([4.0, 5, 6, 7]))
    assert (tmp_path / "t.safetensors").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("keep", [EMA(0.5), SWA(0.0)])
def test_the_average_of_the_weights_is_part_of_the_checkpoint(tmp_path: Path, keep: Keep) -> None:
    model = BackboneNet(TINY)
    kept = KeptWeights(keep, model, 4)
    for number in (1, 2):
        step(model, build_optimizer(model, TINY.optimizer), number)
        assert kept.average is not None
        kept.average.after_step(model, 100)
        kept.average.after_epoch(model, number)
    save_checkpoint(tmp_path / "c.safetensors", model, build_optimizer(model, TINY.optimizer), Progress(), kept)
    other = BackboneNet(TINY)
    restored = KeptWeights(keep, other, 4)
    load_checkpoint(tmp_path / "c.safetensors", other, build_optimizer(other, TINY.optimizer), restored)
    assert restored.average is not None
    assert all(torch.equal(value, kept.average.tensors[name]) for name, value in restored.average.tensors.items())
    assert not torch.equal(restored.average.tensors["heads.0.0.weight"], other.state_dict()["heads.0.0.weight"])
    with pytest.raises(WeightsError, match="another keep"):
        load_checkpoint(tmp_path / "c.safetensors", other, build_optimizer(other, TINY.optimizer))


def test_the_weights_of_the_best_epochs_are_part_of_the_checkpoint(tmp_path: Path) -> None:
    model = BackboneNet(TINY)
    optimizer = build_optimizer(model, TINY.optimizer)
    kept = KeptWeights(InnerFold(2, mean_of=2), model, 4)
    for epoch, loss in enumerate((3.0, 0.1 + 0.2, 1.0), 1):
        step(model, optimizer, epoch)
        kept.best.take(loss, epoch, model.state_dict())
    save_checkpoint(tmp_path / "c.safetensors", model, optimizer, Progress(), kept)
    other = BackboneNet(TINY)
    restored = KeptWeights(InnerFold(2, mean_of=2), other, 4)
    load_checkpoint(tmp_path / "c.safetensors", other, build_optimizer(other, TINY.optimizer), restored)
    assert restored.best.epochs == kept.best.epochs == [(0.1 + 0.2, 2), (1.0, 3)]
    expected = kept.final(model)
    assert restored.final(other).epochs == expected.epochs == 2
    assert all(torch.equal(value, expected.tensors[name]) for name, value in restored.final(other).tensors.items())


def test_the_state_of_the_gradient_scaler_survives_as_json(tmp_path: Path) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=512.0, growth_interval=3)
    parameter = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([parameter], 0.1)
    for gradient in (1.0, float("inf"), 1.0):  # the second is left out and halves the scale
        parameter.grad = torch.tensor([gradient])
        scaler.scale(torch.ones(1))
        scaler.step(optimizer)
        scaler.update()
    model = BackboneNet(TINY)
    progress = Progress(scaler=scaler.state_dict())
    save_checkpoint(tmp_path / "c.safetensors", model, build_optimizer(model, TINY.optimizer), progress)
    loaded = load_checkpoint(tmp_path / "c.safetensors", model, build_optimizer(model, TINY.optimizer))
    fresh = torch.amp.GradScaler("cpu")
    fresh.load_state_dict(loaded.scaler)
    assert fresh.state_dict() == scaler.state_dict() and fresh.get_scale() == 256.0
