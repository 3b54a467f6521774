"""The average of the weights, against numbers worked out by hand."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from kernel_src.recipes.changes import changed
from kernel_src.recipes.learning import EMA, InnerFold
from kernel_src.training.ema import WeightAverage
from kernel_src.training.training import FoldTraining, train_fold
from tests.kernel_src.tiny import CPU, TINY, TINY_VIT, fold_data


def net(weight: float, running_mean: float = 0.0, batches: int = 0) -> nn.Module:
    model = nn.BatchNorm1d(1)
    with torch.no_grad():
        model.weight.fill_(weight)
        model.running_mean.fill_(running_mean)
        model.num_batches_tracked.fill_(batches)
    return model


def test_late_steps_keep_the_decay_and_early_ones_less() -> None:
    average = WeightAverage(net(1.0), 0.9)
    average.update(net(3.0), 1)  # (1 + 1) / (10 + 1) = 2/11 of the old: 2/11 * 1 + 9/11 * 3
    assert average.tensors["weight"].item() == pytest.approx(29 / 11)
    average.update(net(0.0), 1000)  # 0.9 of the old
    assert average.tensors["weight"].item() == pytest.approx(0.9 * 29 / 11)


def test_statistics_are_averaged_counters_copied_and_constants_left_alone() -> None:
    average = WeightAverage(net(0.1, running_mean=2.0, batches=3), 0.75)
    average.update(net(0.1, running_mean=6.0, batches=4), 1000)
    assert average.tensors["running_mean"].item() == pytest.approx(0.75 * 2 + 0.25 * 6)
    assert average.tensors["num_batches_tracked"].item() == 4
    assert torch.equal(average.tensors["weight"], torch.full((1,), 0.1)), "bit for bit"


def test_swapping_twice_changes_nothing_and_once_puts_the_average_into_the_model() -> None:
    model = net(5.0)
    average = WeightAverage(net(2.0), 0.9)
    average.swap(model)
    assert model.weight.item() == 2.0 and average.tensors["weight"].item() == 5.0
    average.swap(model)
    assert model.weight.item() == 5.0 and average.tensors["weight"].item() == 2.0


def test_the_fold_keeps_the_average_over_its_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights of every step, averaged here once more by the formula, are what the file holds."""
    seen: list[dict[str, torch.Tensor]] = []
    take_step = FoldTraining.take_step

    def record(self: FoldTraining, *given: Any) -> None:
        if not seen:
            seen.append({name: tensor.clone() for name, tensor in self.model.state_dict().items()})
        take_step(self, *given)
        seen.append({name: tensor.clone() for name, tensor in self.model.state_dict().items()})

    monkeypatch.setattr(FoldTraining, "take_step", record)
    data = fold_data(12, size_px=TINY.pictures.canvas_px)
    experiment = changed(TINY, {"keep": EMA(0.6)})
    train_fold(experiment, 0, data, device=CPU, starting_weights=None, folder=tmp_path)
    for name in ("heads.1.0.weight", "backbone.bn1.running_var"):
        expected = seen[0][name].double()
        for step, weights in enumerate(seen[1:], 1):
            decay = min(0.6, (1 + step) / (10 + step))
            expected = decay * expected + (1 - decay) * weights[name].double()
        kept = load_file(tmp_path / "fold0.safetensors")[name]
        assert torch.allclose(kept.double(), expected, atol=1e-6)
        assert not torch.allclose(kept, seen[-1][name], atol=1e-6)


def test_the_inner_fold_judges_the_average_and_the_training_goes_on_from_the_weights(tmp_path: Path) -> None:
    """What is trained does not depend on the average; what is judged and kept does."""
    data = fold_data(16, inner=4)
    base = changed(TINY_VIT, {"keep": InnerFold(2), "schedule.epochs": 3})
    logs = {}
    for decay in (0.0, 0.9):
        folder = tmp_path / str(decay)
        folder.mkdir()
        experiment = changed(base, {"keep": EMA(decay)})
        logs[decay] = train_fold(experiment, 0, data, device=CPU, starting_weights=None, folder=folder)
    assert [row["train_loss"] for row in logs[0.0]] == [row["train_loss"] for row in logs[0.9]]
    assert all(one["inner_loss"] != other["inner_loss"] for one, other in zip(logs[0.0], logs[0.9], strict=True))
