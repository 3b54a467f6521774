"""Training one fold: resumable bit for bit, blind to the fold that is scored, and honest about NaN."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from kernel_src.data.training_photographs import FoldData
from kernel_src.models.model import BackboneNet
from kernel_src.recipes.changes import changed
from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.learning import InnerFold, Last
from kernel_src.recipes.training_data import Augment
from kernel_src.runtime.files import sha256_of
from kernel_src.training import training, training_batches
from kernel_src.training.gradient_steps import GradientSteps, TrainingDiverged
from kernel_src.training.training import epoch_line, new_model, train_fold
from tests.kernel_src.tiny import CPU, TINY, TINY_VIT, fold_data


def train(experiment: Experiment, folder: Path, data: FoldData | None = None, **options: Any) -> list[dict[str, Any]]:
    folder.mkdir(exist_ok=True, parents=True)
    data = data or fold_data(12, inner=4 if experiment.keep.picks_epoch else 0, size_px=experiment.pictures.canvas_px)
    options = {"device": CPU, "starting_weights": None} | options
    return train_fold(experiment, 0, data, folder=folder, **options)


# With batch norm, dropout, augmentation, momentum and an inner fold: everything a resumed run could get wrong.
LONG = changed(TINY, {"schedule.epochs": 5, "keep": InnerFold(2), "optimizer.backbone_lr": 1e-4})


def test_nothing_but_weights_and_log_is_left_behind(tmp_path: Path) -> None:
    train(LONG, tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["fold0.safetensors", "log0.csv"]


def test_the_same_training_twice_is_bit_equal_and_another_fold_is_not(tmp_path: Path) -> None:
    for name in ("a", "b"):
        train(TINY, tmp_path / name)
    assert sha256_of(tmp_path / "a/fold0.safetensors") == sha256_of(tmp_path / "b/fold0.safetensors")
    data = fold_data(12, size_px=TINY.pictures.canvas_px)
    train_fold(TINY, 1, data, device=CPU, starting_weights=None, folder=tmp_path)
    assert sha256_of(tmp_path / "fold1.safetensors") != sha256_of(tmp_path / "a/fold0.safetensors")


def inner_losses(monkeypatch: pytest.MonkeyPatch, *losses: float) -> list[dict[str, torch.Tensor]]:
    """Let the inner fold say these losses, and return the list that the weights of each epoch go into."""
    weights: list[dict[str, torch.Tensor]] = []
    said = iter(losses)

    def say(model: Any, *_: object) -> float:
        weights.append({key: value.clone() for key, value in model.state_dict().items()})
        return next(said)

    monkeypatch.setattr(training, "inner_loss", say)
    return weights


def equal(path: Path, weights: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, weights[key]) for key, value in load_file(path).items())


def test_the_inner_fold_picks_the_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = inner_losses(monkeypatch, 5, 3, 4, 3.5, 6)
    assert len(train(LONG, tmp_path)) == 5
    assert equal(tmp_path / "fold0.safetensors", weights[1]) and not equal(tmp_path / "fold0.safetensors", weights[4])


def test_without_an_inner_fold_the_last_epoch_is_kept(tmp_path: Path) -> None:
    seen: list[dict[str, torch.Tensor]] = []

    def record(epoch: int, row: dict[str, Any], weights: Mapping[str, torch.Tensor]) -> None:
        seen.append({key: value.clone() for key, value in weights.items()})

    log = train(changed(LONG, {"keep": Last()}), tmp_path, on_epoch=record)
    assert [row["inner_loss"] for row in log] == [None] * 5
    assert equal(tmp_path / "fold0.safetensors", seen[-1]) and not equal(tmp_path / "fold0.safetensors", seen[-2])


def test_patience_ends_the_training_so_many_epochs_after_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner_losses(monkeypatch, 5, 3, 4, 4, 1)
    assert len(train(changed(LONG, {"keep.patience": 2}), tmp_path)) == 4


def test_the_inner_loss_is_the_loss_without_augmentation_and_dropout(tmp_path: Path) -> None:
    experiment = changed(LONG, {"schedule.epochs": 1, "head.dropout": 0.5})
    data = fold_data(12, inner=5, size_px=experiment.pictures.canvas_px)
    (row,) = train(experiment, tmp_path, data)
    from kernel_src.models.model import load_fold
    from kernel_src.models.starting_weights import preprocessing_of
    from kernel_src.training.losses import loss_of

    model = load_fold(experiment, tmp_path / "fold0.safetensors")
    pictures = torch.from_numpy(data.photographs[data.inner_rows].transpose(0, 3, 1, 2).copy())
    with torch.inference_mode():
        z = model(preprocessing_of(experiment.encoder.timm).normalise(pictures))
        truth = model.scaling.to_z(torch.from_numpy(data.values[data.inner_rows]).float())
    expected = float(loss_of(z, truth, experiment.loss, scaling=model.scaling))
    assert row["inner_loss"] == pytest.approx(expected, rel=1e-5)


def test_neither_inner_nor_foreign_rows_touch_the_weights(tmp_path: Path) -> None:
    """Changing every picture and label that is not trained on changes nothing where the last epoch is kept."""
    data = fold_data(12)
    rows, others = data.train_rows[:8], data.train_rows[8:]
    one = FoldData(photographs=data.photographs, values=data.values, train_rows=rows, inner_rows=np.zeros(0, int))
    grams, photographs = data.values.copy(), data.photographs.copy()
    grams[others], photographs[others] = 1e6, 0
    two = FoldData(photographs=photographs, values=grams, train_rows=rows, inner_rows=np.zeros(0, int))
    train(TINY_VIT, tmp_path / "one", one)
    train(TINY_VIT, tmp_path / "two", two)
    assert sha256_of(tmp_path / "one/fold0.safetensors") == sha256_of(tmp_path / "two/fold0.safetensors")
    scaling = load_file(tmp_path / "one/fold0.safetensors")["scaling.mean"]
    assert scaling.tolist() == pytest.approx(data.values[rows].mean(0).tolist(), rel=1e-5)


def test_the_log_tells_loss_and_learning_rate_of_every_epoch(tmp_path: Path) -> None:
    log = train(
        changed(TINY_VIT, {"schedule": "Steps", "schedule.every": 1, "schedule.factor": 0.5, "schedule.epochs": 3}),
        tmp_path,
    )
    assert [row["epoch"] for row in log] == [1, 2, 3] and {row["fold"] for row in log} == {0}
    assert [row["learning_rate"] for row in log] == pytest.approx([1e-3, 5e-4, 2.5e-4])
    assert all(row["train_loss"] > 0 and row["seconds"] >= 0 for row in log)


def test_the_loss_is_that_of_z_scores_over_the_training_rows(tmp_path: Path) -> None:
    """One batch, and a rate too small to move anything: the log must tell the loss of the untrained model."""
    from kernel_src.models.starting_weights import preprocessing_of
    from kernel_src.training.losses import loss_of

    data = fold_data(8)
    experiment = changed(
        TINY_VIT, {"batch.size": 8, "schedule.epochs": 1, "optimizer.lr": 1e-12, "augment.preset": "none"}
    )
    (row,) = train(experiment, tmp_path, data)
    model = new_model(experiment, data.values, None).eval()
    with torch.inference_mode():
        pictures = torch.from_numpy(data.photographs.transpose(0, 3, 1, 2).copy())
        z = model(preprocessing_of(experiment.encoder.timm).normalise(pictures))
    truth = (data.values - data.values.mean(0)) / data.values.std(0)
    expected = loss_of(z, torch.from_numpy(truth).float(), experiment.loss, scaling=model.scaling)
    assert row["train_loss"] == pytest.approx(float(expected), rel=1e-4)


def test_every_epoch_augments_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[int, set[int]] = {}

    class Recording(training_batches.TrainingPhotographs):
        def __getitem__(self, i: int) -> Any:
            seen.setdefault(self.epoch, set()).add(i)
            return super().__getitem__(i)

    monkeypatch.setattr(training_batches, "TrainingPhotographs", Recording)
    train(changed(TINY_VIT, {"schedule.epochs": 3}), tmp_path)
    assert seen == {epoch: set(range(12)) for epoch in range(3)}


@pytest.mark.parametrize("density", [False, True])
def test_a_network_that_answers_densities_is_trained_on_the_label_of_the_whole_and_any_other_on_what_a_crop_shows(
    density: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, served = fold_data(12), dict[int, np.ndarray]()

    class Recording(training_batches.TrainingPhotographs):
        def __getitem__(self, i: int) -> Any:
            example = super().__getitem__(i)
            served[example["row"]] = example["values"].numpy()
            return example

    monkeypatch.setattr(training_batches, "TrainingPhotographs", Recording)
    monkeypatch.setattr(Experiment, "predicts_density", density)
    everything = {"crop": (0.4, 0.6), "crop_p": 1.0, "stamps_p": 0.5, "spots_p": 0.5}
    changes = {f"augment.{name}": value for name, value in everything.items()}
    train(changed(TINY_VIT, {"schedule.epochs": 1} | changes), tmp_path, data)
    shares = np.array([served[row] / data.values[row] for row in range(12)])
    if density:
        assert np.allclose(shares, 1.0)
    else:
        assert shares.max() < 0.65 and np.ptp(shares, axis=1).max() < 1e-5


def test_the_training_learns_what_the_pictures_show(tmp_path: Path) -> None:
    experiment = changed(
        TINY, {"schedule.epochs": 25, "augment.preset": "none", "head.dropout": 0.0, "optimizer.lr": 3e-3}
    )
    log = train(experiment, tmp_path, fold_data(16, size_px=experiment.pictures.canvas_px))
    assert log[-1]["train_loss"] < 0.4 * log[0]["train_loss"]


def test_accumulated_batches_are_one_step_of_their_sum(tmp_path: Path) -> None:
    """Four pictures in one batch, or two by two and accumulated: alike on a net without batch norm."""
    base = changed(TINY_VIT, {"schedule.epochs": 4, "augment.preset": "none", "schedule": "Constant"})
    whole = train(changed(base, {"batch.size": 4}), tmp_path / "whole", fold_data(8))
    halves = train(changed(base, {"batch.size": 2, "batch.accumulate": 2}), tmp_path / "halves", fold_data(8))
    one_by_one = train(changed(base, {"batch.size": 2}), tmp_path / "two", fold_data(8))
    # Not the weights: Adam turns the rounding of a gradient near zero into a whole step.
    losses = [row["train_loss"] for row in whole]
    assert [row["train_loss"] for row in halves] == pytest.approx(losses, rel=1e-3)
    assert [row["train_loss"] for row in one_by_one] != pytest.approx(losses, rel=1e-2)


# Divergence


def test_a_nan_label_stops_the_training_and_names_its_row(tmp_path: Path) -> None:
    data = fold_data(12)
    data.values[7, 2] = np.nan
    data = replace(data, train_rows=np.arange(12))
    model = new_model(TINY_VIT, np.nan_to_num(data.values), None)  # the scaling alone must not be what fails
    assert torch.isfinite(model.scaling.mean).all()
    with pytest.raises(TrainingDiverged, match=r"fold 0, epoch 1, batch \d .*labels of rows \[7\].* mend train.csv"):
        train(changed(TINY_VIT, {"batch.size": 12}), tmp_path, data)


def test_an_exploding_learning_rate_stops_the_training_with_the_rate_and_the_cure(tmp_path: Path) -> None:
    experiment = changed(
        TINY_VIT, {"optimizer.lr": 1e30, "schedule": "Constant", "optimizer": "RMSprop", "schedule.epochs": 4}
    )
    with pytest.raises(TrainingDiverged, match=r"learning rate 1e\+30. Cure: a lower optimizer.lr"):
        train(experiment, tmp_path)
    assert not (tmp_path / "fold0.safetensors").exists()


# Starting weights


def test_training_starts_from_the_weights_it_is_given(tmp_path: Path) -> None:
    import timm

    tensors = timm.create_model(TINY_VIT.encoder.timm, num_classes=3, img_size=32).state_dict()
    save_file(tensors, tmp_path / "model.safetensors")
    model = new_model(TINY_VIT, fold_data(12).values, tmp_path / "model.safetensors")
    assert all(torch.equal(value, tensors[key]) for key, value in model.backbone.state_dict().items())
    still = changed(TINY_VIT, {"optimizer.lr": 1e-12, "schedule.epochs": 1})
    train(still, tmp_path / "run", starting_weights=tmp_path / "model.safetensors")
    weights = load_file(tmp_path / "run/fold0.safetensors")
    assert all(torch.allclose(weights[f"backbone.{k}"], v, atol=1e-6) for k, v in model.backbone.state_dict().items())


def test_random_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(99)
    one = new_model(TINY, fold_data().values, None).state_dict()
    torch.manual_seed(5)
    two = new_model(TINY, fold_data().values, None).state_dict()
    assert all(torch.equal(one[key], two[key]) for key in one)


# Clipping, and who is told


def test_gradients_are_clipped_to_the_norm_that_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    norms: list[float] = []
    step = torch.optim.AdamW.step

    def record(self: torch.optim.AdamW, *arguments: Any) -> Any:
        gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        norms.append(float(torch.cat([g.flatten() for g in gradients]).norm()))
        return step(self, *arguments)

    monkeypatch.setattr(torch.optim.AdamW, "step", record)
    train(changed(TINY, {"optimizer.clip_norm": 0.05}), tmp_path / "clipped")
    clipped, norms[:] = max(norms), []
    train(TINY, tmp_path / "free")
    assert clipped == pytest.approx(0.05, rel=1e-3) and min(norms) > 0.05


def test_each_epoch_is_told_with_its_log_row_and_weights_and_may_end_the_training(tmp_path: Path) -> None:
    told: list[tuple[int, dict[str, Any]]] = []

    def prune(epoch: int, row: dict[str, Any], weights: Mapping[str, torch.Tensor]) -> None:
        assert "scaling.mean" in weights
        told.append((epoch, row))
        if epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(LONG, tmp_path, on_epoch=prune)
    assert [epoch for epoch, _ in told] == [1, 2, 3] and told[1][1]["inner_loss"] is not None
    assert not (tmp_path / "fold0.safetensors").exists()


# Half precision and memory


HALF = replace(CPU, half=True)  # a CPU that computes in fp16 stands for the GPU


SIX_BATCHES = fold_data(24, size_px=TINY.pictures.canvas_px)  # more than may be left out


def breaking(monkeypatch: pytest.MonkeyPatch, is_broken: Callable[[BackboneNet, torch.Tensor], bool]) -> list[bool]:
    """Let the network answer infinity for some batches; return the list of whether each pass computed in fp16."""
    forward, halves = BackboneNet.forward, []

    def sometimes(self: BackboneNet, pictures: torch.Tensor, *others: torch.Tensor | None) -> torch.Tensor:
        halves.append(torch.is_autocast_enabled("cpu"))
        z = forward(self, pictures, *others)
        return z * float("inf") if self.training and is_broken(self, pictures) else z

    monkeypatch.setattr(BackboneNet, "forward", sometimes)
    return halves


def test_a_few_batches_that_overflow_in_fp16_are_left_out_and_the_training_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[int] = []
    halves = breaking(monkeypatch, lambda *_: calls.append(1) or len(calls) in (2, 3))  # once more to find the cause
    log = train(changed(TINY, {"schedule.epochs": 3, "encoder.precision": "fp16"}), tmp_path, device=HALF)
    assert len(log) == 3 and all(halves) and {row["precision_bits"] for row in log} == {16}
    assert all(np.isfinite(row["train_loss"]) for row in log)
    assert "fold 0: left out, 1 of at most 5 in fp16: the loss is not finite at fold 0" in capsys.readouterr().out
    assert all(torch.isfinite(tensor).all() for tensor in load_file(tmp_path / "fold0.safetensors").values())


def test_a_training_that_fp16_cannot_do_goes_on_in_fp32_from_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    passes: list[int] = []

    def after_the_first_epoch(model: BackboneNet, pictures: torch.Tensor) -> bool:
        passes.append(1)
        return torch.is_autocast_enabled("cpu") and len(passes) > 6

    breaking(monkeypatch, after_the_first_epoch)
    log = train(changed(TINY, {"schedule.epochs": 4, "encoder.precision": "fp16"}), tmp_path, SIX_BATCHES, device=HALF)
    assert [row["precision_bits"] for row in log] == [16, 32, 32, 32]
    said = capsys.readouterr().out
    assert "6 batches were not finite in fp16" in said and "Once more in fp32, from its last checkpoint" in said
    assert "fold 0: resumed after epoch 1, batch 0" in said


def test_a_training_that_went_on_in_fp32_stays_so_when_it_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaking(monkeypatch, lambda *_: torch.is_autocast_enabled("cpu"))
    experiment = changed(TINY, {"schedule.epochs": 3, "encoder.precision": "fp16"})

    def stop(epoch: int, *_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(experiment, tmp_path, SIX_BATCHES, device=HALF, on_epoch=stop)
    log = train(experiment, tmp_path, SIX_BATCHES, device=HALF)
    assert [row["precision_bits"] for row in log] == [32] * 3 and (tmp_path / "fold0.safetensors").exists()


def test_what_fp32_cannot_train_either_has_diverged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    breaking(monkeypatch, lambda *_: True)
    with pytest.raises(TrainingDiverged, match="fold 0, epoch 1, batch 1 .*the network's output is not"):
        train(changed(TINY, {"encoder.precision": "fp16"}), tmp_path, SIX_BATCHES, device=HALF)


@pytest.mark.parametrize(("factor", "chosen"), [(1.0, "fp16"), (1.5, "fp32"), (float("nan"), "fp32")])
def test_auto_compares_one_batch_and_says_what_it_decides(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    factor: float,
    chosen: str,
) -> None:
    forward = BackboneNet.forward

    def differ(self: BackboneNet, *given: Any) -> torch.Tensor:
        z = forward(self, *given)
        return z * factor if torch.is_autocast_enabled("cpu") and not self.training else z

    monkeypatch.setattr(BackboneNet, "forward", differ)
    log = train(TINY, tmp_path, device=HALF)
    assert {row["precision_bits"] for row in log} == {int(chosen[2:])}
    assert f"fold 0: trained in {chosen}: " in capsys.readouterr().out


def test_a_cpu_trains_in_fp32_and_without_a_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert {row["precision_bits"] for row in train(TINY, tmp_path)} == {32}
    assert "trained in" not in capsys.readouterr().out


def little_memory(monkeypatch: pytest.MonkeyPatch, limit: int) -> list[int]:
    """Let a pass of more photographs than `limit` run out of memory; return the list of how many each had."""
    forward, sizes = BackboneNet.forward, []

    def fit(self: BackboneNet, pictures: torch.Tensor, *others: torch.Tensor | None) -> torch.Tensor:
        if self.training and len(pictures) > limit:
            raise RuntimeError("CUDA error: out of memory")
        sizes.append(len(pictures))
        return forward(self, pictures, *others)

    monkeypatch.setattr(BackboneNet, "forward", fit)
    return sizes


def test_out_of_memory_halves_the_micro_batches_and_a_resumed_training_goes_on_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a machine whose memory is larger the resumed training goes on with the small ones: the same weights."""
    experiment = changed(TINY, {"schedule.epochs": 3})
    with monkeypatch.context() as patch:
        sizes = little_memory(patch, 2)
        train(experiment, tmp_path / "whole")
        assert set(sizes) == {2}
        assert "fold 0: out of memory at 4 photographs at once: each batch is computed 2" in capsys.readouterr().out

        def stop(epoch: int, *_: object) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(experiment, tmp_path / "resumed", on_epoch=stop)
    log = train(experiment, tmp_path / "resumed")
    assert [row["images_at_once"] for row in log] == [2, 2, 2]
    one, two = (sha256_of(tmp_path / name / "fold0.safetensors") for name in ("whole", "resumed"))
    assert one == two


