"""Classes are learnt: logits, probabilities, soft labels, and folds that lack a class or hold one alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from kernel_src.competition import choice
from kernel_src.data.class_charts import class_counts, confusion_matrix, hits_by_group
from kernel_src.data.training_photographs import FoldData, TrainingPhotographs
from kernel_src.models.class_scaling import ClassScaling
from kernel_src.models.model import BackboneNet, load_fold
from kernel_src.models.prediction import forward_values
from kernel_src.recipes.changes import changed
from kernel_src.recipes.learning import CrossEntropy, InnerFold
from kernel_src.recipes.network import PooledHead
from kernel_src.recipes.pictures import HALVES, Mean, Pictures
from kernel_src.recipes.training_data import Augment, CutMix, Mixup
from kernel_src.training.mixing import Mixer
from kernel_src.training.training import train_fold
from tests.kernel_src.tiny import CPU, TINY, fold_data

CLASSES = changed(TINY, {"loss": CrossEntropy(), "pictures.width_px": 32})


@pytest.fixture(autouse=True)
def leaf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_chosen", ["leaf"])


def data_of(numbers: np.ndarray, **options: int) -> FoldData:
    return replace(fold_data(len(numbers), **options), values=np.eye(10)[numbers])


def test_logits_become_probabilities_in_fp32_and_labels_are_never_scaled() -> None:
    logits = torch.tensor([[0.0, 1, 2], [30000, 0, -30000]], dtype=torch.float16)
    probabilities = ClassScaling().to_values(logits)
    assert probabilities.dtype == torch.float32 and probabilities.sum(1) == pytest.approx(torch.ones(2))
    assert probabilities[0] == pytest.approx(torch.softmax(torch.tensor([0.0, 1, 2]), 0))
    assert not torch.isfinite(ClassScaling().to_values(torch.tensor([[torch.inf, 0.0]]))).any(), "an overflow is seen"
    truth = torch.eye(3)
    assert ClassScaling().to_z(truth) is truth and not ClassScaling().state_dict()


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"head": PooledHead((8,), pool=("mean", "max"))},
        {"pictures": Pictures(32, 32, parts=HALVES, join=Mean())},
    ],
    ids=["plain", "pooled", "joined"],
)
def test_one_head_answers_all_classes(change: dict) -> None:
    net = BackboneNet(changed(CLASSES, change)).eval()
    assert len(net.heads) == 1
    pictures = torch.zeros(2, 3, *changed(CLASSES, change).pictures.canvas_px)
    predicted = forward_values(net, pictures, half=False)
    assert predicted.shape == (2, 10) and torch.allclose(predicted.sum(1), torch.ones(2))


@pytest.mark.parametrize("numbers", [np.full(12, 3), np.arange(12) % 2], ids=["one class alone", "eight that lack"])
def test_a_fold_learns_whatever_classes_its_rows_have(numbers: np.ndarray, tmp_path: Path) -> None:
    experiment = changed(CLASSES, {"schedule.epochs": 6, "optimizer.lr": 3e-3, "augment": Augment("none")})
    data = data_of(numbers)
    log = train_fold(experiment, 0, data, device=CPU, starting_weights=None, folder=tmp_path)
    assert log[-1]["train_loss"] < 0.8 * log[0]["train_loss"]
    net = load_fold(experiment, tmp_path / "fold0.safetensors")
    pictures = torch.from_numpy(data.photographs[:4].transpose(0, 3, 1, 2).copy()).float() / 255
    predicted = forward_values(net, pictures, half=False)
    assert torch.isfinite(predicted).all() and torch.allclose(predicted.sum(1), torch.ones(4))


def test_the_inner_fold_picks_the_epoch_by_the_loss_of_classes(tmp_path: Path) -> None:
    experiment = changed(CLASSES, {"keep": InnerFold(2), "loss": CrossEntropy(smoothing=0.1)})
    log = train_fold(
        experiment, 0, data_of(np.arange(12) % 3, inner=4), device=CPU, starting_weights=None, folder=tmp_path
    )
    assert all(0 < row["inner_loss"] < 5 for row in log)


@pytest.mark.parametrize("mix", [Mixup(p=1.0), CutMix(p=1.0)])
def test_mixed_photographs_have_shares_of_both_classes_and_train(mix, tmp_path: Path) -> None:
    mixer = Mixer(mix, 4, 0)
    batch = {
        "picture": torch.zeros(4, 3, 8, 8, dtype=torch.uint8),
        "values": torch.eye(10)[:4],
        "weight": torch.ones(4),
        "row": torch.arange(4),
    }
    mixer.mix_pictures(batch["picture"])
    shares = torch.from_numpy(mixer.pairing.shares).float()
    labels = mixer.mix_labels(batch)["values"]
    assert torch.allclose(labels.sum(1), torch.ones(4)) and torch.allclose(labels.diagonal()[:4], 1 - shares)
    assert torch.allclose(mixer.mix_inputs(torch.arange(4.0)[:, None]).ravel(), labels @ torch.arange(10.0), atol=1e-6)
    experiment = changed(CLASSES, {"augment.mix": mix, "schedule.epochs": 1})
    (row,) = train_fold(experiment, 0, data_of(np.arange(12) % 3), device=CPU, starting_weights=None, folder=tmp_path)
    assert np.isfinite(row["train_loss"])


def test_a_class_is_that_of_the_whole_photograph_whatever_a_crop_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    data, augment = data_of(np.arange(12) % 3), Augment("none", crop=(0.3, 0.5), crop_p=1.0)
    served = TrainingPhotographs(data.photographs, data.values, np.arange(4), augment, 1)
    assert all(served[i]["values"].sum() == 1 for i in range(4))
    monkeypatch.setattr(choice, "_chosen", ["biomass"])
    amounts = TrainingPhotographs(data.photographs, data.values, np.arange(4), augment, 1)
    assert all(amounts[i]["values"].sum() <= 0.51 for i in range(4)), "an amount is what the crop shows of it"


def test_the_confusion_matrix_counts_true_by_likeliest_and_the_charts_can_be_drawn() -> None:
    truth, predicted = np.eye(10)[[0, 0, 3, 9]], np.eye(10)[[0, 3, 3, 1]]
    counts = class_counts(truth, predicted)
    assert (counts[0, 0], counts[0, 3], counts[3, 3], counts[9, 1], counts.sum()) == (1, 1, 1, 1, 4)
    assert confusion_matrix(truth, predicted).axes[0].get_xlabel() == "predicted"
    bars = hits_by_group(truth, predicted, np.array(["a", "a", "b", "b"]), "right classes per place").axes[0].patches
    assert [bar.get_height() for bar in bars] == [0.5, 0.5]
