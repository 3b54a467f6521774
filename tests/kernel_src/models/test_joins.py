"""How the features of several pictures become those of a photograph."""

import pytest
import torch

from kernel_src.models.joins import AttentionJoin, SumJoin, build_join
from kernel_src.recipes.network import Encoder
from kernel_src.recipes.pictures import HALVES, Join, Mean, Pictures, SideBySide, Sum
from kernel_src.recipes.predictor import Predictor

FEATURES = torch.rand(4, 2, 16, generator=torch.Generator().manual_seed(0))  # (B, pictures, F)


def halves(join: Join) -> Pictures:
    return Pictures(height_px=8, width_px=8, parts=HALVES, join=join)


def joined(join: Join, features: torch.Tensor = FEATURES) -> torch.Tensor:
    torch.manual_seed(0)
    experiment = Predictor(name="tiny", encoder=Encoder("test_vit"), pictures=halves(join))
    module, width = build_join(experiment, 16)
    found: torch.Tensor = module(features)
    assert found.shape[-1] == width
    return found


def test_the_mean_does_not_tell_pictures_apart_and_side_by_side_does() -> None:
    swapped = FEATURES.flip(1)
    assert torch.equal(joined(Mean()), FEATURES.mean(1)) and torch.equal(joined(Mean()), joined(Mean(), swapped))
    beside = joined(SideBySide())
    assert torch.equal(beside, torch.cat([FEATURES[:, 0], FEATURES[:, 1]], 1))
    assert torch.equal(joined(SideBySide(), swapped), torch.cat([beside[:, 16:], beside[:, :16]], 1))


def test_attention_tells_pictures_apart_by_the_place_it_learns_and_by_nothing_else() -> None:
    join = AttentionJoin(2, 16, heads=4).eval()
    with torch.no_grad():
        assert not torch.allclose(join(FEATURES), join(FEATURES.flip(1)), atol=1e-6)
        join.place.zero_()
        assert torch.allclose(join(FEATURES), join(FEATURES.flip(1)), atol=1e-6)


def test_attention_is_one_layer_with_residual_and_norm_averaged() -> None:
    join = AttentionJoin(2, 16, heads=1)
    tokens = FEATURES + join.place
    query, key, value = torch.nn.functional.linear(
        tokens, join.attention.in_proj_weight, join.attention.in_proj_bias
    ).chunk(3, -1)
    attended = join.attention.out_proj(torch.softmax(query @ key.mT / 4, -1) @ value)
    wanted = torch.nn.functional.layer_norm(tokens + attended, (16,)).mean(1)
    assert torch.allclose(join(FEATURES), wanted, atol=1e-6)


def test_a_sum_weighs_each_picture_by_the_share_of_the_photograph_that_it_shows() -> None:
    several = Pictures(height_px=8, width_px=8, parts=("whole", "left"), scales=(1.0, 0.5), join=Sum())
    assert SumJoin(several).shares == pytest.approx([1 / 3, 1 / 6, 1 / 3, 1 / 6])
    assert sum(SumJoin(halves(Sum())).shares) == 1


def test_grams_of_summed_z_scores_are_the_sum_of_the_grams_of_the_parts() -> None:
    z, std, mean = torch.randn(4, 2, 5), torch.rand(5) + 1, torch.rand(5) * 20
    grams_of_parts = z * std / 2 + mean / 2  # a half weighs half the mean, and deviates by half as much
    assert torch.allclose(SumJoin(halves(Sum())).total(z) * std + mean, grams_of_parts.sum(1), atol=1e-5)
