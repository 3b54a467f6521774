"""What a fold leaves: averages over steps and epochs, the best epochs, and none of what only training needs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from kernel_src.data.training_photographs import FoldData
from kernel_src.models.model import BackboneNet, load_fold
from kernel_src.models.starting_weights import preprocessing_of
from kernel_src.recipes.changes import changed
from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.learning import EMA, SWA, BatchR2, Bins, Classify, InnerFold, Last, Regress, Uncertainty
from kernel_src.recipes.network import DenseHead
from kernel_src.recipes.training_data import CutMix, Mixup, TokenMix
from kernel_src.runtime.files import sha256_of
from kernel_src.training import training, training_loss
from kernel_src.training.mixing import Mixer
from kernel_src.training.session import SessionEnded
from kernel_src.training.training import FoldTraining, train_fold
from kernel_src.training.training_loss import upright_pictures
from tests.kernel_src.tiny import CPU, TINY, TINY_VIT, fold_data

Recorded = list[dict[str, torch.Tensor]]


def data_for(experiment: Experiment, images: int = 12) -> FoldData:
    inner = 4 if experiment.keep.picks_epoch else 0
    words = np.array(["NSW", "Tas", ""] * images, object)[: images + inner]
    heights = np.where(np.arange(images + inner) % 5, np.arange(images + inner), np.nan)
    data = fold_data(images + inner, inner, size_px=experiment.pictures.canvas_px)
    return replace(data, columns={"State": words, "Height_Ave_cm": heights})


def train(experiment: Experiment, folder: Path, images: int = 12, **options: Any) -> list[dict[str, Any]]:
    folder.mkdir(exist_ok=True, parents=True)
    data = data_for(experiment, images)
    return train_fold(experiment, 0, data, device=CPU, starting_weights=None, folder=folder, **options)


def recorded(monkeypatch: pytest.MonkeyPatch, method: str) -> Recorded:
    """Return the list that the model's weights go into after each call of a method of the training."""
    seen: Recorded = []
    before = getattr(FoldTraining, method)

    def record(self: FoldTraining, *given: Any) -> Any:
        result = before(self, *given)
        seen.append({name: tensor.clone() for name, tensor in self.model.state_dict().items()})
        return result

    monkeypatch.setattr(FoldTraining, method, record)
    return seen


def mean_of(weights: Recorded, name: str) -> torch.Tensor:
    return torch.stack([one[name].double() for one in weights]).mean(0)


# The average over the steps


