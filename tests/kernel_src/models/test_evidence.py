"""What a network makes of several pictures, middle layers, patches, components and shares, as the recipe says."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch import nn

from kernel_src.data.symmetries import FLIPS, apply_view
from kernel_src.models.model import BackboneNet, load_fold, load_strictly
from kernel_src.models.prediction import forward_values
from kernel_src.recipes.network import DenseHead, Depth, Encoder, PooledHead
from kernel_src.recipes.pictures import HALVES, Attention, Join, Mean, Pictures, SideBySide, Sum
from kernel_src.recipes.predictor import Predictor
from kernel_src.recipes.spec import ExperimentError
from kernel_src.runtime.files import WeightsError
from kernel_src.training.checkpoint import save_tensors

PARTS = np.random.default_rng(0).gamma(2.0, 10.0, (50, 3))  # Green, Dead, Clover
GRAMS = np.column_stack([PARTS, PARTS[:, 0] + PARTS[:, 2], PARTS.sum(1)])

WHOLE = Pictures(height_px=32, width_px=32)
DENSE, MEAN = DenseHead(), DenseHead(reduce="mean")
VIT = Predictor(name="tiny", encoder=Encoder("test_vit"), pictures=WHOLE, head=DENSE)
POOLED = PooledHead(hidden=(8,), dropout=0.0)


def halves(join: Join) -> Pictures:
    return Pictures(height_px=32, width_px=32, parts=HALVES, join=join)


def net(predictor: Predictor) -> BackboneNet:
    torch.manual_seed(0)
    model = BackboneNet(predictor)
    model.fit(GRAMS)
    return model.eval()


def photographs(predictor: Predictor, count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, *predictor.pictures.canvas_px, generator=torch.Generator().manual_seed(1))


def grams_of(model: BackboneNet, seen: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return forward_values(model, seen, half=False)


# Whatever is combined

RECIPES = {
    "components": replace(VIT, head=replace(POOLED, targets="components")),
    "shares": replace(VIT, head=replace(POOLED, targets="shares")),
    "poolings": replace(VIT, head=replace(POOLED, pool=("own", "cls", "mean", "max", "min", "gem", "signed_gem"))),
    "layers": replace(VIT, encoder=Encoder("test_vit", layers=(1, 3)), head=replace(POOLED, pool=("cls", "mean"))),
    "five summed": replace(VIT, pictures=halves(Sum()), head=POOLED),
    "components summed": replace(VIT, pictures=halves(Sum()), head=replace(POOLED, targets="components")),
    "mean": replace(VIT, pictures=halves(Mean()), head=POOLED),
    "side by side": replace(VIT, pictures=halves(SideBySide()), head=POOLED),
    "attention": replace(VIT, pictures=halves(Attention(heads=4)), head=replace(POOLED, targets="shares")),
    "three scales": replace(VIT, pictures=replace(halves(Mean()), scales=(1.0, 0.5, 1.5)), head=POOLED),
    "one half": replace(VIT, pictures=Pictures(height_px=32, width_px=32, parts=("left",)), head=POOLED),
    "dense": VIT,
    "dense five": replace(VIT, head=replace(MEAN, targets="five", hidden=(8,))),
    "dense shares": replace(VIT, head=replace(MEAN, targets="shares"), encoder=Encoder("test_vit", layers=(1, 4))),
    "dense halves": replace(VIT, pictures=halves(Sum())),
    "dense density": replace(VIT, pictures=replace(halves(Mean()), scales=(1.0, 0.5)), head=MEAN),
    "dense convolutions": replace(VIT, encoder=Encoder("test_resnet", layers=(1, 2))),
}


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_gives_five_weights_and_its_features_trains_all_it_has_and_survives_a_bundle(
    name: str, tmp_path: Path
) -> None:
    predictor = RECIPES[name]
    model, seen = net(predictor), photographs(predictor)
    answers, features = model.train().with_features(seen)
    assert answers.shape == (2, 5) and features.shape == (2, model.feature_dim)
    model.to_loss_z(answers).square().sum().backward()
    in_heads = {key for key, value in model.named_parameters() if not key.startswith("backbone.")}
    assert in_heads == {key for key, value in model.named_parameters() if value.grad is not None} & set(in_heads)
    assert any(value.grad is not None for value in model.backbone.parameters())
    save_tensors(tmp_path / "fold0.safetensors", dict(model.state_dict()))
    again = load_fold(predictor, tmp_path / "fold0.safetensors")
    assert torch.equal(grams_of(again, seen), grams_of(model.eval(), seen))


@pytest.mark.parametrize("name", [name for name, one in RECIPES.items() if getattr(one.head, "targets", "") != "five"])
def test_the_identities_hold_exactly_in_grams(name: str) -> None:
    predictor = RECIPES[name]
    green, dead, clover, gdm, total = grams_of(net(predictor), photographs(predictor, 8)).unbind(1)
    assert torch.equal(gdm, green + clover) and torch.equal(total, gdm + dead)


@pytest.mark.parametrize("name", RECIPES)
def test_what_is_not_trained_yet_answers_with_about_the_mean_of_the_training_rows(name: str) -> None:
    predictor = RECIPES[name]
    model = net(predictor)
    with torch.no_grad():
        for head in model.heads:
            head[-1].weight.zero_()
            head[-1].bias.zero_()
    assert torch.allclose(
        grams_of(model, photographs(predictor))[0].double(), torch.from_numpy(GRAMS.mean(0)), rtol=1e-4
    )


@pytest.mark.parametrize("fusion", ["concat", "rgbd"])
@pytest.mark.parametrize("targets", ["components", "shares"])
def test_depth_joins_heads_whose_answers_add_up(fusion: str, targets: str) -> None:
    depth = Depth(weights="i2b-depth", fusion=fusion)
    model = net(replace(VIT, head=replace(POOLED, targets=targets), depth=depth))
    with torch.inference_mode():
        maps = torch.rand(2, 1, 32, 32)
        found = forward_values(model, photographs(VIT), False, maps)
        assert not torch.equal(forward_values(model, photographs(VIT), False, 1 - maps), found)
    assert torch.equal(found[:, 4], found[:, 3] + found[:, 1]) and torch.isfinite(found).all()


def test_depth_and_parts_of_a_photograph_do_not_go_together() -> None:
    for pictures in (halves(Mean()), Pictures(parts=("left",)), Pictures(scales=(0.5,))):
        with pytest.raises(ExperimentError, match="depth joins the whole photograph"):
            replace(VIT, head=POOLED, pictures=pictures, depth=Depth(weights="i2b-depth"))


# Scalings


def test_heads_in_grams_have_an_identity_for_scaling_and_the_loss_has_one_of_its_own() -> None:
    model = net(VIT)
    assert model.scaling.mean.tolist() == [0] * 5 and model.scaling.std.tolist() == [1] * 5
    truth = torch.from_numpy(GRAMS).float()
    z = model.to_loss_z(truth)
    assert z.mean(0).abs().max() < 1e-5 and torch.equal(z, model.loss_scaling.to_z(truth))
    assert {"evidence.grams.unit", "label_scaling.mean", "label_scaling.std"} <= set(model.state_dict())


def test_a_unit_of_zero_is_refused_when_a_bundle_is_read(tmp_path: Path) -> None:
    tensors = dict(net(VIT).state_dict())
    tensors["evidence.grams.unit"] = torch.zeros(3)
    save_tensors(tmp_path / "fold0.safetensors", tensors)
    with pytest.raises(WeightsError, match=r"evidence.grams.unit .* must be above 0"):
        load_fold(VIT, tmp_path / "fold0.safetensors")


# Pictures


@pytest.mark.parametrize("join", [Sum(), Mean(), SideBySide(), Attention(heads=4)])
@pytest.mark.parametrize("head", [POOLED, replace(POOLED, targets="components")])
def test_a_mirrored_photograph_shows_its_mirrored_halves_in_each_others_place(join: Join, head: PooledHead) -> None:
    """Test-time augmentation turns the photograph before it is cut: nothing has to swap left and right."""
    predictor = replace(VIT, pictures=halves(join), head=head)
    model, seen = net(predictor), photographs(predictor)
    left, right = seen[..., :32], seen[..., 32:]
    for view in FLIPS:
        parts = [apply_view(right, view), apply_view(left, view)] if view in ((0, True), (2, False)) else [
            apply_view(left, view), apply_view(right, view)
        ]  # fmt: skip
        wanted = grams_of(model, torch.cat(parts, 3))
        assert torch.equal(grams_of(model, apply_view(seen, view)), wanted), view
    swapped = grams_of(model, torch.cat([right, left], 3))
    told_apart = not torch.allclose(swapped, grams_of(model, seen), atol=1e-4)
    assert told_apart == isinstance(join, SideBySide | Attention)


@pytest.mark.parametrize("targets", ["five", "components", "shares"])
def test_a_sum_adds_the_grams_that_each_half_is_answered_with(targets: str) -> None:
    head = replace(POOLED, targets=targets)
    both, one = net(replace(VIT, pictures=halves(Sum()), head=head)), net(replace(VIT, head=head))
    load_strictly(one, both.state_dict(), "the same weights")
    seen = photographs(replace(VIT, pictures=halves(Sum())))
    of_halves = grams_of(one, seen[..., :32]) / 2 + grams_of(one, seen[..., 32:]) / 2
    assert torch.allclose(grams_of(both, seen), of_halves, rtol=1e-4)


def test_pictures_of_a_photograph_are_those_that_pass_alone_whatever_photographs_stand_beside_it() -> None:
    predictor = replace(VIT, pictures=replace(halves(SideBySide()), scales=(1.0, 0.5)), head=POOLED)
    model, seen = net(predictor), photographs(predictor, 3)
    with torch.inference_mode():
        _, features = model.with_features(seen)
        large = [model.backbone(part) for part in (seen[..., :32], seen[..., 32:])]
        assert torch.allclose(features[:, :128], torch.cat(large, 1), atol=1e-5)
        _, alone = model.with_features(seen[1:2])
    assert torch.allclose(features[1:2], alone, atol=1e-5)


@pytest.mark.parametrize(
    ("predictor", "said"),
    [
        (replace(VIT, encoder=Encoder("test_resnet"), head=PooledHead(pool=("cls",))), "has no CLS token"),
        (replace(VIT, encoder=Encoder("test_vit", layers=(9,))), r"has 6 layers, encoder.layers=\(9,\) asks for more"),
        (replace(VIT, pictures=replace(halves(Sum()), scales=(1.0, 0.75))), "24 x 24 px is not a whole number of them"),
        (replace(VIT, pictures=halves(Attention(heads=7)), head=POOLED), "64 features cannot be shared out"),
    ],
)
def test_what_the_backbone_cannot_do_is_said_with_the_experiments_name(predictor: Predictor, said: str) -> None:
    with pytest.raises(ValueError, match=f"tiny: .*{said}"):
        BackboneNet(predictor)


# Patches


class Local(nn.Module):
    """A stub of an encoder that sees each patch by itself, 16 x 16 px, and nothing around it."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 64, 16, 16)
        self.feature_info = [{"num_chs": 64, "reduction": 16}]
        self.pretrained_cfg = {"interpolation": "bicubic"}
        self.head_hidden_size = 64

    def forward_intermediates(self, pictures: torch.Tensor, **_: object) -> list[torch.Tensor]:
        return [self.patches(pictures)]