def test_micro_batches_make_the_step_of_the_whole_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a net without batch norm; losses, because Adam turns the rounding of a small gradient into a whole step."""
    base = changed(TINY_VIT, {"schedule.epochs": 4, "batch.size": 4, "augment.preset": "none", "schedule": "Constant"})
    whole = train(base, tmp_path / "whole", fold_data(12))
    little_memory(monkeypatch, 3)
    parts = train(base, tmp_path / "parts", fold_data(12))
    assert [row["train_loss"] for row in parts] == pytest.approx([row["train_loss"] for row in whole], rel=1e-3)


@pytest.mark.parametrize(("images", "steps"), [(12, [2, 1]), (16, [2, 2]), (8, [2])])
def test_the_last_group_of_an_epoch_is_a_step_of_the_batches_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: int, steps: list[int]
) -> None:
    """By how many the gradients are divided is tested in test_gradient_steps.py."""
    seen: list[int] = []
    apply = GradientSteps._apply

    def record(self: GradientSteps, batches: int) -> bool:
        seen.append(batches)
        return apply(self, batches)

    monkeypatch.setattr(GradientSteps, "_apply", record)
    train(
        changed(TINY, {"schedule.epochs": 1, "batch.accumulate": 2}),
        tmp_path,
        fold_data(images, size_px=TINY.pictures.canvas_px),
    )
    assert seen == steps


def test_loading_processes_that_live_on_see_the_epoch(tmp_path: Path) -> None:
    data = fold_data(8)
    served = training_batches.TrainingPhotographs(data.photographs, data.values, np.arange(8), Augment("moderate"), 5)
    loader = torch.utils.data.DataLoader(served, 4, num_workers=1, persistent_workers=True)
    for epoch in (0, 1, 4):
        served.epoch = epoch
        pictures = torch.cat([batch["picture"] for batch in loader])
        assert torch.equal(pictures, torch.stack([served[i]["picture"] for i in range(8)]))


def test_each_epoch_says_how_far_the_fold_is_in_one_line() -> None:
    row = {"fold": 1, "epoch": 3, "train_loss": 0.51249, "inner_loss": None, "seconds": 42.0}
    assert epoch_line(row, 12) == "fold 1: epoch 3 of 12, loss 0.512, 6.3 min left"
    assert (
        epoch_line(row | {"epoch": 12, "inner_loss": 0.4}, 12) == "fold 1: epoch 12 of 12, loss 0.512, inner loss 0.400"
    )