def test_the_fold_keeps_the_moving_average_over_its_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights of every step, averaged here once more by the formula, are what the file holds."""
    first = recorded(monkeypatch, "_take_up_checkpoint")
    steps = recorded(monkeypatch, "take_step")
    train(changed(TINY, {"keep": EMA(0.6)}), tmp_path)
    for name in ("heads.1.0.weight", "backbone.bn1.running_var"):
        expected = first[0][name].double()
        for step, weights in enumerate(steps, 1):
            decay = min(0.6, (1 + step) / (10 + step))
            expected = decay * expected + (1 - decay) * weights[name].double()
        kept = load_file(tmp_path / "fold0.safetensors")[name]
        assert torch.allclose(kept.double(), expected, atol=1e-6)
        assert not torch.allclose(kept, steps[-1][name], atol=1e-6)


def test_the_inner_fold_judges_the_average_and_the_training_goes_on_from_the_weights(tmp_path: Path) -> None:
    """What is trained does not depend on the average; what is judged and kept does."""
    logs = []
    for number, kept in enumerate((Last(), EMA(0.9))):
        experiment = changed(TINY_VIT, {"keep": InnerFold(2, of=kept), "schedule.epochs": 3})
        logs.append(train(experiment, tmp_path / str(number)))
    assert [row["train_loss"] for row in logs[0]] == [row["train_loss"] for row in logs[1]]
    assert all(one["inner_loss"] != other["inner_loss"] for one, other in zip(*logs, strict=True))


# The mean over the ends of the last epochs


@pytest.mark.parametrize("experiment", [TINY_VIT, TINY], ids=["without batch norm", "with batch norm"])
def test_the_fold_keeps_the_mean_of_the_weights_at_the_ends_of_its_last_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, experiment: Experiment
) -> None:
    ends = recorded(monkeypatch, "train_epoch")
    train(changed(experiment, {"keep": SWA(0.5), "schedule.epochs": 6}), tmp_path)
    kept = load_file(tmp_path / "fold0.safetensors")
    learnt = [name for name, tensor in kept.items() if tensor.is_floating_point() and "running" not in name]
    assert len(ends) == 6 and len(learnt) > 10
    assert all(torch.allclose(kept[name].double(), mean_of(ends[3:], name), atol=1e-6) for name in learnt)
    assert not torch.allclose(kept["heads.0.0.weight"].double(), mean_of(ends[2:], "heads.0.0.weight"), atol=1e-6)


def test_the_batch_norms_of_the_mean_have_the_statistics_of_the_training_rows_upright(tmp_path: Path) -> None:
    """Three batches of four rows, without augmentation and dropout, each of them a third."""
    experiment = changed(TINY, {"keep": SWA(0.0), "schedule.epochs": 3, "head.dropout": 0.5})
    train(experiment, tmp_path)
    data, model = data_for(experiment), load_fold(experiment, tmp_path / "fold0.safetensors")
    norm = next(module for module in model.modules() if isinstance(module, nn.BatchNorm2d))
    means: list[torch.Tensor] = []
    norm.register_forward_pre_hook(lambda _, given: means.append(given[0].mean((0, 2, 3))))
    with torch.no_grad():
        for rows in np.split(data.train_rows, 3):
            model(*upright_pictures(data, rows, preprocessing_of(experiment.encoder.timm), torch.device("cpu")))
    assert norm.running_mean is not None
    assert torch.allclose(norm.running_mean, torch.stack(means).mean(0), atol=1e-5)


def test_who_is_told_of_an_epoch_gets_the_mean_so_far_and_the_training_goes_on_undisturbed(tmp_path: Path) -> None:
    experiment = changed(TINY, {"keep": SWA(0.0), "schedule.epochs": 3})
    train(experiment, tmp_path / "alone")
    told: Recorded = []
    train(
        experiment,
        tmp_path / "told",
        on_epoch=lambda epoch, row, weights: told.append({key: value.clone() for key, value in weights.items()}),
    )
    alone, other = (load_file(tmp_path / name / "fold0.safetensors") for name in ("alone", "told"))
    assert all(torch.equal(value, other[name]) and torch.equal(value, told[-1][name]) for name, value in alone.items())


# The mean of the best epochs


def test_the_fold_keeps_the_mean_of_its_best_epochs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = iter((5.0, 2.0, 4.0, 3.0, 6.0))
    monkeypatch.setattr(training, "inner_loss", lambda *_: next(losses))
    ends = recorded(monkeypatch, "train_epoch")
    train(changed(TINY_VIT, {"keep": InnerFold(2, mean_of=3), "schedule.epochs": 5}), tmp_path)
    kept = load_file(tmp_path / "fold0.safetensors")
    expected = [ends[1], ends[3], ends[2]]
    assert all(torch.allclose(value.double(), mean_of(expected, name), atol=1e-6) for name, value in kept.items())


# Resumed


EVERYTHING = changed(
    TINY,
    {
        "schedule.epochs": 4,
        "keep": SWA(0.25),
        "augment.mix": CutMix(p=0.8),
        "auxiliary": (Bins(3), Regress("Height_Ave_cm"), Classify("State")),
        "loss": Uncertainty(),
        "optimizer.layer_decay": 0.7,
    },
)
JUDGED = changed(EVERYTHING, {"keep": InnerFold(2, mean_of=2, of=EMA(0.9)), "augment.mix": Mixup(p=0.8)})

DENSE = changed(EVERYTHING, {"encoder.timm": "test_vit", "pictures.width_px": 32, "head": DenseHead(reduce="mean")})
DENSE = changed(DENSE, {"augment.mix": TokenMix(p=0.8), "keep": Last(), "loss": BatchR2()})


def stopped(monkeypatch: pytest.MonkeyPatch, experiment: Experiment, folder: Path, steps: int) -> None:
    """End the session after so many steps; everything is saved."""
    take_step, taken = FoldTraining.take_step, []

    def count(self: FoldTraining, *given: Any) -> None:
        take_step(self, *given)
        taken.append(1)
        self.time_is_up = len(taken) == steps

    with monkeypatch.context() as patch, pytest.raises(SessionEnded):
        patch.setattr(FoldTraining, "take_step", count)
        train(experiment, folder)


@pytest.mark.parametrize(
    "experiment", [EVERYTHING, JUDGED, DENSE], ids=["SWA and CutMix", "best epochs and mixup", "mixed tokens"]
)
@pytest.mark.parametrize("steps", [2, 6, 8], ids=["in the first epoch", "after the second", "in the third"])
def test_a_resumed_training_with_every_part_ends_bit_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, experiment: Experiment, steps: int
) -> None:
    """Twelve rows in batches of four are three steps an epoch."""
    log = train(experiment, tmp_path / "whole")
    stopped(monkeypatch, experiment, tmp_path / "resumed", steps)
    again = train(experiment, tmp_path / "resumed")
    assert [row["train_loss"] for row in again] == [row["train_loss"] for row in log]
    one, two = (sha256_of(tmp_path / name / "fold0.safetensors") for name in ("whole", "resumed"))
    assert one == two


def test_the_checkpoint_holds_what_only_training_has_and_the_fold_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(monkeypatch, EVERYTHING, tmp_path, 2)
    checkpoint = load_file(tmp_path / "checkpoint0.safetensors")
    only = {"loss_parameters.log_variances", "auxiliary.tasks.0.edges", "auxiliary.tasks.2.logits.weight"}
    assert {f"{kind}.{name}" for kind in ("model", "average") for name in only} <= set(checkpoint)
    train(EVERYTHING, tmp_path)
    names = set(load_file(tmp_path / "fold0.safetensors"))
    assert not any(name.startswith(("auxiliary", "loss_parameters")) for name in names)
    assert load_fold(EVERYTHING, tmp_path / "fold0.safetensors").state_dict().keys() == names


# Auxiliary targets and mixing in the loop


def losses_of_the_first_batch(experiment: Experiment, folder: Path) -> float:
    (row,) = train(changed(experiment, {"schedule.epochs": 1, "optimizer.lr": 1e-12, "batch.size": 12}), folder)
    return float(row["train_loss"])


def test_auxiliary_losses_are_added_and_the_encoder_learns_from_them(tmp_path: Path) -> None:
    plain = changed(TINY_VIT, {"augment.preset": "none"})
    heavy = changed(plain, {"auxiliary": (Classify("State", weight=50.0),)})
    less, more = (losses_of_the_first_batch(one, tmp_path / f"{i}") for i, one in enumerate((plain, heavy)))
    assert more > less + 10  # 50 times log 2 for two classes, but a third of the photographs has none
    for name, experiment in (("plain", plain), ("heavy", heavy)):
        train(experiment, tmp_path / name)
    one, two = (load_file(tmp_path / name / "fold0.safetensors") for name in ("plain", "heavy"))
    assert not torch.equal(one["backbone.blocks.0.mlp.fc1.weight"], two["backbone.blocks.0.mlp.fc1.weight"])


def test_a_column_that_the_fold_data_lacks_is_an_error_before_anything_is_trained(tmp_path: Path) -> None:
    experiment = changed(TINY_VIT, {"auxiliary": (Classify("State"),)})
    empty = replace(data_for(experiment), columns={"State": np.full(12, "", object)})
    with pytest.raises(ValueError, match="column State is empty in all rows that train"):
        train_fold(experiment, 0, empty, device=CPU, starting_weights=None, folder=tmp_path)


def seen_by_the_network(
    monkeypatch: pytest.MonkeyPatch, experiment: Experiment, folder: Path, limit: int = 99
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return pictures and grams of every pass in training; more photographs than `limit` are out of memory."""
    pictures: list[torch.Tensor] = []
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    forward, loss = BackboneNet.forward, training_loss.batch_loss

    def look(self: Any, given: torch.Tensor, *others: Any) -> torch.Tensor:
        if self.training and len(given) > limit:
            raise RuntimeError("CUDA error: out of memory")
        pictures[:] = [given]
        return forward(self, given, *others)

    def compare(model: Any, answers: Any, grams: torch.Tensor, *rest: Any) -> torch.Tensor:
        if model.training:
            seen.append((pictures[0].clone(), grams.clone()))
        return loss(model, answers, grams, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(BackboneNet, "forward", look)
        patch.setattr(training_loss, "batch_loss", compare)
        train(experiment, folder)
    return seen


def test_mixed_tokens_are_what_the_head_reads_and_the_grams_are_mixed_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of four patches whole ones are the partner's, and the grams are mixed by how many."""
    shares: list[np.ndarray] = []
    mix_labels = Mixer.mix_labels

    def look(self: Mixer, batch: Any) -> Any:
        mixed = mix_labels(self, batch)
        grams, other = (values[:, 0].double() for values in (batch["values"], batch["values"][self.pairing.partners]))
        shares.append(((mixed["values"][:, 0] - grams) / (other - grams)).numpy())
        assert shares[-1] == pytest.approx(self.pairing.shares, abs=1e-4)
        return mixed

    monkeypatch.setattr(Mixer, "mix_labels", look)
    log = train(DENSE, tmp_path)
    patches = 32 // 16 * 32 // 16
    assert np.concatenate(shares) * patches == pytest.approx(np.rint(np.concatenate(shares) * patches), abs=1e-3)
    assert len(shares) == 12 and all(np.isfinite(row["train_loss"]) for row in log)


@pytest.mark.parametrize("limit", [99, 2], ids=["whole batches", "micro-batches"])
def test_what_the_network_sees_of_a_mixed_photograph_is_what_it_weighs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """The painted pictures are as bright as they are heavy: with mixing in the same way as without."""
    experiment = changed(TINY_VIT, {"augment.preset": "none", "augment.mix": CutMix(p=1.0), "schedule.epochs": 3})
    data = data_for(experiment)
    mixed = seen_by_the_network(monkeypatch, experiment, tmp_path / "mixed", limit)
    red = torch.cat([pictures[:, 0].flatten(1).mean(1) for pictures, _ in mixed]).numpy()
    green_g = torch.cat([grams[:, 0] for _, grams in mixed]).numpy()
    own = data.photographs[..., 0].mean((1, 2))
    slope, offset = np.polyfit(data.values[:, 0], own, 1)
    preprocessing = preprocessing_of(experiment.encoder.timm)
    levels = (red * preprocessing.std[0] + preprocessing.mean[0]) * 255
    assert np.abs(levels - (slope * green_g + offset)).max() < 6  # noise and clipping; unmixed grams: up to 90
    assert len(set(green_g.round(3))) > 12 and {len(pictures) for pictures, _ in mixed} == {min(limit, 4)}
