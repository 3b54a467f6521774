"""Prediction: the mean over the views, every photograph once, and no NaN in grams."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from kernel_src.data.dataset import DecodedPhotographs
from kernel_src.data.symmetries import ALL, UPRIGHT, apply_view
from kernel_src.models.full_pass import loading_processes, predict_values
from kernel_src.models.model import BackboneNet
from kernel_src.models.prediction import forward_values
from kernel_src.models.starting_weights import preprocessing_of
from kernel_src.recipes.changes import changed
from tests.kernel_src.tiny import CPU, TINY_VIT, fold_data

DATA = fold_data(7)
ROWS = np.array([5, 0, 3, 1, 6])
VIEWS = {"none": (UPRIGHT,), "all": ALL}


def new_net(seed: int) -> BackboneNet:
    torch.manual_seed(seed)
    model = BackboneNet(TINY_VIT)
    model.scaling.fit(DATA.values)
    return model


def predict(models: list[BackboneNet], photographs: Dataset[torch.Tensor], tta: str = "none", **options: object):
    return predict_values(
        models,
        photographs,
        preprocessing=preprocessing_of(TINY_VIT.encoder.timm),
        symmetries=VIEWS[tta],
        device=CPU,
        batch_size=2,
        **options,
    )


def test_every_model_predicts_every_photograph_in_order_whatever_the_batches() -> None:
    models = [new_net(0), new_net(1)]
    grams = predict(models, DecodedPhotographs(DATA.photographs, ROWS))
    assert grams.shape == (2, 5, 5) and grams.dtype == np.float64
    for m, model in enumerate(models):
        for i, row in enumerate(ROWS):
            alone = predict([model], DecodedPhotographs(DATA.photographs, np.array([row])))
            assert grams[m, i] == pytest.approx(alone[0, 0], abs=1e-4)


def test_views_are_averaged_in_grams_and_the_mean_does_not_depend_on_how_the_picture_was_held() -> None:
    model = new_net(0)
    turned = np.rot90(DATA.photographs, axes=(1, 2)).copy()
    upright = predict([model], DecodedPhotographs(DATA.photographs, ROWS), "all")
    assert predict([model], DecodedPhotographs(turned, ROWS), "all") == pytest.approx(upright, abs=1e-3)
    pictures = torch.from_numpy(DATA.photographs[ROWS].transpose(0, 3, 1, 2).copy())
    with torch.inference_mode():
        normalised = preprocessing_of(TINY_VIT.encoder.timm).normalise(pictures)
        each = [forward_values(model.eval(), apply_view(normalised, v), half=False) for v in VIEWS["all"]]
    assert torch.stack(each).mean(0).numpy() == pytest.approx(upright[0], abs=1e-3)
    assert predict([model], DecodedPhotographs(turned, ROWS)) != pytest.approx(
        predict([model], DecodedPhotographs(DATA.photographs, ROWS)), abs=1e-3
    ), "one view alone does depend on it"


def test_each_photograph_is_read_once_whatever_the_number_of_models_and_views() -> None:
    class Counting(DecodedPhotographs):
        read: list[int] = []

        def __getitem__(self, i: int) -> torch.Tensor:
            self.read.append(i)
            return super().__getitem__(i)

    predict([new_net(0), new_net(1)], Counting(DATA.photographs, ROWS), "all")
    assert Counting.read == [0, 1, 2, 3, 4]


def test_the_projected_time_is_told_after_the_first_batch_and_may_stop_the_work() -> None:
    told: list[float] = []
    predict([new_net(0)], DecodedPhotographs(DATA.photographs, ROWS), after_first_batch=told.append)
    assert len(told) == 1 and told[0] > 0

    def refuse(_: float) -> None:
        raise RuntimeError("too long")

    with pytest.raises(RuntimeError, match="too long"):
        predict([new_net(0)], DecodedPhotographs(DATA.photographs, ROWS), after_first_batch=refuse)


def test_no_photographs_give_no_predictions() -> None:
    assert predict([new_net(0)], DecodedPhotographs(DATA.photographs, np.zeros(0, int))).shape == (1, 0, 5)


@pytest.mark.parametrize("place", ["heads.2.0.weight", "scaling.mean", "scaling.std"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_nan_anywhere_in_the_weights_stops_the_prediction(place: str, bad: float) -> None:
    """Also in the scaling, behind the network: a projection onto the identities would make 0 g of it."""
    model = new_net(0)
    model.state_dict()[place].view(-1)[0] = bad
    with pytest.raises(FloatingPointError, match="2 of 2 predictions are NaN or infinite"):
        predict([model], DecodedPhotographs(DATA.photographs, ROWS))


def test_an_overflow_in_half_precision_is_computed_again_in_full() -> None:
    model = new_net(0).eval()
    with torch.inference_mode():
        pictures = torch.rand(2, 3, 32, 32)
        for head in model.heads:
            head[0].weight *= 1e6  # beyond 65504, where fp16 ends
        exact = forward_values(model, pictures, half=False)
        half = forward_values(model, pictures, half=True)
    assert torch.isfinite(half).all() and torch.allclose(half, exact)


def test_batch_norm_and_dropout_are_off() -> None:
    net = BackboneNet(changed(TINY_VIT, {"encoder.timm": "test_efficientnet", "head.dropout": 0.9})).train()
    photographs = DecodedPhotographs(DATA.photographs, ROWS)
    assert np.array_equal(predict([net], photographs), predict([net], photographs))


@pytest.mark.parametrize(
    ("cores", "processes", "each"), [(4, 1, 4), (4, 2, 2), (2, 2, 1), (2, 1, 2), (1, 2, 1), (64, 2, 4)]
)
def test_beside_gpus_all_processes_together_load_with_no_more_than_the_cores(
    monkeypatch: pytest.MonkeyPatch, cores: int, processes: int, each: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)))
    assert loading_processes(replace(CPU, kind="cuda", processes=processes)) == each


def test_beside_a_cpu_that_computes_nothing_else_loads() -> None:
    assert loading_processes(CPU) == 0
