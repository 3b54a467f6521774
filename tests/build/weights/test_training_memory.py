"""What a training takes of a GPU is measured on the network, and every listed experiment fits on its own machine."""

from dataclasses import fields, replace

import pytest
import torch

from build.weights.training_memory import LIMIT_GB, OF_NO_MATTER, images_at_once, training_bytes
from kernel_src.competitions.biomass.experiments import V2, V3
from kernel_src.competitions.held_recipes import EXPERIMENTS
from kernel_src.models.model import BackboneNet
from kernel_src.recipes.changes import changed
from kernel_src.recipes.experiment import Experiment
from kernel_src.recipes.learning import EMA
from kernel_src.recipes.network import FirstGroups
from kernel_src.recipes.spec import default_of
from tests.kernel_src.tiny import TINY, TINY_VIT

ONE = changed(TINY, {"machine.shape": "NvidiaTeslaT4", "machine.spread": "folds"})


def weights_of(model: torch.nn.Module) -> int:
    return sum(p.numel() * p.element_size() for p in model.parameters())


def test_beside_the_activations_there_are_weights_gradients_and_the_state_of_the_optimiser() -> None:
    weights = weights_of(BackboneNet(ONE))
    assert training_bytes(ONE) > 4 * weights
    assert training_bytes(ONE) - training_bytes(changed(ONE, {"optimizer": "RMSprop"})) == weights
    average = sum(t.numel() * t.element_size() for t in BackboneNet(ONE).state_dict().values())
    assert training_bytes(changed(ONE, {"keep": EMA(0.9)})) - training_bytes(ONE) == average


def test_activations_grow_with_the_photographs_and_are_what_autograd_really_keeps() -> None:
    """Against the hooks of a real forward pass, on real numbers."""
    one, two, four = (
        training_bytes(changed(ONE, {"batch.size": size, "pictures.height_px": 64})) for size in (8, 16, 32)
    )
    assert two - one == pytest.approx((four - two) / 2, rel=0.05)
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    def bytes_kept(images: int) -> int:
        kept.clear()
        model = BackboneNet(changed(ONE, {"pictures.height_px": 64})).train().to(memory_format=torch.channels_last)
        pictures = torch.rand(images, 3, 64, 64).to(memory_format=torch.channels_last)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t), torch.autocast("cpu", torch.float16):
            z = model(pictures)
        assert z.requires_grad
        return sum(kept.values())

    assert two - one == pytest.approx(bytes_kept(16) - bytes_kept(8), rel=0.15)


def test_what_is_not_trained_or_computed_twice_takes_less() -> None:
    vit = changed(TINY_VIT, {"machine.spread": "folds", "batch.size": 32})
    assert training_bytes(changed(vit, {"encoder.checkpointing": True})) < 0.9 * training_bytes(vit)
    assert training_bytes(changed(vit, {"encoder.freeze": FirstGroups(3)})) < training_bytes(vit)
    assert training_bytes(changed(vit, {"encoder.precision": "fp32"})) > training_bytes(vit)


def test_photographs_at_once_follow_from_how_the_work_is_spread_over_the_machine() -> None:
    assert images_at_once(V2) == 16, "one fold: each of two GPUs takes half of 32"
    assert images_at_once(V3) == 16, "five folds: each GPU trains its own"
    assert images_at_once(changed(V2, {"data.train_folds": ()})) == 32
    assert images_at_once(changed(V2, {"machine.shape": "NvidiaL4X1"})) == 32
    assert images_at_once(changed(V3, {"machine.spread": "batch"})) == 8


def test_a_step_is_made_of_as_many_photographs_as_the_seeds() -> None:
    wanted = {"v1": 16, "v2": 32, "v3": 32, "v4": 32, "v5": 8, "v7": 32, "v8": 32, "eva02_large": 32}
    assert {name: EXPERIMENTS[name].batch.size * EXPERIMENTS[name].batch.accumulate for name in wanted} == wanted


def test_only_fields_that_change_neither_network_nor_step_are_of_no_matter() -> None:
    made = {"encoder", "pictures", "head", "inputs", "depth", "loss", "auxiliary", "optimizer", "keep"}
    assert made | set(OF_NO_MATTER) == {one.name for one in fields(Experiment)} - {"name"}
    plain = replace(TINY, **{field: default_of(Experiment, field) for field in OF_NO_MATTER})
    assert repr(BackboneNet(plain)) == repr(BackboneNet(TINY)) and plain != TINY


@pytest.mark.full
def test_the_versions_that_did_not_fit_are_seen_not_to() -> None:
    """V3 as it was: 32 photographs of 0.65 GB."""
    assert training_bytes(changed(V3, {"batch.size": 32, "batch.accumulate": 1})) / 1e9 > 21


@pytest.mark.full
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_fits_on_its_own_machine(name: str) -> None:
    assert training_bytes(EXPERIMENTS[name]) / 1e9 < LIMIT_GB