@contextmanager
def local_encoder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setattr("kernel_src.models.model.build_backbone", lambda _: Local())
        yield


@pytest.mark.parametrize("targets", ["components", "shares", "five"])
def test_a_density_is_that_of_the_photograph_for_the_whole_and_for_its_halves_joined(
    monkeypatch: pytest.MonkeyPatch, targets: str
) -> None:
    head = replace(MEAN, targets=targets, hidden=(8,))
    whole = replace(VIT, pictures=Pictures(height_px=32, width_px=64), head=head)
    with local_encoder(monkeypatch):
        first, second = net(whole), net(replace(VIT, pictures=halves(Mean()), head=head))
    seen = photographs(whole, 4)
    together, joined = grams_of(first, seen), grams_of(second, seen)
    assert torch.allclose(together, joined, rtol=1e-6) and together.std(0).min() > 1e-3
    left, right = (grams_of(first, half) for half in (seen[..., :32], seen[..., 32:]))
    assert torch.allclose((left + right)[:, :3] / 2, together[:, :3], rtol=1e-5), "a crop has a density of its own"


def test_summed_patches_of_a_half_weigh_what_they_weigh_in_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = replace(VIT, pictures=Pictures(height_px=32, width_px=64))
    with local_encoder(monkeypatch):
        model = net(whole)
    seen = photographs(whole, 4)
    left, right = (grams_of(model, half) for half in (seen[..., :32], seen[..., 32:]))
    assert torch.allclose(left + right, grams_of(model, seen), rtol=1e-5)


