"""A checkpoint holds all that the rest of a training depends on, in one file."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from kernel_src.common.checkpoint import load_checkpoint, save_checkpoint, save_tensors
from kernel_src.common.experiment import OPTIMIZERS
from kernel_src.common.model import BiomassNet, WeightsError
from kernel_src.common.optimization import build_optimizer
from tests.common.tiny import TINY


def step(model: BiomassNet, optimizer: torch.optim.Optimizer, seed: int) -> None:
    torch.manual_seed(seed)
    model.train()
    model(torch.rand(4, 3, 32, 64)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


@pytest.mark.parametrize("optimizer_name", OPTIMIZERS)
def test_a_restored_training_goes_on_as_if_it_had_never_stopped(tmp_path: Path, optimizer_name: str) -> None:
    experiment = replace(TINY, optimizer=optimizer_name, backbone_learning_rate=1e-4)
    model = BiomassNet(experiment)
    optimizer = build_optimizer(model, experiment)
    for seed in range(3):
        step(model, optimizer, seed)
    save_checkpoint(tmp_path / "c.safetensors", model, optimizer, {"epoch": 3, "log": [{"loss": 1.5}]})
    restored = BiomassNet(experiment)
    restored_optimizer = build_optimizer(restored, experiment)
    progress = load_checkpoint(tmp_path / "c.safetensors", restored, restored_optimizer)
    assert progress == {"epoch": 3, "log": [{"loss": 1.5}]}
    for seed in (3, 4):
        step(model, optimizer, seed)
        step(restored, restored_optimizer, seed)
    expected = model.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in restored.state_dict().items())


def test_a_checkpoint_before_the_first_step_can_be_restored(tmp_path: Path) -> None:
    model = BiomassNet(TINY)
    save_checkpoint(tmp_path / "c.safetensors", model, build_optimizer(model, TINY), {"epoch": 0})
    other = BiomassNet(TINY)
    assert load_checkpoint(tmp_path / "c.safetensors", other, build_optimizer(other, TINY)) == {"epoch": 0}


def test_a_checkpoint_of_another_model_is_refused_by_name(tmp_path: Path) -> None:
    model = BiomassNet(TINY)
    save_checkpoint(tmp_path / "checkpoint0.safetensors", model, build_optimizer(model, TINY), {})
    other = BiomassNet(replace(TINY, head_hidden=(4,)))
    with pytest.raises(WeightsError, match="checkpoint0.safetensors does not fit"):
        load_checkpoint(tmp_path / "checkpoint0.safetensors", other, build_optimizer(other, TINY))


def test_tensors_that_are_views_are_saved_by_value_and_the_file_is_public(tmp_path: Path) -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    save_tensors(tmp_path / "t.safetensors", {"turned": whole.T, "row": whole[1].requires_grad_()})
    loaded = load_file(tmp_path / "t.safetensors")
    assert torch.equal(loaded["turned"], whole.T) and torch.equal(loaded["row"], torch.tensor([4.0, 5, 6, 7]))
    assert (tmp_path / "t.safetensors").stat().st_mode & 0o777 == 0o644
