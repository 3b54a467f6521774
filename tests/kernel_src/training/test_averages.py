"""Averages of the weights, against numbers worked out by hand."""

import pytest
import torch
from torch import nn

from kernel_src.recipes.learning import EMA, SWA, InnerFold, Keep, Last
from kernel_src.training.averages import (
    BestEpochs,
    ChosenWeights,
    EpochAverage,
    MovingAverage,
    average_of,
    refresh_batch_norms,
)


def net(weight: float, running_mean: float = 0.0, batches: int = 0) -> nn.Module:
    model = nn.BatchNorm1d(1)
    with torch.no_grad():
        model.weight.fill_(weight)
        model.running_mean.fill_(running_mean)
        model.num_batches_tracked.fill_(batches)
    return model


# The moving average over the steps


def test_late_steps_keep_the_decay_and_early_ones_less() -> None:
    average = MovingAverage(net(1.0), 0.9)
    average.after_step(net(3.0), 1)  # (1 + 1) / (10 + 1) = 2/11 of the old: 2/11 * 1 + 9/11 * 3
    assert average.tensors["weight"].item() == pytest.approx(29 / 11)
    average.after_step(net(0.0), 1000)  # 0.9 of the old
    assert average.tensors["weight"].item() == pytest.approx(0.9 * 29 / 11)
    average.after_epoch(net(5.0), 1)
    assert average.tensors["weight"].item() == pytest.approx(0.9 * 29 / 11)


def test_statistics_are_averaged_counters_copied_and_constants_left_alone() -> None:
    average = MovingAverage(net(0.1, running_mean=2.0, batches=3), 0.75)
    average.after_step(net(0.1, running_mean=6.0, batches=4), 1000)
    assert average.tensors["running_mean"].item() == pytest.approx(0.75 * 2 + 0.25 * 6)
    assert average.tensors["num_batches_tracked"].item() == 4
    assert torch.equal(average.tensors["weight"], torch.full((1,), 0.1)), "bit for bit"


def test_swapping_twice_changes_nothing_and_once_puts_the_average_into_the_model() -> None:
    model = net(5.0)
    average = MovingAverage(net(2.0), 0.9)
    average.swap(model)
    assert model.weight.item() == 2.0 and average.tensors["weight"].item() == 5.0
    average.swap(model)
    assert model.weight.item() == 5.0 and average.tensors["weight"].item() == 2.0


# The plain mean over the ends of epochs


def test_the_mean_begins_after_the_skipped_epochs_and_before_it_is_the_weights_themselves() -> None:
    average = EpochAverage(net(9.0), skipped=2)
    seen = []
    for epoch, weight in enumerate((1.0, 2.0, 4.0, 7.0, 1.0), 1):
        average.after_step(net(100.0), epoch)  # steps within an epoch do not count
        average.after_epoch(net(weight), epoch)
        seen.append(average.tensors["weight"].item())
    assert seen == pytest.approx([1.0, 2.0, 4.0, (4 + 7) / 2, (4 + 7 + 1) / 3])


@pytest.mark.parametrize(
    ("start", "epochs", "skipped"), [(0.75, 20, 15), (0.75, 1, 0), (0.0, 5, 0), (0.29, 100, 29), (0.99, 3, 2)]
)
def test_the_mean_starts_after_that_share_of_the_epochs_and_takes_in_one_at_least(
    start: float, epochs: int, skipped: int
) -> None:
    average = average_of(SWA(start=start), net(1.0), epochs)
    assert isinstance(average, EpochAverage) and average.skipped == skipped < epochs


def test_which_average_is_judged_and_kept() -> None:
    kept: list[tuple[Keep, type | None]] = [
        (Last(), None),
        (EMA(), MovingAverage),
        (EMA(decay=0.0), None),
        (InnerFold(), None),
        (InnerFold(of=EMA(decay=0.9)), MovingAverage),
    ]
    for keep, kind in kept:
        average = average_of(keep, net(1.0), 10)
        assert average is None if kind is None else type(average) is kind


# The best epochs


def judged(count: int, *losses: float) -> BestEpochs:
    best = BestEpochs(count)
    for epoch, loss in enumerate(losses, 1):
        best.take(loss, epoch, net(10.0 * epoch, batches=epoch).state_dict())
    return best


def test_the_best_epoch_is_kept_as_it_is_and_the_earlier_of_two_equal_ones() -> None:
    best = judged(1, 5, 3, 4, 3)
    assert best.best_epoch == 2 and list(best.weights) == [2]
    assert torch.equal(best.mean()["weight"], torch.tensor([20.0]))


def test_the_mean_is_over_the_weights_of_the_best_epochs_and_counts_as_the_best_did() -> None:
    best = judged(3, 5, 3, 4, 2, 9)
    assert best.epochs == [(2, 4), (3, 2), (4, 3)]
    assert best.mean()["weight"].item() == pytest.approx((40 + 20 + 30) / 3)
    assert best.mean()["num_batches_tracked"].item() == 4


def test_fewer_epochs_than_asked_for_are_all_in_the_mean_and_one_without_a_number_never_is() -> None:
    assert judged(5, 2, float("nan"), 1).mean()["weight"].item() == pytest.approx((10 + 30) / 2)
    assert judged(2, float("nan")).mean() == {} and judged(2, float("nan")).best_epoch is None


def test_what_is_kept_does_not_follow_the_model() -> None:
    model, best = net(1.0), BestEpochs(1)
    best.take(1.0, 1, model.state_dict())
    with torch.no_grad():
        model.weight.fill_(2.0)
    assert best.mean()["weight"].item() == 1.0


# Batch norms


def test_refreshed_statistics_are_the_mean_over_the_batches_and_nothing_else_changes() -> None:
    model = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(2), nn.Linear(2, 1))
    norm = model[1]
    with torch.no_grad():
        norm.running_mean.fill_(99.0)
    batches = [torch.randn(4, 2), torch.randn(4, 2) + 3]
    weights = {name: p.clone() for name, p in model.named_parameters()}
    refresh_batch_norms(model, batches, model)
    expected = torch.stack([batch.mean(0) for batch in batches]).mean(0)  # without dropout
    assert torch.allclose(norm.running_mean, expected, atol=1e-6)
    assert torch.allclose(norm.running_var, torch.stack([batch.var(0) for batch in batches]).mean(0), atol=1e-6)
    assert norm.momentum == 0.1 and not norm.training
    assert all(torch.equal(p, weights[name]) for name, p in model.named_parameters())


def test_frozen_batch_norms_keep_their_pretrained_statistics() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2))
    model[0].requires_grad_(False)
    before = model[0].running_mean.clone()
    refresh_batch_norms(model, [torch.randn(4, 2) + 5], model)
    assert torch.equal(model[0].running_mean, before) and not torch.equal(model[1].running_mean, before)


def test_only_a_mean_over_several_epochs_gets_new_statistics_and_the_model_keeps_its_own() -> None:
    model = nn.BatchNorm1d(2)
    model(torch.randn(8, 2))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    averaged = {name: tensor + 1 for name, tensor in before.items()}
    one, several = (
        ChosenWeights(averaged, epochs).with_own_statistics(model, [torch.randn(4, 2) + 7], model) for epochs in (1, 3)
    )
    assert one is averaged
    assert torch.equal(several["weight"], averaged["weight"]) and (several["running_mean"] - 7).abs().max() < 3
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    plain = nn.LayerNorm(2)
    assert ChosenWeights(averaged, 3).with_own_statistics(plain, [], plain) is averaged