def test_mixed_patches_are_read_as_if_the_photographs_had_been_cut_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with local_encoder(monkeypatch):
        model = net(replace(VIT, head=MEAN))
    seen, partner = photographs(VIT, 3), torch.tensor([1, 2, 0])

    def right_column(tokens: torch.Tensor) -> torch.Tensor:
        assert tokens.shape == (3, 4, 64)
        from_partner = torch.tensor([False, True, False, True])
        return torch.where(from_partner[:, None], tokens[partner], tokens)

    collage = seen.clone()
    collage[..., 16:] = seen[partner][..., 16:]
    with torch.inference_mode():
        answers, features = model.with_features(seen, mix_tokens=right_column)
        wanted = model.with_features(collage)
    assert torch.allclose(answers, wanted[0], rtol=1e-5) and torch.allclose(features, wanted[1], atol=1e-6)


@pytest.mark.parametrize("name", ["components", "mean", "three scales"])
def test_without_patches_there_is_nothing_to_mix(name: str) -> None:
    with pytest.raises(ValueError, match=r"the head is not a DenseHead\(\)"):
        net(RECIPES[name]).with_features(photographs(RECIPES[name]), mix_tokens=lambda tokens: tokens)


def test_pictures_of_all_parts_and_scales_give_their_patches_photograph_by_photograph() -> None:
    predictor = replace(VIT, pictures=replace(halves(Mean()), scales=(1.0, 0.5)), head=MEAN)
    model, seen = net(predictor), photographs(predictor, 3)
    kept: list[torch.Tensor] = []

    def keep(tokens: torch.Tensor) -> torch.Tensor:
        kept.append(tokens)
        return tokens

    with torch.inference_mode():
        model.with_features(seen, mix_tokens=keep)
        model.with_features(seen[2:], mix_tokens=keep)
    assert kept[0].shape == (3, 2 * (4 + 1), 64) and torch.allclose(kept[0][2:], kept[1], atol=1e-5)


