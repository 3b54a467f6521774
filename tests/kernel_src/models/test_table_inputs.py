"""Numbers of the table stand beside the features, standardised by what the weights carry."""

import numpy as np
import pytest
import torch

from kernel_src.competition import choice
from kernel_src.competitions.paws.facts import DESCRIPTION
from kernel_src.models.full_pass import predict_members
from kernel_src.models.model import BackboneNet
from kernel_src.models.prediction import Member, forward_values
from kernel_src.models.starting_weights import preprocessing_of
from kernel_src.models.table_inputs import FURTHEST, TableInputs, filled_inputs
from kernel_src.recipes.changes import changed
from kernel_src.recipes.network import DenseHead, Inputs
from tests.kernel_src.tiny import CPU, TINY, TINY_VIT

PICTURES = torch.zeros(3, 3, 32, 64)


@pytest.fixture(autouse=True)
def paws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_chosen", ["paws"])


def test_known_numbers_are_standardised_missing_ones_are_the_mean_and_constants_say_nothing() -> None:
    table = TableInputs(Inputs(("Near", "Eyes", "Blur")), 0)
    values = np.zeros((4, 12))
    values[:, DESCRIPTION.index("Eyes")] = [1, 3, np.nan, 5]
    values[:, DESCRIPTION.index("Near")] = [0, 1, 0, 1]
    values[:, DESCRIPTION.index("Blur")] = 0.1
    table.fit(values)
    seen = torch.from_numpy(values).float()
    seen[0, DESCRIPTION.index("Blur")] = 7.0
    z = table.beside(torch.zeros(4, 0), seen)
    assert z[:, 0].tolist() == pytest.approx([-1, 1, -1, 1])
    assert z[:, 1].tolist() == pytest.approx([-(1.5**0.5), 0, 0, 1.5**0.5], abs=1e-6)
    assert z[:, 2].tolist() == [0, 0, 0, 0]
    wild = torch.full((1, 12), 1e30)
    wild[0, DESCRIPTION.index("Eyes")] = torch.inf
    assert table.beside(torch.zeros(1, 0), wild).tolist() == [[FURTHEST, FURTHEST, 0]]


def test_a_few_numbers_weigh_as_much_as_many_features() -> None:
    table = TableInputs(Inputs(("Near", "Eyes", "Face")), 300)
    table.fit(np.arange(24.0).reshape(2, 12))
    beside = table.beside(torch.ones(1, 300), torch.zeros(1, 12))
    assert float(beside[0, 300:].square().sum()) == pytest.approx(float(beside[0, :300].square().sum()), rel=0.9)
    assert table.loudness == 10.0


def test_a_column_without_any_number_counts_as_nothing() -> None:
    table = TableInputs(Inputs(), 0)
    table.fit(np.full((5, 12), np.nan))
    assert table.beside(torch.zeros(1, 0), torch.ones(1, 12)).abs().max() == 0
    values = np.array([[np.nan, 1.0], [np.nan, 3.0], [np.nan, np.nan]])
    assert filled_inputs(values, np.array([0])).tolist() == [[0, 1], [0, 3], [0, 1]]


@pytest.mark.parametrize("head", [None, DenseHead((4,), targets="five", reduce="mean")])
def test_the_heads_see_them_beside_the_features_of_a_photograph_or_of_each_patch(head) -> None:
    recipe = changed(TINY if head is None else TINY_VIT, {"inputs": Inputs(), **({"head": head} if head else {})})
    net = BackboneNet(recipe)
    net.fit(np.random.default_rng(0).gamma(2.0, 10.0, (9, 1)), np.random.default_rng(1).normal(size=(9, 12)))
    net.eval()
    pictures = torch.zeros(3, 3, *recipe.pictures.canvas_px)
    inputs = torch.randn(3, 12, generator=torch.Generator().manual_seed(1))
    one, other = net(pictures, None, inputs), net(pictures, None, inputs.flip(0))
    assert not torch.allclose(one, other) and torch.allclose(one, other.flip(0), atol=1e-5)
    assert torch.isfinite(net(pictures, None, torch.full((3, 12), torch.nan))).all()
    with pytest.raises(ValueError, match="reads Subject Focus, .* beside each photograph, and was given none of them"):
        net(pictures)


def test_what_overflows_in_half_precision_is_computed_again_with_its_own_numbers() -> None:
    net = BackboneNet(changed(TINY, {"inputs": Inputs(), "head.hidden": ()})).eval()
    net.fit(np.arange(4.0)[:, None], np.random.default_rng(1).normal(size=(4, 12)))
    with torch.no_grad():
        net.heads[0][0].weight[:, -12:] = 1e4  # beyond fp16 for the second photograph alone
        inputs = torch.stack([torch.full((12,), value) for value in (torch.nan, 3.0, torch.nan)])
        counts: list[int] = []
        half = forward_values(net, PICTURES, True, None, counts.append, inputs)
        exact = forward_values(net, PICTURES, False, None, inputs=inputs)
    assert counts == [1] and torch.isfinite(half).all() and torch.allclose(half[1], exact[1])


def test_numbers_follow_their_photographs_through_the_batches() -> None:
    """Predicted in batches of one size or another, each photograph has its own numbers."""
    net = BackboneNet(changed(TINY, {"inputs": Inputs()}))
    net.fit(np.arange(4.0)[:, None], np.random.default_rng(1).normal(size=(4, 12)))
    member = Member(models=[net], preprocessing=preprocessing_of("test_efficientnet"), symmetries=((0, False),))
    pictures, inputs = torch.zeros(5, 3, 32, 64, dtype=torch.uint8), np.random.default_rng(2).normal(size=(5, 12))

    def predicted(size: int) -> np.ndarray:
        batches = [[part] for part in pictures.split(size)]
        return predict_members([member], batches, len(batches), device=CPU, inputs=inputs)[0]

    assert predicted(2) == pytest.approx(predicted(5), abs=1e-5) and len(set(predicted(5).ravel().round(4))) == 5
    with pytest.raises(ValueError, match="was given none of them"):
        predict_members([member], [[pictures]], 1, device=CPU)
