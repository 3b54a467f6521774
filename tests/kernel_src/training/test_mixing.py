"""Two photographs become one, and their grams in exactly the same shares."""

import numpy as np
import pytest
import torch

from kernel_src.data.training_photographs import TrainingBatch
from kernel_src.recipes.spec import kinds_of
from kernel_src.recipes.training_data import CutMix, Mix, Mixup, TokenMix
from kernel_src.training.mixing import Mixer, drawn_pairing

ALWAYS = (CutMix(p=1.0), Mixup(p=1.0), TokenMix(p=1.0))


def batch(photographs: int = 6, size_px: tuple[int, int] = (20, 30)) -> TrainingBatch:
    """Make pictures of one colour each, 10 times their number; photograph i weighs i in every target."""
    numbers = torch.arange(photographs)
    picture = (10 * numbers).to(torch.uint8)[:, None, None, None].expand(-1, 3, *size_px).contiguous()
    return {
        "picture": picture,
        "depth": torch.empty(photographs, 0, *size_px),
        "values": numbers[:, None].float().expand(-1, 5).contiguous(),
        "weight": torch.ones(photographs),
        "row": 100 + numbers,
    }


def mixed(mix: Mix, given: TrainingBatch, seed: int = 0) -> tuple[TrainingBatch, torch.Tensor]:
    """Mix as training does; return the labels and what the network sees."""
    mixer = Mixer(mix, len(given["row"]), seed)
    seen = mixer.mix_pictures(given["picture"])
    if mixer.tokens is not None:
        seen = mixer.tokens(seen.float().flatten(2).mean(1)[:, :, None])  # each pixel as a patch
    return mixer.mix_labels(given), seen


def test_every_mixing_that_can_be_written_down_is_tested() -> None:
    assert {type(mix) for mix in ALWAYS} == set(kinds_of(Mix).values())


@pytest.mark.parametrize("mix", ALWAYS)
@pytest.mark.parametrize("seed", range(5))
def test_the_grams_are_what_the_picture_shows(mix: Mix, seed: int) -> None:
    """One colour per gram: the mean colour of a mixed picture says what it weighs, to the pixel."""
    labels, seen = mixed(mix, batch(), seed)
    shown = seen.double().flatten(1).mean(1) / 10
    rounding = 0.05 if isinstance(mix, Mixup) else 1e-5  # whole levels of 256
    assert labels["values"][:, 0].tolist() == pytest.approx(shown.tolist(), abs=rounding)
    assert (labels["values"] == labels["values"][:, :1]).all() and labels["values"].shape == (6, 5)
    assert not torch.equal(labels["values"], batch()["values"])


@pytest.mark.parametrize("mix", ALWAYS)
def test_the_same_seed_mixes_the_same_and_another_one_otherwise(mix: Mix) -> None:
    (one, seen), (two, again), (three, other) = (mixed(mix, batch(), seed) for seed in (4, 4, 5))
    assert torch.equal(seen, again) and torch.equal(one["values"], two["values"])
    assert not torch.equal(seen, other) and not torch.equal(one["values"], three["values"])


@pytest.mark.parametrize("mix", ALWAYS)
def test_the_batch_itself_is_left_as_it_was_and_a_photograph_alone_too(mix: Mix) -> None:
    given, before = batch(), batch()
    mixed(mix, given)
    assert all(torch.equal(given[key], before[key]) for key in ("picture", "values", "weight", "row"))
    labels, _ = mixed(mix, batch(1))
    assert torch.equal(labels["values"], batch(1)["values"]) and labels["row"].tolist() == [100]


def test_about_as_many_are_mixed_as_the_probability_says_and_none_with_itself() -> None:
    pairings = [drawn_pairing(CutMix(p=0.3), 20, np.random.default_rng(seed)) for seed in range(200)]
    assert np.mean([(pairing.shares > 0).mean() for pairing in pairings]) == pytest.approx(0.3, abs=0.02)
    assert all((pairing.partners != np.arange(20)).all() for pairing in pairings)
    assert all(sorted(pairing.partners) == list(range(20)) for pairing in pairings), "each is once a partner"


@pytest.mark.parametrize("mix", ALWAYS)
def test_the_row_is_that_of_the_larger_share_and_the_weight_is_mixed(mix: Mix) -> None:
    given = batch(2)
    given["weight"] = torch.tensor([1.0, 0.25])
    for seed in range(10):
        labels, _ = mixed(mix, given, seed)
        share = labels["values"][0, 0].item()  # of the second, which weighs 1 g, in the first, which weighs nothing
        assert labels["row"][0].item() == (101 if share > 0.5 else 100)
        assert labels["weight"][0].item() == pytest.approx(1 - 0.75 * share, abs=1e-6)


def test_cutmix_pastes_one_rectangle_at_its_place() -> None:
    places = torch.arange(20 * 30).reshape(20, 30)
    given = batch(2)
    given["picture"] = torch.stack([places % 251, places % 251 + 1])[:, None].expand(-1, 3, -1, -1).to(torch.uint8)
    for seed in range(20):
        _, seen = mixed(CutMix(p=1.0), given, seed)
        foreign = seen[0, 0] != given["picture"][0, 0]
        assert torch.equal(seen[0, 0][foreign], given["picture"][1, 0][foreign]), "from the same place"
        rows, columns = foreign.any(1).sum(), foreign.any(0).sum()
        assert foreign.sum() == rows * columns, "a whole rectangle"


def test_mixed_tokens_are_whole_patches_of_the_two() -> None:
    tokens = torch.randn(4, 50, 8)
    mixer = Mixer(TokenMix(p=1.0), 4, 1)
    assert mixer.tokens is not None
    result, partners = mixer.tokens(tokens), torch.from_numpy(mixer.pairing.partners)
    own, foreign = (result == tokens).all(2), (result == tokens[partners]).all(2)
    assert (own ^ foreign).all()
    assert foreign.double().mean(1).tolist() == pytest.approx(mixer.pairing.shares.tolist())


def test_mixed_masses_keep_the_identities() -> None:
    given = batch()
    given["values"] = torch.tensor([[1.0, 2, 3, 4, 6]]) * torch.arange(1, 7)[:, None]
    given["values"][::2] = torch.tensor([5.0, 1, 0, 5, 6])
    grams = mixed(CutMix(p=1.0), given)[0]["values"]
    assert torch.allclose(grams[:, 3], grams[:, 0] + grams[:, 2])
    assert torch.allclose(grams[:, 4], grams[:, 3] + grams[:, 1])