# Half precision


@pytest.mark.parametrize("name", ["dense", "components summed", "attention", "poolings", "dense convolutions"])
def test_half_precision_stays_near_full_precision(name: str) -> None:
    predictor = RECIPES[name]
    model, seen = net(predictor), photographs(predictor)
    with torch.inference_mode():
        half = forward_values(model, seen, half=True)
    assert torch.allclose(half, grams_of(model, seen), rtol=0.02)


@pytest.mark.parametrize("name", ["dense", "dense shares", "components", "components summed", "five summed"])
@pytest.mark.parametrize("sign", [1, -1])
def test_what_overflows_in_half_precision_is_computed_again_in_full(name: str, sign: int) -> None:
    """Downwards too, where a softplus would make 0 g of it."""
    predictor = RECIPES[name]
    model, seen = net(predictor), photographs(predictor)
    with torch.no_grad():  # fp16 ends at 65504
        for head in model.heads:
            head[-1].weight.zero_()
            head[-1].bias.zero_()
            head[-1].bias[-1] = sign * 1e5
        counts: list[int] = []
        half = forward_values(model, seen, True, None, counts.append)
    assert counts == [2] and torch.allclose(half, grams_of(model, seen), rtol=1e-4)


# What needs none of this


class PlainNet(nn.Module):
    """The network as it was before there was anything else, copied."""

    def __init__(self, name: str, hidden: int) -> None:
        super().__init__()
        options = {"img_size": (32, 32), "dynamic_img_size": True} if "vit" in name else {}
        self.backbone = timm.create_model(name, num_classes=0, **options)
        width = int(self.backbone.head_hidden_size)  # type: ignore[arg-type]
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(0.3), nn.Linear(hidden, 1)) for _ in range(5)
        )

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        features = self.backbone(pictures)
        return torch.cat([head(features) for head in self.heads], 1)


@pytest.mark.parametrize("name", ["test_vit", "test_efficientnet", "test_resnet", "test_convnext"])
def test_a_plain_net_has_the_names_the_first_numbers_and_the_answers_it_always_had(name: str) -> None:
    predictor = Predictor(name="plain", encoder=Encoder(name), pictures=WHOLE, head=PooledHead(hidden=(8,)))
    torch.manual_seed(0)
    before = PlainNet(name, 8)
    torch.manual_seed(0)
    model = BackboneNet(predictor)
    numbers = model.state_dict()
    assert list(numbers) == [*before.state_dict(), "scaling.mean", "scaling.std"]
    assert all(torch.equal(numbers[key], value) for key, value in before.state_dict().items())
    seen = photographs(predictor)
    for mode in (True, False):
        torch.manual_seed(1)
        wanted = before.train(mode)(seen)
        torch.manual_seed(1)
        found = model.train(mode)(seen)
        assert torch.equal(found, wanted) and model.to_loss_z(found) is found
    assert model.loss_scaling is model.scaling


# Backbones of the winners

DINOV3 = [
    *(f"vit_{size}_patch16_dinov3" for size in ("small", "small_plus", "base", "large", "huge_plus", "7b")),
    *(f"convnext_{size}.dinov3_lvd1689m" for size in ("tiny", "small", "base", "large")),
]


@pytest.mark.parametrize("name", DINOV3)
def test_the_dinov3_family_builds_with_middle_layers_at_any_multiple_of_16(name: str) -> None:
    """On the meta device: every shape is real, no weight is there."""
    pictures = Pictures(height_px=192, width_px=352, parts=HALVES, join=Mean())
    predictor = Predictor(name="gold", encoder=Encoder(name, layers=(1, 3)), pictures=pictures, head=MEAN)
    with torch.device("meta"), torch.no_grad():
        answers, features = BackboneNet(predictor).with_features(torch.empty(2, 3, 192, 704))
    assert answers.shape == (2, 5) and features.shape[0] == 2


def test_a_small_dinov3_computes_the_same_whatever_size_it_was_built_for() -> None:
    """Its positions are rotations, so no embedding is resampled."""
    wide = replace(VIT, encoder=Encoder("vit_small_patch16_dinov3"), pictures=Pictures(height_px=32, width_px=96))
    first, second = net(wide), net(replace(wide, pictures=WHOLE))
    seen = photographs(wide)
    with torch.inference_mode():
        assert torch.allclose(first.with_features(seen)[1], second.with_features(seen)[1], atol=1e-5)
    assert {name for name, _ in first.named_parameters()} == {name for name, _ in second.named_parameters()}
    assert set(timm.create_model("vit_small_patch16_dinov3", num_classes=0).state_dict()) == set(
        first.backbone.state_dict()
    )
